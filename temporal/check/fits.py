"""Whether an argument evidently cannot become what a parameter asks for.

The argument travels as JSON and pydantic makes the parameter's type of it, so that a dict becomes a
model and "5" an int. Only what can never fit is reported, and annotations that plainly differ.
"""

from __future__ import annotations

import ast

from temporal.check.resolve import Resolver
from temporal.check.source import Class, Scope
from temporal.check.symbols import External, Type

_SCALARS = {"str", "int", "float", "bool"}
_LISTS = {"list", "tuple", "set", "frozenset"}
# What each builtin becomes without loss when it is read as another.
_WIDENS = {("int", "float"), ("bool", "int"), ("bool", "float"), ("int", "bool")}


def misfit(
    names: Resolver,
    given: ast.expr,
    scope: Scope,
    wanted: ast.expr | None,
    wanted_scope: Scope,
) -> str:
    """What is given, in words, where it cannot fit; empty where it fits or nobody can tell."""
    expected = names.annotated(wanted, wanted_scope)
    if expected is None:
        return ""
    if isinstance(given, ast.Constant) and given.value is None:
        known = _builtin(expected) in _SCALARS or _is_model(names, expected)
        return "None" if known and not expected.optional else ""
    of = names.infer(given, scope)
    if of is None:
        return ""
    if isinstance(given, ast.Constant):
        return _literal(names, given, of, expected)
    if of.optional or _same(names, of, expected):
        return ""
    return f"{_name(of)} ({ast.unparse(given)})" if _differ(names, of, expected) else ""


def _literal(names: Resolver, given: ast.Constant, of: Type, expected: Type) -> str:
    kind, want = _builtin(of), _builtin(expected)
    shown = repr(given.value) if len(repr(given.value)) <= 40 else f"a {kind}"
    if kind == want or (kind, want) in _WIDENS:
        return ""
    if kind == "str" and want in ("int", "float", "bool"):
        return "" if _reads_as(str(given.value), want) else shown
    if kind == "float" and want == "int":
        return "" if float(given.value).is_integer() else shown  # type: ignore[arg-type]
    return shown if _differ(names, of, expected) else ""


def _reads_as(text: str, want: str) -> bool:
    if want == "bool":
        return text.lower() in {"0", "1", "t", "f", "y", "n", "on", "off", "true", "false"} | {
            "yes", "no",
        }  # fmt: skip
    try:
        float(text)
    except ValueError:
        return False
    return True


def _same(names: Resolver, of: Type, expected: Type) -> bool:
    if of.symbol == expected.symbol:
        return True
    return isinstance(of.symbol, Class) and expected.symbol in names.mro(of.symbol)


def _differ(names: Resolver, of: Type, expected: Type) -> bool:
    """Whether a value of type `of` is plainly no `expected`."""
    have, want = _builtin(of), _builtin(expected)
    if have and want:
        if have == want or (have, want) in _WIDENS or {have, want} <= _LISTS:
            return False
        return {have, want} <= _SCALARS | _LISTS | {"dict"}
    if have:
        return have in _SCALARS | _LISTS and _is_model(names, expected)
    if want:
        return want in _SCALARS | _LISTS and _is_model(names, of)
    return (
        _is_model(names, of)
        and _is_model(names, expected)
        and isinstance(expected.symbol, Class)
        and of.symbol not in names.mro(expected.symbol)
    )


def _is_model(names: Resolver, of: Type) -> bool:
    """Whether `of` is a pydantic model or dataclass of the project that JSON shows as an object.

    One that reads or writes itself in a way of its own may take anything.
    """
    cls = of.symbol
    if not isinstance(cls, Class):
        return False
    bases = names.mro(cls)
    for base in bases:
        if isinstance(base, External):
            if base.dotted not in (
                "pydantic.BaseModel",
                "pydantic.main.BaseModel",
                "typing.Generic",
            ):
                return False
            continue
        for method in base.methods:
            marks = {
                names.dotted(d.func if isinstance(d, ast.Call) else d, base.module.scope)
                for d in method.decorators
            }
            if method.node.name.startswith("__get_pydantic") or any(
                mark.endswith((".model_validator", ".model_serializer", ".root_validator"))
                for mark in marks
            ):
                return False
    if any(isinstance(base, External) and "BaseModel" in base.dotted for base in bases):
        return True
    decorators = [d.func if isinstance(d, ast.Call) else d for d in cls.node.decorator_list]
    return any(
        names.dotted(d, cls.module.scope)
        in ("dataclasses.dataclass", "pydantic.dataclasses.dataclass")
        for d in decorators
    )


def _builtin(of: Type) -> str:
    module, _, name = of.dotted.rpartition(".")
    return name if module == "builtins" else ""


def _name(of: Type) -> str:
    return f"a {of.dotted.rpartition('.')[2]}"
