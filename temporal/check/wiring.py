"""What workflows start: that it exists, on the queue it is sent to, and takes what it is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from temporal.check.calls import Call, Reached
from temporal.check.context import CONTINUE, STARTS, Context, finding, reached_by
from temporal.check.definitions import Definition
from temporal.check.findings import Finding
from temporal.check.fits import misfit
from temporal.check.resolve import Resolver
from temporal.check.source import Class, Function, Scope
from temporal.check.symbols import Variable
from temporal.registry import Kind


@dataclass(frozen=True)
class _Site:
    """One call that starts something, and who makes it."""

    context: Context
    one: Reached
    workflows: list[str]
    call: Call

    @property
    def by(self) -> str:
        return reached_by(self.one, self.workflows)

    def report(self, rule: str, message: str, at: ast.AST, instead: str | None = None) -> Finding:
        module = self.one.function.module
        return finding(rule, f"{message}; {self.by}", module, at, instead)

    def text(self, node: ast.expr) -> str | None:
        return constant_text(self.context.names, node, self.call.scope)


def find(context: Context) -> Iterator[Finding]:
    """Findings of unknown-name, wrong-queue and wrong-arguments."""
    for one, workflows in context.workflow_code:
        for call in context.in_workflows.facts(one.function).calls:
            site = _Site(context, one, workflows, call)
            if call.name in STARTS:
                yield from _start(site, STARTS[call.name])
            elif call.name == CONTINUE:
                yield from _continue(site)


def _start(site: _Site, kind: Kind) -> Iterator[Finding]:
    args = site.call.node.args
    named = args[0] if args else _keyword(site.call.node, kind)
    if named is None or isinstance(named, ast.Starred):
        return
    target = _target(site, named, kind)
    if isinstance(target, Finding):
        yield target
    elif target is not None:
        yield from _queue(site, target)
        yield from _arguments(site, target, args[1:])


def _continue(site: _Site) -> Iterator[Finding]:
    named = _keyword(site.call.node, "workflow")
    target: Definition | Finding | None = None
    if named is not None and not (isinstance(named, ast.Constant) and named.value is None):
        target = _target(site, named, "workflow")
    elif len(site.workflows) == 1:  # each of several workflows would continue as itself
        target = site.context.definitions.workflows.get(site.workflows[0])
    if isinstance(target, Finding):
        yield target
    elif target is not None:
        yield from _queue(site, target)
        yield from _arguments(site, target, site.call.node.args)


def _target(site: _Site, named: ast.expr, kind: Kind) -> Definition | Finding | None:
    """What is started; a finding if there is no such thing; None where that cannot be told."""
    definitions = site.context.definitions
    name = site.text(named)
    if name is not None:
        known = definitions.named(kind, name)
        if known is not None:
            return known
        other: Kind = "workflow" if kind == "activity" else "activity"
        if definitions.named(other, name) is not None:
            verb = "execute_child_workflow" if kind == "activity" else "execute_activity"
            return site.report(
                "unknown-name",
                f"{name!r} is {_a(other)}, not {_a(kind)}",
                named,
                f"`workflow.{verb}({name!r}, ...)`.",
            )
        return site.report(
            "unknown-name",
            f"there is no {kind} {name!r}",
            named,
            definitions.near(kind, name),
        )
    found = site.context.names.resolve(named, site.call.scope)
    source = _defined_by(site.context, found, kind)
    if source is None:
        return None
    known = definitions.of(source)
    if known is not None and known.kind == kind:
        return known
    shown = ast.unparse(named)
    if isinstance(source, Function) and not site.context.is_activity(source) and kind == "activity":
        return site.report(
            "unknown-name",
            f"{shown} is not an activity",
            named,
            "Decorate it with `@activity.defn` and register it in `activities/__init__.py`.",
        )
    return site.report(
        "unknown-name",
        f"{shown} is not a registered {kind}",
        named,
        f"Append it to {'ACTIVITIES' if kind == 'activity' else 'WORKFLOWS'}, in "
        f"`{'activities' if kind == 'activity' else 'workflows'}/__init__.py`.",
    )


def _defined_by(context: Context, found: object, kind: Kind) -> Function | Class | None:
    """The function of an activity or the class of a workflow that a reference stands for."""
    if kind == "activity":
        if isinstance(found, Function):
            return found
        if isinstance(found, Class):
            call = context.names.member(found, "__call__")
            return call if isinstance(call, Function) else None
        return None
    if isinstance(found, Function):
        return found.cls
    return found if isinstance(found, Class) else None


def _queue(site: _Site, target: Definition) -> Iterator[Finding]:
    given = _keyword(site.call.node, "task_queue")
    queue = site.text(given) if given is not None else None
    if given is not None and queue is not None and queue != target.queue:
        yield site.report(
            "wrong-queue",
            f"{target.kind} {target.name!r} is offered on queue {target.queue!r}, "
            f"but this sends it to {queue!r}",
            given,
        )
    if "local_activity" in site.call.name:
        for name in site.workflows:
            own = site.context.definitions.workflows[name].queue
            if own != target.queue:
                yield site.report(
                    "wrong-queue",
                    f"a local activity runs in the worker of its workflow, which serves {own!r}, "
                    f"but {target.name!r} is offered on {target.queue!r}",
                    site.call.node,
                    "`workflow.execute_activity(...)`, which is routed to the right queue.",
                )
                return


def _arguments(site: _Site, target: Definition, positional: list[ast.expr]) -> Iterator[Finding]:
    call = site.call.node
    if any(keyword.arg is None for keyword in call.keywords):
        return
    if any(isinstance(arg, ast.Starred) for arg in positional):
        return
    if len(positional) > 1:
        listed = ", ".join(ast.unparse(arg) for arg in positional)
        yield site.report(
            "wrong-arguments",
            f"{call_name(call)} takes one argument for {target.name!r}, and is given "
            f"{len(positional)}",
            positional[1],
            f"`args=[{listed}]`; or better one model that holds them all.",
        )
        return
    args, arg = _keyword(call, "args"), _keyword(call, "arg")
    given = [*positional, *([arg] if arg is not None else [])]
    if args is not None:
        if not isinstance(args, ast.List | ast.Tuple):
            return
        if any(isinstance(item, ast.Starred) for item in args.elts):
            return
        if given and args.elts:
            yield site.report("wrong-arguments", "both an argument and args= are given", args)
            return
        given = given or list(args.elts)
    if target.function is not None:
        yield from _against(site, target, target.function, given)


def _against(
    site: _Site, target: Definition, function: Function, given: list[ast.expr]
) -> Iterator[Finding]:
    takes = function.positional
    least = len(takes) - len(function.node.args.defaults)
    most = None if function.node.args.vararg else len(takes)
    if len(given) < least or (most is not None and len(given) > most):
        wanted = ", ".join(ast.unparse(arg) for arg in takes)
        yield site.report(
            "wrong-arguments",
            f"{target.kind} {target.name!r} takes ({wanted}), and is given "
            f"{len(given) or 'no'} argument{'' if len(given) == 1 else 's'}",
            given[-1] if len(given) > least else site.call.node,
        )
        return
    for arg, parameter in zip(given, takes, strict=False):
        scope = function.module.scope
        why = misfit(site.context.names, arg, site.call.scope, parameter.annotation, scope)
        if why:
            yield site.report(
                "wrong-arguments",
                f"{target.kind} {target.name!r} takes {parameter.arg}: "
                f"{ast.unparse(parameter.annotation) if parameter.annotation else '?'}, "
                f"and is given {why}",
                arg,
            )


def constant_text(names: Resolver, node: ast.expr, scope: Scope) -> str | None:
    """The string that `node` evidently is: a literal, or a name that is given one once."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name | ast.Attribute):
        found = names.resolve(node, scope)
        if isinstance(found, Variable) and len(found.bindings) == 1:
            value = found.bindings[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                # A parameter's or field's default is not its value.
                local = found.bindings[0].annotation is None or found.scope.kind == "module"
                return value.value if local else None
    return None


def call_name(call: ast.Call) -> str:
    """The last word of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _a(kind: Kind) -> str:
    return "an activity" if kind == "activity" else "a workflow"
