"""Activities that declare a heartbeat and never beat."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from temporal.check.calls import CallGraph, Facts, called_functions
from temporal.check.context import Context, finding
from temporal.check.definitions import Definition
from temporal.check.findings import Finding
from temporal.check.live import Live
from temporal.check.source import Class, Function
from temporal.shared.options import declared_options

_OPTIONS = {"temporal.shared.options.options", "temporal.shared.options"}
_BEATS = {"temporalio.activity.heartbeat", "temporal.shared.progress.beat", "temporal.shared.beat"}


def find(context: Context) -> Iterator[Finding]:
    """Findings of heartbeat-never-sent."""
    beating = _Beating(context)
    for activity in context.definitions.activities.values():
        function = activity.function
        if function is None or not _declares(context, activity, function):
            continue
        if not beating.from_(function):
            yield finding(
                "heartbeat-never-sent",
                f"activity {activity.name!r} declares a heartbeat but nothing in it beats",
                function.module,
                function.node,
            )


def _declares(context: Context, activity: Definition, function: Function) -> bool:
    if activity.target is not None:
        declared = declared_options(activity.target)
        return declared is not None and declared.heartbeat is not None
    for decorator in function.decorators:
        if not isinstance(decorator, ast.Call):
            continue
        if context.names.dotted(decorator.func, function.module.scope) not in _OPTIONS:
            continue
        for keyword in decorator.keywords:
            if keyword.arg == "heartbeat":
                return not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
    return False


class _Beating:
    """Whether a beat can be reached. Lenient: whatever is referred to may be called by somebody."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._graph = CallGraph(context.names, Live(context.names, workflow=False, nested=True))
        self._by_name: set[str] | None = None

    def from_(self, function: Function) -> bool:
        reached = []
        for one in self._graph.reach([function], self._edges):
            if self._beats(one.function):
                return True
            reached.append(one.function)
        # A method of an object whose type cannot be told may be any method of that name.
        unknown = {
            call.node.func.attr
            for each in reached
            for call in self._graph.facts(each).calls
            if call.target is None and isinstance(call.node.func, ast.Attribute)
        }
        return bool(unknown & self._names_that_beat()) if unknown else False

    def _edges(self, function: Function, facts: Facts) -> Iterable[Function]:
        edges = called_functions(self._context.names, facts)
        for found in [ref.target for ref in facts.refs] + [call.target for call in facts.calls]:
            if isinstance(found, Function):
                edges.append(found)
            elif isinstance(found, Class):
                edges += found.methods
        for decorator in function.decorators:
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            found = self._context.names.resolve(call, function.module.scope)
            if isinstance(found, Function):
                edges.append(found)
        return edges

    def _beats(self, function: Function) -> bool:
        facts = self._graph.facts(function)
        if _BEATS & {call.name for call in facts.calls} or _BEATS & {r.name for r in facts.refs}:
            return True
        return any(
            call.target is None
            and isinstance(call.node.func, ast.Attribute)
            and call.node.func.attr in ("heartbeat", "beat")
            for call in facts.calls
        )

    def _names_that_beat(self) -> set[str]:
        if self._by_name is None:
            project = self._context.names.project
            modules = {module.name: module for module in (*project.registered(), *project.loaded())}
            every = [f for module in modules.values() for f in functions_of(module.scope)]
            self._by_name = {
                function.node.name
                for function in every
                if any(
                    self._beats(one.function) for one in self._graph.reach([function], self._edges)
                )
            }
        return self._by_name


def functions_of(scope: object) -> Iterator[Function]:
    """Every function in a module, methods and nested ones included."""
    todo = [scope]
    while todo:
        here = todo.pop()
        for found in getattr(here, "by_node", {}).values():
            if isinstance(found, Function):
                yield found
            todo.append(found.scope)
