"""Coroutines in workflow code that nobody awaits."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from temporal.check.calls import Call, Facts
from temporal.check.context import Context, finding, reached_by
from temporal.check.findings import Finding
from temporal.check.source import Function

_WORKFLOW = "temporalio.workflow."
_COROUTINES = {
    *(
        f"{_WORKFLOW}execute_{what}{form}"
        for what in ("activity", "local_activity")
        for form in ("", "_method", "_class")
    ),
    *(
        f"{_WORKFLOW}{name}"
        for name in (
            "execute_child_workflow", "start_child_workflow", "wait_condition", "sleep", "wait",
        )
    ),
    "asyncio.sleep",
    "asyncio.wait_for",
}  # fmt: skip


def find(context: Context) -> Iterator[Finding]:
    """Findings of never-awaited."""
    for one, workflows in context.workflow_code:
        facts = context.in_workflows.facts(one.function)
        by = reached_by(one, workflows)
        coroutines = {call.node: call for call in facts.calls if _is_coroutine(context, call)}
        for call in _dropped(facts, coroutines):
            shown = ast.unparse(call.node.func)
            yield finding(
                "never-awaited",
                f"{shown}(...) is never awaited, so that it never runs; {by}",
                one.function.module,
                call.node,
                f"`await {shown}(...)`, or `asyncio.create_task(...)` that is awaited later.",
            )


def _is_coroutine(context: Context, call: Call) -> bool:
    if isinstance(call.target, Function):
        plain = not call.target.decorators and call.target.is_async
        return plain and not _yields(call.target) and not context.is_activity(call.target)
    return call.name in _COROUTINES


def _yields(function: Function) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function.node))


def _dropped(facts: Facts, coroutines: dict[ast.Call, Call]) -> Iterator[Call]:
    read = {
        (n.id) for n, _ in facts.nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
    for node, _ in facts.nodes:
        if isinstance(node, ast.Expr):
            value: ast.expr = node.value
        elif (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id not in read
        ):
            value = node.value  # kept under a name that nothing reads
        else:
            continue
        if isinstance(value, ast.Call) and value in coroutines:
            yield coroutines[value]
