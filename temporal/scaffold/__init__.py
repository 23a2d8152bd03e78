"""`temporal-ops new`: a workflow, its activity and a test that passes, written and registered.

Everything is looked at before anything is written, and what was written is taken back if the last
file cannot be.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import temporal
from temporal import config, registry
from temporal.scaffold import texts
from temporal.scaffold.registering import register
from temporal.shared.errors import OpsError, RegistryError

OWN_PACKAGE = "ops"
"""The package that is made for a person whose project is not a checkout of this one."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class CannotCreate(OpsError):
    """What was asked for cannot be written; nothing was. The message says why and what would do."""


@dataclass(frozen=True)
class Created:
    """What was written.

    Attributes:
        files: every file that was written or changed, absolute.
        workflow, activity: the names under which they are registered.
        advice: what to do next, one or more lines.
    """

    files: list[Path]
    workflow: str
    activity: str
    advice: str


def new(path: str, *, package: str | None = None, root: Path) -> Created:
    """Write workflow and activity `<domain>/<name>` of `package`, register both, and write a test.

    Args:
        path: `my_domain/my_workflow`: gives class `MyWorkflow` and activity `my_activity`.
        package: where to; default: `temporal` if `root` is a checkout of this project, else the
            first package of TEMPORAL_MODULES that is below `root`, else `ops`, which is made.
        root: folder of the project.

    Raises:
        CannotCreate: a name that is none, a file that exists, a name that is registered already.
        ConfigError: a setting is wrong.
    """
    root = root.resolve()
    settings = config.load()
    domain, name = _split(path)
    package = package or _default_package(root, settings)
    folder = _folder(package, root)
    workflow, activity = texts.class_name(name), f"{name.removesuffix('_workflow')}_activity"
    _refuse_registered(workflow, activity, package, folder, root, settings)

    names = texts.Names(package, domain, name, workflow, activity)
    test = root.joinpath("tests", *package.split("."), "workflows", domain, f"test_{name}.py")
    fresh = {
        folder / "workflows" / domain / f"{name}.py": texts.workflow(names),
        folder / "activities" / domain / f"{name}.py": texts.activity(names),
        test: texts.test(names),
    }
    for file in fresh:
        if file.exists():
            raise CannotCreate(f"{file} exists already; choose another name, or remove it first")
        _refuse_shadowing(file, root)
    changes = {
        **_packages(folder, root, domain),
        folder / "workflows" / "__init__.py": _registered(
            folder / "workflows" / "__init__.py", texts.WORKFLOWS, names.workflow_module, workflow
        ),
        folder / "activities" / "__init__.py": _registered(
            folder / "activities" / "__init__.py", texts.ACTIVITIES, names.activity_module, activity
        ),
        **fresh,
    }
    _write(changes)
    importlib.invalidate_caches()
    for kind in ("workflows", "activities"):
        # The lists as they were: whoever loads the registry next in this process reads them anew.
        sys.modules.pop(f"{package}.{kind}", None)
    return Created(list(changes), workflow, activity, _advice(names, test, root, settings))


# --- what is refused ---------------------------------------------------------------------------


def _split(path: str) -> tuple[str, str]:
    parts = path.split("/")
    if len(parts) != 2:
        raise CannotCreate(f"{path!r} is not <domain>/<name>, as in my_domain/my_workflow")
    domain, name = parts
    for part in parts:
        _refuse_bad_name(part, path)
    return domain, name


def _refuse_bad_name(part: str, path: str) -> None:
    if _NAME.fullmatch(part) and not keyword.iskeyword(part):
        return
    wanted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part)
    wanted = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_")
    if keyword.iskeyword(part):
        hint = f"it is a word of Python; {part}_all, for one, would do"
    elif _NAME.fullmatch(wanted) and not keyword.iskeyword(wanted):
        hint = f"write {wanted!r}"
    else:
        hint = "lower-case letters, digits and _, beginning with a letter"
    raise CannotCreate(f"{part!r} (in {path!r}) cannot name a module: {hint}")


def _default_package(root: Path, settings: config.Settings) -> str:
    if _is_checkout(root):
        return "temporal"
    for module in settings.modules:
        if root.joinpath(*module.split("."), "__init__.py").is_file():
            return module
    return OWN_PACKAGE


def _is_checkout(root: Path) -> bool:
    """Whether the running `temporal` package is the one in `root`, so that it may be written to."""
    here = Path(temporal.__file__).resolve().parent
    return here == (root / "temporal").resolve()


def _folder(package: str, root: Path) -> Path:
    for part in package.split("."):
        _refuse_bad_name(part, package)
    top = package.partition(".")[0]
    folder = root.joinpath(*package.split("."))
    if top == "temporal":
        if not _is_checkout(root):
            raise CannotCreate(
                f"the package temporal is installed in {Path(temporal.__file__).parent}, which is "
                f"not yours to write to; use a package of your own, as in --package {OWN_PACKAGE}"
            )
        return folder
    if not (root / top).exists():
        with _importable(root):
            taken = importlib.util.find_spec(top)
        if taken is not None or top in sys.stdlib_module_names:
            raise CannotCreate(
                f"package {top!r} would hide the one of {taken.origin if taken else 'Python'}; "
                "choose another name"
            )
    if folder.exists() and not folder.is_dir():
        raise CannotCreate(f"{folder} is not a folder")
    return folder


def _refuse_registered(
    workflow: str,
    activity: str,
    package: str,
    folder: Path,
    root: Path,
    settings: config.Settings,
) -> None:
    modules = settings.modules
    if folder.is_dir() and package != "temporal" and package not in modules:
        modules = (*modules, package)
    with _importable(root):
        try:
            known = registry.load(config.load(modules=modules))
        except RegistryError as error:
            raise CannotCreate(
                f"what is there does not hold together; mend this first:\n{error}"
            ) from None
    for kind, name, among in (
        ("workflow", workflow, known.workflows),
        ("activity", activity, known.activities),
    ):
        if name in among:
            entry = among[name]
            raise CannotCreate(
                f"{kind} {name!r} is registered already, from {entry.file}:{entry.line}; "
                "choose another name"
            )


@contextmanager
def _importable(root: Path) -> Iterator[None]:
    added = str(root) not in sys.path
    if added:
        sys.path.insert(0, str(root))
    try:
        importlib.invalidate_caches()
        yield
    finally:
        if added and str(root) in sys.path:
            sys.path.remove(str(root))


def _refuse_shadowing(file: Path, root: Path) -> None:
    for folder in file.parents:
        if folder == root:
            return
        if folder.exists() and not folder.is_dir():
            raise CannotCreate(f"{folder} is not a folder")
        module = folder.with_suffix(".py")
        if module.exists():
            raise CannotCreate(
                f"{folder.name!r} is the module {module} already; a folder beside it would hide it"
            )


# --- what is written ---------------------------------------------------------------------------


def _packages(folder: Path, root: Path, domain: str) -> dict[Path, str]:
    """The `__init__.py` files that are missing, from the package down to the domain."""
    wanted = {}
    for part in reversed([folder, *folder.parents]):
        if part != root and part.is_relative_to(root):
            wanted[part / "__init__.py"] = '"""Workflows and activities of this project."""\n'
    for kind in ("workflows", "activities"):
        text = f'"""{kind.capitalize()} of domain {domain}."""\n'
        wanted[folder / kind / domain / "__init__.py"] = text
    return {file: text for file, text in wanted.items() if not file.exists()}


def _registered(file: Path, skeleton: str, module: str, name: str) -> str:
    """The text of the registering `file`, or of a new one, with `name` of `module` in it."""
    text = file.read_text(encoding="utf-8") if file.exists() else skeleton
    try:
        return register(text, module, name, re.search(r"^([A-Z]+)\b", skeleton, re.M)[1])  # type: ignore[index]
    except SyntaxError as error:
        raise CannotCreate(f"{file}:{error.lineno}: does not parse: {error.msg}") from None


def _write(changes: dict[Path, str]) -> None:
    before: dict[Path, bytes | None] = {}
    folders: list[Path] = []
    try:
        for file, text in changes.items():
            missing = [folder for folder in file.parents if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir()
                folders.append(folder)
            before[file] = file.read_bytes() if file.exists() else None
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        for file, old in before.items():
            if old is None:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(old)
        for folder in reversed(folders):
            folder.rmdir()
        raise CannotCreate(
            f"{error.filename}: {error.strerror}; what was written was taken back"
        ) from None


def _advice(names: texts.Names, test: Path, root: Path, settings: config.Settings) -> str:
    lines = [
        f"{names.workflow} and {names.activity} are written and registered. Try them:",
        f"    temporal-ops run {names.workflow} --input '\"World\"'",
        f"    pytest {test.relative_to(root)}",
    ]
    if names.package != "temporal" and names.package not in settings.modules:
        modules = ",".join((*settings.modules, names.package))
        lines.insert(
            1, f"    export TEMPORAL_MODULES={modules}  # where the worker and you run commands"
        )
    return "\n".join(lines)
