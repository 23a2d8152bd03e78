"""Workflow code that depends on the order of a set, or on state that outlives the run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from temporal.check.context import Context, finding, reached_by
from temporal.check.findings import Finding
from temporal.check.live import Located
from temporal.check.resolve import Resolver
from temporal.check.source import Class, Function, Scope
from temporal.check.symbols import Variable

_SETS = {"builtins.set", "builtins.frozenset"}
# These give the same whatever the order of what they are given.
_INSENSITIVE = {
    f"builtins.{name}"
    for name in ("sorted", "set", "frozenset", "len", "sum", "min", "max", "any", "all")
}
_ORDERED = {f"builtins.{name}" for name in ("list", "tuple", "enumerate", "iter", "zip", "map")}
_CONTAINERS = {
    "builtins.list", "builtins.dict", "builtins.set", "collections.deque",
    "collections.defaultdict", "collections.OrderedDict", "collections.Counter",
}  # fmt: skip
_CHANGES = {
    "append", "appendleft", "extend", "insert", "remove", "pop", "popitem", "popleft", "clear",
    "sort", "reverse", "add", "discard", "update", "setdefault", "subtract",
    "difference_update", "intersection_update", "symmetric_difference_update",
}  # fmt: skip


def find(context: Context) -> Iterator[Finding]:
    """Findings of workflow-set-order and workflow-global-state."""
    for one, workflows in context.workflow_code:
        facts = context.in_workflows.facts(one.function)
        by = reached_by(one, workflows)
        for node, what in _set_order(context.names, facts.nodes):
            yield finding("workflow-set-order", f"{what}; {by}", one.function.module, node)
        for node, what in _state(context.names, one.function, facts.nodes):
            yield finding("workflow-global-state", f"{what}; {by}", one.function.module, node)


def _set_order(names: Resolver, nodes: list[Located]) -> Iterator[tuple[ast.AST, str]]:
    harmless: set[ast.AST] = set()
    for node, scope in nodes:
        if isinstance(node, ast.Call):
            name = names.dotted(node.func, scope)
            if name in _INSENSITIVE:
                harmless.update(node.args)
                continue
            if node in harmless:
                continue
            if name in _ORDERED or _is_join(names, node, scope):
                for arg in node.args:
                    if _is_set(names, arg, scope):
                        yield arg, f"makes a sequence of a set: {_short(node)}"
            elif (
                isinstance(node.func, ast.Attribute)
                and node.func.attr == "pop"
                and not node.args
                and _is_set(names, node.func.value, scope)
            ):
                yield node, f"takes any one element of a set: {_short(node)}"
            for arg in node.args:
                if isinstance(arg, ast.Starred) and _is_set(names, arg.value, scope):
                    yield arg, f"unpacks a set: {_short(arg)}"
        elif isinstance(node, ast.For) and _is_set(names, node.iter, scope):
            yield node.iter, f"goes through a set: {_short(node.iter)}"
        elif (
            isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp)
            and node not in harmless
        ):
            for part in node.generators:
                if _is_set(names, part.iter, scope):
                    yield part.iter, f"goes through a set: {_short(part.iter)}"


def _is_set(names: Resolver, node: ast.expr, scope: Scope) -> bool:
    of = names.infer(node, scope)
    return of is not None and of.dotted in _SETS


def _is_join(names: Resolver, node: ast.Call, scope: Scope) -> bool:
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "join"):
        return False
    of = names.infer(node.func.value, scope)
    return of is not None and of.dotted == "builtins.str"


def _state(
    names: Resolver, function: Function, nodes: list[Located]
) -> Iterator[tuple[ast.AST, str]]:
    for node, scope in nodes:
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            for target in targets:
                what = _assigned(names, target, scope)
                if what:
                    yield target, what
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            variable = names.resolve(owner, scope) if _is_chain(owner) else None
            if node.func.attr in _CHANGES and _is_shared(names, variable):
                yield node, f"changes {_short(owner)}, which all runs on the worker share"


def _assigned(names: Resolver, target: ast.expr, scope: Scope) -> str:
    if isinstance(target, ast.Name):
        here: Scope | None = scope
        while here is not None and here.kind == "function":
            if target.id in here.global_names:
                return f"assigns the global variable {target.id}"
            here = here.parent
        return ""
    if isinstance(target, ast.Subscript):
        variable = names.resolve(target.value, scope) if _is_chain(target.value) else None
        if _is_shared(names, variable):
            return f"changes {_short(target.value)}, which all runs on the worker share"
        return ""
    if isinstance(target, ast.Attribute) and names.infer(target.value, scope) is None:
        owner = names.resolve(target.value, scope)
        if isinstance(owner, Class):
            return f"assigns {_short(target)}, which all instances of the class share"
    return ""


def _is_chain(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _is_shared(names: Resolver, found: object) -> bool:
    """Whether it is a container in a module or class, made once for all runs."""
    if not isinstance(found, Variable) or found.scope.kind not in ("module", "class"):
        return False
    of = names.of_variable(found)
    # `items: list[str]` alone declares a field of each instance; with a value it is the class's.
    made = any(binding.value is not None for binding in found.bindings)
    if found.scope.kind == "class":
        owner = found.scope.owner
        if isinstance(owner, Class) and names.assigned_to_self(owner, found.name):
            return False
        made = any(
            isinstance(b.value, ast.List | ast.Dict | ast.Set) and b.annotation is None
            for b in found.bindings
        )
    return made and of is not None and of.dotted in _CONTAINERS


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 50 else text[:47] + "..."
