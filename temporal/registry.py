"""What exists, in which domain, on which queue; and that it is all wired.

Three places are read: this package, the packages named in `TEMPORAL_MODULES`, and those that
installed distributions announce in the entry-point group `temporal_ops`. Each has a list WORKFLOWS
(in itself or in its `workflows` subpackage) and a list ACTIVITIES (likewise).
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from temporalio import activity, workflow

from temporal.config import Settings
from temporal.shared.errors import RegistryError, UnknownName

Kind = Literal["workflow", "activity"]
ENTRY_POINTS = "temporal_ops"
_FOLDER: dict[Kind, str] = {"workflow": "workflows", "activity": "activities"}
_LIST: dict[Kind, str] = {"workflow": "WORKFLOWS", "activity": "ACTIVITIES"}


@dataclass(frozen=True)
class Entry:
    """One workflow or activity.

    Attributes:
        kind: "workflow" or "activity".
        name: what Temporal knows it by.
        target: the class or function.
        domain: the folder below `workflows/` or `activities/`; None directly in it.
        queue: the task queue on which workers offer it.
        package: the package that registered it.
        file, line: where it is defined.
    """

    kind: Kind
    name: str
    target: Any
    domain: str | None
    queue: str
    package: str
    file: Path
    line: int

    @property
    def summary(self) -> str:
        """First sentence of its docstring, or nothing."""
        doc = inspect.getdoc(self.target) if self.target.__doc__ else None
        first = " ".join((doc or "").partition("\n\n")[0].split())
        return re.split(r"(?<=\.)\s", first, maxsplit=1)[0]

    @property
    def arg_types(self) -> list[Any] | None:
        """Types of its arguments; None where they are not annotated."""
        types: list[Any] | None = _definition(self.kind, self.target).arg_types
        return types

    @property
    def ret_type(self) -> Any:
        """Type of its result; None where it is not annotated."""
        return _definition(self.kind, self.target).ret_type


@dataclass(frozen=True)
class Registry:
    """All workflows and activities, by name."""

    workflows: dict[str, Entry] = field(default_factory=dict)
    activities: dict[str, Entry] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    def workflow(self, name: str) -> Entry:
        """The workflow called `name`. Raises UnknownName, offering the near ones."""
        return _find("workflow", name, self.workflows)

    def activity(self, name: str) -> Entry:
        """The activity called `name`. Raises UnknownName, offering the near ones."""
        return _find("activity", name, self.activities)

    def entries(self) -> Iterator[Entry]:
        """Workflows, then activities, each by domain and name."""
        for group in (self.workflows, self.activities):
            yield from sorted(group.values(), key=lambda e: (e.domain or "", e.name))

    def queues(self) -> list[str]:
        """Every queue on which something is offered, sorted."""
        return sorted({entry.queue for entry in self.entries()})

    def domains(self) -> list[str]:
        """Every domain in which something is registered, sorted."""
        return sorted({entry.domain for entry in self.entries() if entry.domain})

    def unknown_domains(self, settings: Settings) -> list[str]:
        """Domains that `settings` have a queue for and nobody registered anything in: mistyped."""
        return sorted(set(settings.task_queues) - set(self.domains()))

    def on_queue(self, queue: str) -> tuple[list[type], list[Callable[..., Any]]]:
        """What a worker of `queue` offers: workflow classes and activity functions."""
        return (
            [e.target for e in self.workflows.values() if e.queue == queue],
            [e.target for e in self.activities.values() if e.queue == queue],
        )


def load(settings: Settings) -> Registry:
    """Gather everything and hold it together.

    Raises:
        RegistryError: every problem found, each naming the object and its file.
    """
    problems: list[str] = []
    found: dict[Kind, dict[str, Entry]] = {"workflow": {}, "activity": {}}
    packages = list(_packages(settings, problems))
    for package in packages:
        for kind in ("workflow", "activity"):
            holder = _holder(package, kind, problems)
            if holder is None:
                continue
            registered = _gather(kind, holder, package.__name__, settings, found[kind], problems)
            problems += _unregistered(kind, holder, registered)
    if problems:
        raise RegistryError(problems)
    names = tuple(package.__name__ for package in packages)
    return Registry(found["workflow"], found["activity"], names)


def _packages(settings: Settings, problems: list[str]) -> Iterator[ModuleType]:
    yield importlib.import_module("temporal")
    here = str(Path.cwd())
    if settings.modules and here not in sys.path:
        sys.path.insert(0, here)  # a console script does not have the working folder on its path
    wanted = [(name, str(settings.origin("modules"))) for name in settings.modules]
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        wanted.append((point.module, f"entry point {point.name!r} of group {ENTRY_POINTS}"))
    seen = {"temporal"}
    for name, origin in wanted:
        if name in seen:
            continue
        seen.add(name)
        try:
            yield importlib.import_module(name)
        except Exception as error:
            problems.append(
                f"package {name!r} (from {origin}) cannot be imported: "
                f"{type(error).__name__}: {error}{_raised_at(error)}"
            )


def _raised_at(error: BaseException) -> str:
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    for frame in reversed(frames):
        if "importlib" not in frame.filename:
            return f" ({frame.filename}:{frame.lineno})"
    return ""


def _holder(package: ModuleType, kind: Kind, problems: list[str]) -> ModuleType | None:
    """The module that has the list: the subpackage where there is one, else the package itself."""
    name = f"{package.__name__}.{_FOLDER[kind]}"
    if importlib.util.find_spec(name) if hasattr(package, "__path__") else None:
        try:
            module = importlib.import_module(name)
        except Exception as error:
            problems.append(
                f"{name} cannot be imported: {type(error).__name__}: {error}{_raised_at(error)}"
            )
            return None
    else:
        module = package
        if not hasattr(module, _LIST[kind]):
            return None
    if not isinstance(getattr(module, _LIST[kind], None), list):
        problems.append(f"{module.__file__}: {name} has no list {_LIST[kind]}")
        return None
    return module


def _gather(
    kind: Kind,
    holder: ModuleType,
    package: str,
    settings: Settings,
    into: dict[str, Entry],
    problems: list[str],
) -> set[tuple[Path, int]]:
    """Adds the registered objects to `into`; returns where each is defined."""
    places = set()
    for target in getattr(holder, _LIST[kind]):
        file, line = _place(target)
        places.add((file, line))
        definition = _definition(kind, target)
        if definition is None:
            problems.append(
                f"{file}:{line}: {getattr(target, '__name__', target)!r} is in {_LIST[kind]} of "
                f"{holder.__name__} but is not decorated with @{kind}.defn"
            )
            continue
        name = definition.name
        if not name:
            problems.append(
                f"{file}:{line}: a dynamic {kind} would take every unknown name for itself, so "
                "that a mistyped one is never found; give it a name"
            )
            continue
        if name in into:
            first = into[name]
            same = first.target is target
            problems.append(
                f"{file}:{line}: {kind} {name!r} is registered "
                + ("twice" if same else f"already, from {first.file}:{first.line}")
            )
            continue
        domain = domain_of(target.__module__, kind)
        queue = settings.queue_for(domain)
        into[name] = Entry(kind, name, target, domain, queue, package, file, line)
    return places


def domain_of(module: str, kind: Kind) -> str | None:
    """The domain of what is defined in `module`: its folder below `workflows`/`activities`.

    >>> domain_of("temporal.workflows.automation.provision_server", "workflow")
    'automation'
    >>> domain_of("temporal.workflows.test", "workflow") is None
    True
    """
    parts = module.split(".")
    if _FOLDER[kind] not in parts:
        return None
    below = parts[parts.index(_FOLDER[kind]) + 1 :]
    return below[0] if len(below) > 1 else None


def _definition(kind: Kind, target: Any) -> Any:
    if kind == "workflow":
        return workflow._Definition.from_class(target) if inspect.isclass(target) else None
    return activity._Definition.from_callable(target) if callable(target) else None


def _place(target: Any) -> tuple[Path, int]:
    try:
        inner = inspect.unwrap(target)
        file = inspect.getsourcefile(inner) or "?"
        lines, line = inspect.getsourcelines(inner)
        # The line of `def` or `class`, not of its first decorator: where an editor should open.
        offset = next(
            (
                i
                for i, text in enumerate(lines)
                if text.lstrip().startswith(("def ", "async def ", "class "))
            ),
            0,
        )
        return Path(file).resolve(), line + offset
    except (TypeError, OSError):
        return Path("?"), 0


def _unregistered(
    kind: Kind, holder: ModuleType, registered: set[tuple[Path, int]]
) -> Iterable[str]:
    """What is decorated in a file below `holder` but was never put into its list.

    Files are parsed, not imported: a file that nobody registered may do anything when imported.
    """
    if not hasattr(holder, "__path__") or not holder.__name__.endswith(f".{_FOLDER[kind]}"):
        return
    root = Path(next(iter(holder.__path__))).resolve()
    for file in sorted(root.rglob("*.py")):
        try:
            tree = ast.parse(file.read_bytes(), filename=str(file))
        except SyntaxError as error:
            yield f"{file}:{error.lineno}: does not parse: {error.msg}"
            continue
        imported = _imported(tree)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and any(_is_defn(found, kind, imported) for found in node.decorator_list)
                and (file, node.lineno) not in registered
            ):
                module = ".".join(
                    [holder.__name__, *file.relative_to(root).with_suffix("").parts]
                ).removesuffix(".__init__")
                yield (
                    f"{file}:{node.lineno}: {kind} {node.name!r} is defined but never registered; "
                    f"add to {root / '__init__.py'}:\n"
                    f"    from {module} import {node.name}\n"
                    f"    {_LIST[kind]}.append({node.name})"
                )


def _imported(tree: ast.AST) -> dict[str, str]:
    """What each name that a file imports stands for: `{"act": "temporalio.activity"}`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
    return names


def _is_defn(decorator: ast.expr, kind: Kind, imported: dict[str, str]) -> bool:
    call = decorator.func if isinstance(decorator, ast.Call) else decorator
    first, dot, rest = ast.unparse(call).partition(".")
    return imported.get(first, first) + dot + rest == f"temporalio.{kind}.defn"


def _find(kind: Kind, name: str, among: dict[str, Entry]) -> Entry:
    if name in among:
        return among[name]
    lowered = {known.lower(): known for known in among}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(lowered[n] for n in near)}?" if near else ""
    raise UnknownName(
        f"there is no {kind} {name!r}. {hint or 'Known: ' + ', '.join(sorted(among))}"
    )
