"""What a name or attribute in the source means, and of which type a value evidently is.

Both answers may be None, for "cannot tell": rules stay silent then.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable
from typing import Any

from temporal.check.project import Project
from temporal.check.source import Binding, Class, Function, Module, Scope
from temporal.check.symbols import (
    ALIASES,
    BUILTIN_TYPES,
    NOT_A_TYPE,
    RETURNS,
    WRAPPERS,
    External,
    Stored,
    Symbol,
    Type,
    Variable,
    external,
)

# Frames of Python per question are few, so that this stays far from its own limit.
_DEPTH = 60


class Resolver:
    """Answers for one project, each worked out once."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._known: dict[tuple[object, ...], Any] = {}
        self._asking: set[tuple[object, ...]] = set()
        self._assigned: dict[Class, dict[str, list[Stored]]] = {}

    # --- names -----------------------------------------------------------------------------

    def resolve(self, node: ast.expr, scope: Scope) -> Symbol | None:
        """What `node`, a name or a chain of attributes, refers to."""
        found: Symbol | None = self._once(
            ("resolve", node, scope), lambda: self._resolve(node, scope)
        )
        return found

    def _resolve(self, node: ast.expr, scope: Scope) -> Symbol | None:
        if isinstance(node, ast.Name):
            return self.name(node.id, scope)
        if isinstance(node, ast.Attribute):
            of = self.infer(node.value, scope)
            if of is not None:
                return self.member(of.symbol, node.attr)
            base = self.resolve(node.value, scope)
            return self.member(base, node.attr) if base is not None else None
        return None

    def _once(self, key: tuple[object, ...], answer: Callable[[], Any]) -> Any:
        """The answer to `key`. None where it would need itself: names can go in circles."""
        if key in self._known:
            return self._known[key]
        if key in self._asking or len(self._asking) > _DEPTH:
            return None
        self._asking.add(key)
        try:
            found = self._known[key] = answer()
        finally:
            self._asking.discard(key)
        return found

    def dotted(self, node: ast.expr, scope: Scope) -> str:
        """The full name of what `node` refers to; empty where that cannot be told."""
        found = self.resolve(node, scope)
        return "" if found is None else found.name if isinstance(found, Module) else found.dotted

    def name(self, name: str, scope: Scope) -> Symbol | None:
        """What `name` means in `scope`."""
        here: Scope | None = scope
        while here is not None:
            if name in here.bindings and name not in here.global_names:
                return self._bound(name, here)
            here = here.parent
        for star in scope.module.scope.stars:
            module = self.project.module(star)
            if module is not None and name in module.scope.bindings:
                return self._bound(name, module.scope)
            if module is None and hasattr(sys.modules.get(star), name):
                return External(f"{star}.{name}")
        return External(f"builtins.{name}") if hasattr(builtins, name) else None

    def _bound(self, name: str, scope: Scope) -> Symbol | None:
        found = scope.bindings[name]
        last = found[-1]
        if all(b.kind == "import" for b in found):
            return self._imported(found[0])
        if all(b.function for b in found):
            return last.function
        if all(b.cls for b in found):
            return last.cls
        if len(found) == 1 and last.value is not None and last.annotation is None:
            aliased = self._alias(last.value, scope)
            if aliased is not None:
                return aliased
        if any(b.kind in ("import", "function", "class") for b in found):
            return None  # several things under one name
        return Variable(name, scope, tuple(found))

    def _alias(self, value: ast.expr, scope: Scope) -> Symbol | None:
        """The function, class or module that `x = value` merely names anew."""
        if isinstance(value, ast.Call) and value.args:
            if self.dotted(value.func, scope) == "functools.partial":
                return self.resolve(value.args[0], scope)
            return None
        if not isinstance(value, ast.Name | ast.Attribute):
            return None
        found = self.resolve(value, scope)
        return None if isinstance(found, Variable) else found

    def _imported(self, binding: Binding) -> Symbol | None:
        if binding.attr is None:
            return self.project.module(binding.module) or External(binding.module)
        module = self.project.module(binding.module)
        if module is None:
            return External(f"{binding.module}.{binding.attr}")
        attr = binding.attr
        found: Symbol | None = self._once(
            ("import", module, attr), lambda: self.member(module, attr)
        )
        return found

    def member(self, of: Symbol, attr: str) -> Symbol | None:
        """What `of.attr` refers to."""
        if isinstance(of, External):
            return External(f"{of.dotted}.{attr}")
        if isinstance(of, Module):
            if attr in of.scope.bindings:
                return self._bound(attr, of.scope)
            return self.project.module(f"{of.name}.{attr}")
        if isinstance(of, Class):
            return self._class_member(of, attr)
        return None

    def _class_member(self, cls: Class, attr: str) -> Symbol | None:
        outside: External | None = None
        for base in self.mro(cls):
            if isinstance(base, External):
                outside = outside or base
                continue
            if attr in base.scope.bindings:
                return self._bound(attr, base.scope)
            stored = self.assigned_to_self(base, attr)
            if stored:
                return Variable(attr, stored[0].scope, tuple(s.binding for s in stored))
        return External(f"{outside.dotted}.{attr}") if outside else None

    def assigned_to_self(self, cls: Class, attr: str) -> list[Stored]:
        """Assignments to `self.attr` in the methods of `cls`."""
        if cls not in self._assigned:
            self._assigned[cls] = _assigned_to_self(cls)
        return self._assigned[cls].get(attr, [])

    def mro(self, cls: Class) -> list[Class | External]:
        """`cls` and its bases, depth first: enough to find a member in ordinary hierarchies."""
        found: list[Class | External] | None = self._once(("mro", cls), lambda: self._mro(cls))
        return found or [cls]

    def _mro(self, cls: Class) -> list[Class | External]:
        found: list[Class | External] = []
        todo: list[Class | External] = [cls]
        while todo:
            one = todo.pop(0)
            if one in found:
                continue
            found.append(one)
            if isinstance(one, Class):
                bases = []
                for node in one.node.bases:
                    plain = node.value if isinstance(node, ast.Subscript) else node
                    base = self.resolve(plain, one.module.scope)
                    if isinstance(base, Class | External):
                        bases.append(base)
                todo = [*bases, *todo]
        return found

    # --- types -----------------------------------------------------------------------------

    def infer(self, node: ast.expr, scope: Scope) -> Type | None:
        """The type of the value of `node`; None for classes, functions and what cannot be told."""
        found: Type | None = self._once(("infer", node, scope), lambda: self._infer(node, scope))
        return found

    def _infer(self, node: ast.expr, scope: Scope) -> Type | None:
        match node:
            case ast.Constant(value=value) if value is not None and value is not ...:
                return external(f"builtins.{type(value).__name__}")
            case ast.JoinedStr():
                return external("builtins.str")
            case ast.List() | ast.ListComp():
                return external("builtins.list")
            case ast.Dict() | ast.DictComp():
                return external("builtins.dict")
            case ast.Set() | ast.SetComp():
                return external("builtins.set")
            case ast.Tuple():
                return external("builtins.tuple")
            case ast.NamedExpr(value=value):
                return self.infer(value, scope)
            case ast.IfExp(body=body, orelse=orelse):
                first, second = self.infer(body, scope), self.infer(orelse, scope)
                return first if first == second else None
            case ast.BinOp():
                return self._operation(node, scope)
            case ast.Name(id=name):
                return self._of_name(name, scope)
            case ast.Attribute():
                found = self.resolve(node, scope)
                if isinstance(found, Function) and is_property(found):
                    return self.annotated(found.node.returns, found.module.scope)
                return self.of_variable(found) if isinstance(found, Variable) else None
            case ast.Call():
                return self._of_call(node, scope)
            case ast.Await(value=ast.Call(func=func)):
                called = self.resolve(func, scope)
                if isinstance(called, Function) and called.is_async:
                    return self.annotated(called.node.returns, called.module.scope)
        return None

    def _operation(self, node: ast.BinOp, scope: Scope) -> Type | None:
        left, right = self.infer(node.left, scope), self.infer(node.right, scope)
        if left and left.dotted == "pathlib.Path" and isinstance(node.op, ast.Div):
            return left
        sets = ("builtins.set", "builtins.frozenset")
        operators = ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor
        if left and right and left.dotted in sets and isinstance(node.op, operators):
            return external("builtins.set") if right.dotted in sets else None
        return None

    def _of_name(self, name: str, scope: Scope) -> Type | None:
        here: Scope | None = scope
        while here is not None and (name not in here.bindings or name in here.global_names):
            here = here.parent
        if here is None:
            return None
        owner = here.owner
        if isinstance(owner, Function) and owner.takes_self and owner.cls:
            every = [*owner.node.args.posonlyargs, *owner.node.args.args]
            is_class = any(
                isinstance(d, ast.Name) and d.id == "classmethod" for d in owner.decorators
            )
            if every and every[0].arg == name:
                return None if is_class else Type(owner.cls)
        found = here.bindings[name]
        if any(b.kind in ("import", "function", "class") for b in found):
            return None
        return self._of_bindings(tuple(found), here)

    def of_variable(self, variable: Variable) -> Type | None:
        """The type of a variable: as annotated, else the one type of everything assigned to it."""
        return self._of_bindings(variable.bindings, variable.scope)

    def _of_bindings(self, found: tuple[Binding, ...], scope: Scope) -> Type | None:
        outer = scope if scope.kind != "function" else scope.parent or scope
        for binding in found:
            if binding.annotation is not None:
                where = outer if binding.kind == "parameter" else scope
                return self.annotated(binding.annotation, where)
        types = {self.infer(b.value, scope) if b.value is not None else None for b in found}
        return types.pop() if len(types) == 1 else None

    def _of_call(self, node: ast.Call, scope: Scope) -> Type | None:
        called = self.resolve(node.func, scope)
        if isinstance(called, Class):
            return Type(called)
        if isinstance(called, Function):
            if called.is_async:
                return None
            return self.annotated(called.node.returns, called.module.scope)
        if isinstance(called, External):
            known = RETURNS.get(called.dotted)
            if known:
                return external(known)
            last = called.dotted.rpartition(".")[2]
            if called.dotted == f"builtins.{last}":
                return external(called.dotted) if last in BUILTIN_TYPES else None
            # Full names of external classes end in a capitalised word; methods hardly ever do.
            return external(called.dotted) if last[:1].isupper() else None
        return None

    def annotated(self, node: ast.expr | None, scope: Scope) -> Type | None:
        """The type that annotation `node` stands for; None for unions, Any, protocols and the like."""
        found: Type | None = self._once(
            ("annotated", node, scope), lambda: self._annotated(node, scope)
        )
        return found

    def _annotated(self, node: ast.expr | None, scope: Scope) -> Type | None:
        match node:
            case ast.Constant(value=str(text)):
                try:
                    return self.annotated(ast.parse(text, mode="eval").body, scope)
                except SyntaxError:
                    return None
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                some = [n for n in (left, right) if not _is_none(n)]
                inner = self.annotated(some[0], scope) if len(some) == 1 else None
                return Type(inner.symbol, optional=True) if inner else None
            case ast.Subscript(value=base, slice=inside):
                name = self.dotted(base, scope)
                if name in WRAPPERS:
                    first = inside.elts[0] if isinstance(inside, ast.Tuple) else inside
                    return self.annotated(first, scope)
                if name == "typing.Optional":
                    inner = self.annotated(inside, scope)
                    return Type(inner.symbol, optional=True) if inner else None
                return self.annotated(base, scope)
            case ast.Name() | ast.Attribute():
                return self._named_type(node, scope)
        return None

    def _named_type(self, node: ast.expr, scope: Scope) -> Type | None:
        found = self.resolve(node, scope)
        if isinstance(found, Class):
            return Type(found)
        if isinstance(found, Variable) and len(found.bindings) == 1:
            alias = found.bindings[0].value  # Name = Annotated[str, ...] and the like
            return self.annotated(alias, found.scope) if isinstance(alias, ast.Subscript) else None
        if not isinstance(found, External):
            return None
        name = ALIASES.get(found.dotted, found.dotted)
        module, _, last = name.rpartition(".")
        if module == "builtins":
            return external(name) if last in BUILTIN_TYPES else None
        return external(name) if module not in NOT_A_TYPE and last[:1].isupper() else None


def is_property(function: Function) -> bool:
    """Whether reading the attribute calls `function`."""
    names = {
        d.id if isinstance(d, ast.Name) else d.attr
        for d in function.decorators
        if isinstance(d, ast.Name | ast.Attribute)
    }
    return bool(names & {"property", "cached_property", "computed_field"})


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _assigned_to_self(cls: Class) -> dict[str, list[Stored]]:
    found: dict[str, list[Stored]] = {}
    for method in cls.methods:
        every = [*method.node.args.posonlyargs, *method.node.args.args]
        if not method.takes_self or not every:
            continue
        for node in ast.walk(method.node):
            if isinstance(node, ast.Assign):
                targets, annotation = node.targets, None
            elif isinstance(node, ast.AnnAssign):
                targets, annotation = [node.target], node.annotation
            else:
                continue
            for target in targets:
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == every[0].arg
                ):
                    binding = Binding("value", value=node.value, annotation=annotation)
                    found.setdefault(target.attr, []).append(Stored(method.scope, binding))
    return found
