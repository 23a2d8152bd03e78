"""The call graph: what a function calls and refers to, and what is reached from it by which path."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from temporal.check.live import Live, Located
from temporal.check.resolve import Resolver, is_property
from temporal.check.source import Class, Function, Scope
from temporal.check.symbols import Symbol


@dataclass(frozen=True)
class Call:
    """One call in the source. `target` is None where it cannot be told what is called."""

    node: ast.Call
    scope: Scope
    target: Symbol | None
    name: str


@dataclass(frozen=True)
class Ref:
    """A name or attribute that is read, other than as the callee of a call."""

    node: ast.expr
    scope: Scope
    target: Symbol
    name: str


@dataclass
class Facts:
    """What one function does, as far as it can be told."""

    nodes: list[Located] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    refs: list[Ref] = field(default_factory=list)


@dataclass(frozen=True)
class Reached:
    """A function, and the first path by which it was reached, outermost first."""

    function: Function
    path: tuple[Function, ...]

    def via(self) -> str:
        """The path in words; empty for the function at which it begins."""
        return " -> ".join(one.qualname for one in (*self.path, self.function)) if self.path else ""


class CallGraph:
    """Facts of each function, gathered once."""

    def __init__(self, names: Resolver, live: Live) -> None:
        self.names = names
        self._live = live
        self._facts: dict[Function, Facts] = {}

    def facts(self, function: Function) -> Facts:
        """What `function` does."""
        if function not in self._facts:
            self._facts[function] = self._gather(function)
        return self._facts[function]

    def _gather(self, function: Function) -> Facts:
        facts = Facts()
        callees: set[ast.expr] = set()
        for node, scope in self._live.nodes(function):
            facts.nodes.append((node, scope))
            if isinstance(node, ast.Call):
                callees.add(node.func)
                target = self.names.resolve(node.func, scope)
                name = self.names.dotted(node.func, scope)
                facts.calls.append(Call(node, scope, target, name))
            elif isinstance(node, ast.Name | ast.Attribute) and node not in callees:
                if not isinstance(node.ctx, ast.Load):
                    continue
                read = self.names.resolve(node, scope)
                if read is not None:
                    facts.refs.append(Ref(node, scope, read, self.names.dotted(node, scope)))
        return facts

    def reach(
        self,
        starts: Iterable[Function],
        edges: Callable[[Function, Facts], Iterable[Function]],
    ) -> Iterator[Reached]:
        """Everything reached from `starts`, nearest first, each function once."""
        todo = [Reached(start, ()) for start in starts]
        seen = {one.function for one in todo}
        for one in todo:
            yield one
            for target in edges(one.function, self.facts(one.function)):
                if target not in seen:
                    seen.add(target)
                    todo.append(Reached(target, (*one.path, one.function)))


_VALIDATORS = ("field_validator", "model_validator", "validator", "root_validator")


def run_by_constructing(names: Resolver, cls: Class) -> list[Function]:
    """Functions that `cls(...)` runs: `__init__`, `__post_init__` and pydantic's validators."""
    found = []
    for base in names.mro(cls):
        if not isinstance(base, Class):
            continue
        for method in base.methods:
            decorators = [d.func if isinstance(d, ast.Call) else d for d in method.decorators]
            marks = {names.dotted(d, base.module.scope).rpartition(".")[2] for d in decorators}
            if method.node.name in (
                "__init__", "__post_init__", "__new__", "model_post_init"
            ) or marks & set(_VALIDATORS):  # fmt: skip
                found.append(method)
    return found


def called_functions(names: Resolver, facts: Facts) -> list[Function]:
    """What is called, by name, by constructing or by reading a property. No references."""
    found: list[Function] = []
    for call in facts.calls:
        if isinstance(call.target, Function):
            found.append(call.target)
        elif isinstance(call.target, Class):
            found += run_by_constructing(names, call.target)
    found += [
        ref.target
        for ref in facts.refs
        if isinstance(ref.target, Function) and is_property(ref.target)
    ]
    return found
