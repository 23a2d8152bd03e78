"""The part of a function that can run: what it does when called, with dead branches left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from temporal.check.resolve import Resolver
from temporal.check.source import Function, Scope

Located = tuple[ast.AST, Scope]

# Conditions whose value is known wherever workflow or activity code runs. Code that a workflow runs
# only when it is not replaying is a side effect that its author has already thought about.
_KNOWN = {
    "typing.TYPE_CHECKING": False,
    "typing_extensions.TYPE_CHECKING": False,
    "temporalio.workflow.unsafe.is_replaying": True,
}
_IN_WORKFLOW = "temporalio.workflow.in_workflow"


class Live:
    """Walks functions.

    Args:
        workflow: whether the code runs in a workflow (else in an activity).
        nested: whether nested functions and lambdas belong to the function that holds them. They do
            where each of them is called in the end; not where it matters by whom.
    """

    def __init__(self, names: Resolver, *, workflow: bool, nested: bool) -> None:
        self._names = names
        self._workflow = workflow
        self._nested = nested

    def nodes(self, function: Function) -> Iterator[Located]:
        """Every node of the body that can run, outer before inner, with the scope it is in."""
        yield from self._block(function.node.body, function.scope)

    def _block(self, statements: Sequence[ast.AST], scope: Scope) -> Iterator[Located]:
        for statement in statements:
            if isinstance(statement, ast.If):
                known = self._known(statement.test, scope)
                yield from self._node(statement.test, scope)
                if known is not False:
                    yield from self._block(statement.body, scope)
                if known is not True:
                    yield from self._block(statement.orelse, scope)
                taken = {True: statement.body, False: statement.orelse}.get(bool(known), [])
                if known is not None and taken and _leaves(taken[-1]):
                    return
            else:
                yield from self._node(statement, scope)

    def _node(self, node: ast.AST, scope: Scope) -> Iterator[Located]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = scope.by_node.get(node)
            if self._nested and isinstance(inner, Function):
                yield from self._block(node.body, inner.scope)
            return
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.Lambda) and not self._nested):
            return
        if isinstance(node, ast.IfExp):
            known = self._known(node.test, scope)
            yield node, scope
            yield from self._node(node.test, scope)
            if known is not False:
                yield from self._node(node.body, scope)
            if known is not True:
                yield from self._node(node.orelse, scope)
            return
        yield node, scope
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "args") and not isinstance(node, ast.Call):
                continue  # annotations and parameters are not executed here
            if isinstance(value, ast.AST):
                yield from self._node(value, scope)
            elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                yield from self._block(value, scope)
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, ast.AST):
                        yield from self._node(item, scope)

    def _known(self, test: ast.expr, scope: Scope) -> bool | None:
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self._known(test.operand, scope)
            return None if inner is None else not inner
        asked = test.func if isinstance(test, ast.Call) else test
        name = self._names.dotted(asked, scope)
        if name == _IN_WORKFLOW:
            return self._workflow
        return _KNOWN.get(name)


def _leaves(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break)
