"""Workflows and activities with their source: from the registry, or without one from the files."""

from __future__ import annotations

import ast
import difflib
import inspect
from dataclasses import dataclass
from typing import Any

from temporal.check.resolve import Resolver
from temporal.check.source import Class, Function, Module
from temporal.config import Settings
from temporal.registry import Entry, Kind, Registry, domain_of

_DEFN = {"workflow": "temporalio.workflow.defn", "activity": "temporalio.activity.defn"}
_RUN = "temporalio.workflow.run"


@dataclass(frozen=True)
class Definition:
    """One workflow or activity.

    Attributes:
        function: the activity, or the workflow's run method; None where its source was not found.
        cls: the workflow's class, or the class of which the activity is a method.
        target: the object itself, where there is a registry.
    """

    kind: Kind
    name: str
    queue: str
    function: Function | None
    cls: Class | None
    target: Any = None


class Definitions:
    """All of them, by name and by source."""

    def __init__(self, found: list[Definition]) -> None:
        self.workflows = {d.name: d for d in found if d.kind == "workflow"}
        self.activities = {d.name: d for d in found if d.kind == "activity"}
        self._by_source: dict[Function | Class, Definition] = {}
        for one in found:
            if one.function is not None:
                self._by_source[one.function] = one
            if one.kind == "workflow" and one.cls is not None:
                self._by_source[one.cls] = one

    def of(self, source: Function | Class) -> Definition | None:
        """The definition that `source` is, if it is one."""
        return self._by_source.get(source)

    def named(self, kind: Kind, name: str) -> Definition | None:
        """The workflow or activity called `name`."""
        return (self.workflows if kind == "workflow" else self.activities).get(name)

    def near(self, kind: Kind, name: str) -> str:
        """ "Did you mean ..." for a name that does not exist, or what exists."""
        known = self.workflows if kind == "workflow" else self.activities
        lowered = {one.lower(): one for one in known}
        near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
        if near:
            return f"Did you mean {' or '.join(repr(lowered[one]) for one in near)}?"
        return f"Registered: {', '.join(sorted(known)) or 'none'}."


def from_registry(registry: Registry, names: Resolver) -> Definitions:
    """What is registered, each with its source."""
    return Definitions([_sourced(entry, names) for entry in registry.entries()])


def _sourced(entry: Entry, names: Resolver) -> Definition:
    target = inspect.unwrap(entry.target) if callable(entry.target) else entry.target
    module = names.project.module(getattr(target, "__module__", "") or "")
    found = _at(module, entry.line) if module and module.file == entry.file else None
    cls: Class | None = None
    function: Function | None = None
    if isinstance(found, Class):
        cls, function = found, _run_method(found, names)
    elif isinstance(found, Function):
        cls, function = found.cls, found
    return Definition(entry.kind, entry.name, entry.queue, function, cls, entry.target)


def _at(module: Module, line: int) -> Function | Class | None:
    todo = [module.scope]
    while todo:
        scope = todo.pop()
        for node, found in scope.by_node.items():
            if getattr(node, "lineno", 0) == line:
                return found
            todo.append(found.scope)
    return None


def from_files(settings: Settings, names: Resolver) -> Definitions:
    """What the files of the packages decorate, for when the registry does not hold together."""
    found = []
    for module in names.project.registered():
        for name, bindings in module.scope.bindings.items():
            for binding in bindings:
                source: Function | Class | None = binding.cls or binding.function
                if source is None:
                    continue
                kind: Kind = "workflow" if isinstance(source, Class) else "activity"
                given = _decorated(source, kind, names)
                if given is None:
                    continue
                queue = settings.queue_for(domain_of(module.name, kind))
                function = source if isinstance(source, Function) else _run_method(source, names)
                cls = source if isinstance(source, Class) else None
                found.append(Definition(kind, given or name, queue, function, cls))
    return Definitions(found)


def _decorated(source: Function | Class, kind: Kind, names: Resolver) -> str | None:
    """The name that its decorator gives, "" for its own; None if it is not decorated."""
    for decorator in source.node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if names.dotted(call, source.module.scope) != _DEFN[kind]:
            continue
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
        return ""
    return None


def is_activity(function: Function, names: Resolver) -> bool:
    """Whether it is decorated with `@activity.defn`, registered or not."""
    return _decorated(function, "activity", names) is not None


def _run_method(cls: Class, names: Resolver) -> Function | None:
    for base in names.mro(cls):
        for method in base.methods if isinstance(base, Class) else ():
            if any(names.dotted(d, method.module.scope) == _RUN for d in method.decorators):
                return method
    return None
