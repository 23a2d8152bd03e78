"""What every group of rules is given."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from temporal.check.calls import CallGraph, Facts, Reached, called_functions
from temporal.check.definitions import Definition, Definitions, is_activity
from temporal.check.findings import Finding
from temporal.check.live import Live
from temporal.check.resolve import Resolver
from temporal.check.rules import RULES
from temporal.check.source import Class, Function, Module
from temporal.registry import Kind

_WORKFLOW = "temporalio.workflow."
STARTS: dict[str, Kind] = {
    **{
        f"{_WORKFLOW}{verb}_{what}{form}": "activity"
        for verb in ("execute", "start")
        for what in ("activity", "local_activity")
        for form in ("", "_method", "_class")
    },
    f"{_WORKFLOW}execute_child_workflow": "workflow",
    f"{_WORKFLOW}start_child_workflow": "workflow",
}
"""Calls that start something by its name or reference, their first argument."""
CONTINUE = f"{_WORKFLOW}continue_as_new"


@dataclass
class Context:
    """The project as a set of rules sees it."""

    names: Resolver
    definitions: Definitions
    in_workflows: CallGraph = field(init=False)

    def __post_init__(self) -> None:
        self.in_workflows = CallGraph(self.names, Live(self.names, workflow=True, nested=True))

    @cached_property
    def reached(self) -> dict[str, list[Reached]]:
        """For each workflow, everything that runs as workflow code."""
        return {
            name: list(self.in_workflows.reach(self._methods(workflow), self.workflow_edges))
            for name, workflow in self.definitions.workflows.items()
        }

    @cached_property
    def workflow_code(self) -> list[tuple[Reached, list[str]]]:
        """Each function that runs as workflow code, with the workflows that reach it."""
        found: dict[Function, tuple[Reached, list[str]]] = {}
        for name, every in self.reached.items():
            for one in every:
                known = found.setdefault(one.function, (one, []))
                known[1].append(name)
        return list(found.values())

    def _methods(self, workflow: Definition) -> list[Function]:
        if workflow.cls is None:
            return []
        return [
            method
            for base in self.names.mro(workflow.cls)
            if isinstance(base, Class)
            for method in base.methods
            if self._is_entry(method)
        ]

    def _is_entry(self, method: Function) -> bool:
        """Whether Temporal calls `method`. Others count where one of these reaches them: a class
        may as well hold helpers for those who start it."""
        if method.node.name == "__init__":
            return True
        for decorator in method.decorators:
            plain = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.names.dotted(plain, method.module.scope).startswith(_WORKFLOW):
                return True
            if isinstance(plain, ast.Attribute) and plain.attr == "validator":
                return True
        return False

    def is_activity(self, function: Function) -> bool:
        """Whether `function` is an activity, registered or not."""
        known = self.definitions.of(function)
        return (known is not None and known.kind == "activity") or is_activity(function, self.names)

    def workflow_edges(self, _function: Function, facts: Facts) -> Iterable[Function]:
        """What workflow code goes on into: calls, and functions handed on to be called."""
        passed: set[ast.expr] = set()
        for call in facts.calls:
            values = [*call.node.args, *(keyword.value for keyword in call.node.keywords)]
            if call.name in STARTS or call.name == CONTINUE:
                named = {id(node) for node in named_nodes(call.node)}
                values = [value for value in values if id(value) not in named]
            passed.update(values)
        edges = called_functions(self.names, facts)
        edges += [
            ref.target
            for ref in facts.refs
            if ref.node in passed and isinstance(ref.target, Function)
        ]
        return [edge for edge in edges if not self.is_activity(edge)]


def named_nodes(call: ast.Call) -> list[ast.expr]:
    """The arguments of a start that may name its target."""
    keywords = [k.value for k in call.keywords if k.arg in ("workflow", "activity")]
    return [*call.args[:1], *keywords]


def finding(
    rule: str, message: str, module: Module, node: ast.AST, instead: str | None = None
) -> Finding:
    """A finding of `rule` at `node`."""
    known = RULES[rule]
    line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    if offset and not module.text.isascii():  # ast counts bytes, editors and SARIF count characters
        before = module.text.split("\n")[line - 1].encode()[:offset]
        offset = len(before.decode(errors="replace"))
    return Finding(
        rule,
        known.severity,
        message,
        module.file,
        line,
        offset + 1,
        instead or known.instead,
    )


def reached_by(one: Reached, workflows: list[str]) -> str:
    """In words: which workflows run a function, and by which path the first of them does."""
    more = f" and {len(workflows) - 1} more" if len(workflows) > 1 else ""
    via = one.via()
    return f"workflow {workflows[0]}{more}" + (f" reaches it by {via}" if via else "")
