"""Source files as trees of scopes: which name is bound to what, and where. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
BindingKind = Literal["import", "function", "class", "value", "parameter", "other"]


@dataclass(frozen=True)
class Binding:
    """One place that gives a name its meaning.

    Attributes:
        module, attr: of an import: the module, and the name taken from it (None: the module itself).
        value, annotation: of an assignment or parameter.
        function, cls: of a definition.
    """

    kind: BindingKind
    module: str = ""
    attr: str | None = None
    value: ast.expr | None = None
    annotation: ast.expr | None = None
    function: Function | None = None
    cls: Class | None = None


@dataclass(eq=False, repr=False)
class Scope:
    """Names of a module, class or function.

    `parent` is where a name is looked up next, as Python does: a method skips its class.
    """

    module: Module
    kind: Literal["module", "class", "function"]
    parent: Scope | None
    owner: Function | Class | None = None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    global_names: set[str] = field(default_factory=set)
    by_node: dict[ast.AST, Function | Class] = field(default_factory=dict)

    def bind(self, name: str, binding: Binding) -> None:
        """Add one meaning of `name`."""
        self.bindings.setdefault(name, []).append(binding)


@dataclass(eq=False, repr=False)
class Module:
    """One parsed file."""

    name: str
    file: Path
    is_package: bool
    text: str
    tree: ast.Module
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        self.scope = Scope(self, "module", None)
        _Collector(self.scope, "").collect(self.tree.body)

    def absolute(self, module: str | None, level: int) -> str:
        """The full name of what `from <dots><module> import` means in this file."""
        if not level:
            return module or ""
        parts = self.name.split(".")
        keep = len(parts) - level + (1 if self.is_package else 0)
        return ".".join([*parts[: max(keep, 0)], *([module] if module else [])])


@dataclass(eq=False, repr=False)
class Function:
    """A function, method or nested function."""

    module: Module
    node: FunctionNode
    qualname: str
    cls: Class | None
    scope: Scope = field(init=False)

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def dotted(self) -> str:
        return f"{self.module.name}.{self.qualname}"

    @property
    def decorators(self) -> list[ast.expr]:
        return self.node.decorator_list

    @property
    def positional(self) -> list[ast.arg]:
        """Positional parameters, without the `self` or `cls` of a method."""
        every = [*self.node.args.posonlyargs, *self.node.args.args]
        return every[1:] if self.takes_self else every

    @property
    def takes_self(self) -> bool:
        """Whether the first parameter is the instance or class."""
        return self.cls is not None and not any(
            isinstance(d, ast.Name) and d.id == "staticmethod" for d in self.decorators
        )


@dataclass(eq=False, repr=False)
class Class:
    """A class, with its own names only; those of its bases are found by the resolver."""

    module: Module
    node: ast.ClassDef
    qualname: str
    scope: Scope = field(init=False)

    @property
    def dotted(self) -> str:
        return f"{self.module.name}.{self.qualname}"

    @property
    def methods(self) -> list[Function]:
        """Methods in the order in which they are written."""
        return [b.function for found in self.scope.bindings.values() for b in found if b.function]


class _Collector(ast.NodeVisitor):
    """Fills one scope, and creates those of the functions and classes defined in it."""

    def __init__(self, scope: Scope, prefix: str) -> None:
        self.scope = scope
        self.prefix = prefix

    def collect(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            self.scope.bind(alias.asname or name, Binding("import", module=name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = self.scope.module.absolute(node.module, node.level)
        for alias in node.names:
            if alias.name == "*":
                self.scope.stars.append(module)
            else:
                self.scope.bind(
                    alias.asname or alias.name, Binding("import", module=module, attr=alias.name)
                )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: FunctionNode) -> None:
        here = self.scope
        owner = here.owner if here.kind == "class" else None
        cls = owner if isinstance(owner, Class) else None
        function = Function(here.module, node, self.prefix + node.name, cls)
        outer = here.parent if here.kind == "class" else here
        function.scope = Scope(here.module, "function", outer, function)
        for arg in _parameters(node.args):
            function.scope.bind(arg.arg, Binding("parameter", annotation=arg.annotation))
        _Collector(function.scope, f"{function.qualname}.<locals>.").collect(node.body)
        here.bind(node.name, Binding("function", function=function))
        here.by_node[node] = function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        here = self.scope
        cls = Class(here.module, node, self.prefix + node.name)
        # A class body sees the scope around it; what is in it is not seen by its methods.
        cls.scope = Scope(here.module, "class", here if here.kind != "class" else here.parent, cls)
        _Collector(cls.scope, f"{cls.qualname}.").collect(node.body)
        here.bind(node.name, Binding("class", cls=cls))
        here.by_node[node] = cls

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._target(target, node.value, None)
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._target(node.target, node.value, node.annotation)
        if node.value:
            self.visit(node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._target(node.target, node.value, None)
        self.visit(node.value)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._target(node.target, None, None)
        for child in (node.iter, *node.body, *node.orelse):
            self.visit(child)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars:
                # Context managers of interest here (executors, processes, files) return themselves.
                self._target(item.optional_vars, item.context_expr, None)
        for statement in node.body:
            self.visit(statement)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.visit_With(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.scope.bind(node.name, Binding("other"))
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._target(node.target, None, None)
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for arg in _parameters(node.args):
            self.scope.bind(arg.arg, Binding("other"))
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.scope.bind(node.name, Binding("other"))
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.scope.bind(node.name, Binding("other"))

    def visit_Global(self, node: ast.Global) -> None:
        self.scope.global_names.update(node.names)

    def _target(
        self, target: ast.expr, value: ast.expr | None, annotation: ast.expr | None
    ) -> None:
        if isinstance(target, ast.Name):
            kind: BindingKind = "value" if value or annotation else "other"
            self.scope.bind(target.id, Binding(kind, value=value, annotation=annotation))
        elif isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self._target(element, None, None)
        elif isinstance(target, ast.Starred):
            self._target(target.value, None, None)


def _parameters(args: ast.arguments) -> Iterator[ast.arg]:
    yield from args.posonlyargs
    yield from args.args
    if args.vararg:
        yield ast.arg(args.vararg.arg)  # annotated per element: says nothing of the tuple
    yield from args.kwonlyargs
    if args.kwarg:
        yield ast.arg(args.kwarg.arg)
