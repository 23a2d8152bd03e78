"""Workflow code that would go another way when it is replayed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from temporal.check.calls import Call, Facts, Reached
from temporal.check.context import Context, finding, reached_by
from temporal.check.findings import Finding
from temporal.check.nondeterminism import Banned, called, read
from temporal.check.source import Class, Function, Module, Scope
from temporal.check.symbols import External, Variable

_FACTORIES = {"pydantic.Field", "pydantic.fields.Field", "dataclasses.field"}


def find(context: Context) -> Iterator[Finding]:
    """Findings of the workflow-* rules but those about order and state."""
    for one, workflows in context.workflow_code:
        facts = context.in_workflows.facts(one.function)
        by = reached_by(one, workflows)
        yield from _calls(context, one, facts, by)
        yield from _reads(context, one, facts, by)


def _calls(context: Context, one: Reached, facts: Facts, by: str) -> Iterator[Finding]:
    module = one.function.module
    for call in facts.calls:
        if isinstance(call.target, Function) and context.is_activity(call.target):
            name = call.target.node.name
            yield finding(
                "workflow-calls-activity",
                f"activity {name} is called as a function, so that it runs inside the workflow; {by}",
                module,
                call.node,
                f"`await workflow.execute_activity({name}, ...)`.",
            )
        elif isinstance(call.target, Class):
            yield from _defaults(context, call, call.target, by)
        banned = _banned(call)
        if banned:
            shown = call.name or ast.unparse(call.node.func)
            yield _report(banned, f"calls {_plain(shown)}", by, module, call.node)


def _banned(call: Call) -> Banned | None:
    if isinstance(call.target, External):
        return called(call.name, call.node)
    if (
        call.target is None
        and isinstance(call.node.func, ast.Attribute)
        and call.node.func.attr == "run_in_executor"
    ):
        return called("asyncio.to_thread", None)
    return None


def _reads(context: Context, one: Reached, facts: Facts, by: str) -> Iterator[Finding]:
    module = one.function.module
    passed = {
        value
        for call in facts.calls
        for value in (*call.node.args, *(keyword.value for keyword in call.node.keywords))
    }
    for ref in facts.refs:
        if isinstance(ref.target, External):
            banned = read(ref.name)
            if banned:
                yield _report(banned, f"reads {ref.name}", by, module, ref.node)
            elif ref.node in passed and _is_callable(ref.name):
                banned = called(ref.name, None)
                if banned:
                    yield _report(banned, f"hands on {_plain(ref.name)}", by, module, ref.node)
        elif isinstance(ref.target, Variable) and ref.target.scope.kind in ("module", "class"):
            yield from _constant(context, ref.target, by)


def _constant(context: Context, variable: Variable, by: str) -> Iterator[Finding]:
    """A variable of a module that workflow code reads: it was computed when that was imported."""
    for binding in variable.bindings:
        if binding.value is None or binding.kind != "value":
            continue
        for node, banned, name in _in_expression(context, binding.value, variable.scope):
            if banned.rule in ("workflow-logging", "workflow-threads"):
                continue
            yield _report(
                banned,
                f"{variable.name} comes from {_plain(name)}, which each worker asks for itself",
                by,
                variable.scope.module,
                node,
            )


def _in_expression(
    context: Context, value: ast.expr, scope: Scope
) -> Iterator[tuple[ast.expr, Banned, str]]:
    todo: list[ast.AST] = [value]
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            name = _external(context, node.func, scope)
            banned = called(name, node) if name else None
            if banned:
                yield node, banned, name
        elif isinstance(node, ast.Attribute | ast.Name):
            name = _external(context, node, scope)
            banned = read(name) if name else None
            if banned:
                yield node, banned, name
        todo.extend(ast.iter_child_nodes(node))


def _external(context: Context, node: ast.expr, scope: Scope) -> str:
    found = context.names.resolve(node, scope)
    return found.dotted if isinstance(found, External) else ""


def _defaults(context: Context, call: Call, cls: Class, by: str) -> Iterator[Finding]:
    """Fields of a model that are filled by a clock or chance when the call leaves them out."""
    if call.node.args or any(keyword.arg is None for keyword in call.node.keywords):
        return
    given = {keyword.arg for keyword in call.node.keywords}
    for base in context.names.mro(cls):
        if not isinstance(base, Class):
            continue
        for name, bindings in base.scope.bindings.items():
            value = bindings[-1].value
            if name in given or not isinstance(value, ast.Call):
                continue
            if context.names.dotted(value.func, base.module.scope) not in _FACTORIES:
                continue
            for keyword in value.keywords:
                if keyword.arg == "default_factory":
                    yield from _factory(context, keyword.value, base, name, by)


def _factory(
    context: Context, factory: ast.expr, cls: Class, name: str, by: str
) -> Iterator[Finding]:
    scope = cls.module.scope
    if isinstance(factory, ast.Lambda):
        bad = [(banned, at) for _, banned, at in _in_expression(context, factory.body, scope)]
    else:
        at = _external(context, factory, scope)
        banned = called(at, None) if at else None
        bad = [(banned, at)] if banned else []
    for banned, at in bad:
        doing = f"constructs {cls.node.name}, whose {name} comes from {_plain(at)}"
        yield _report(banned, doing, by, cls.module, factory)


def _is_callable(name: str) -> bool:
    """Whether `name`, of a module that is imported already, is a function: no constant, no class."""
    module, _, rest = name.partition(".")
    found: object = sys.modules.get(module)
    while rest and found is not None:
        first, _, rest = rest.partition(".")
        module = f"{module}.{first}"
        found = getattr(found, first, sys.modules.get(module))
    return callable(found) and not isinstance(found, type)


def _report(banned: Banned, doing: str, by: str, module: Module, node: ast.AST) -> Finding:
    return finding(banned.rule, f"{doing}; {by}", module, node, banned.instead)


def _plain(name: str) -> str:
    return name.removeprefix("builtins.")
