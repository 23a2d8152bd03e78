"""What a file of schedules declares, each input read and checked as its workflow takes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporal import registry
from temporal.client import check_input
from temporal.registry import Registry
from temporal.shared.errors import SpecError, UnknownName
from temporal.shared.specs import reading
from temporal.shared.specs.reading import Loc
from temporal.shared.specs.schedules import Entry, Schedules


@dataclass(frozen=True)
class Declared:
    """One schedule that a file declares.

    Attributes:
        workflow: what it starts, as the registry knows it.
        values: the workflow's arguments.
    """

    name: str
    entry: Entry
    workflow: registry.Entry
    values: list[Any]


@dataclass(frozen=True)
class File:
    """All of a file."""

    owner: str
    schedules: tuple[Declared, ...]


def read(path: Path, known: Registry) -> File:
    """The schedules that `path` declares.

    Raises:
        SpecError: it does not parse or does not fit, a workflow is not known, or an input is not
            what its workflow takes: every finding, each with file and line.
    """
    text = reading.read_text(path)
    found = reading.parse(text, Schedules, str(path), folder=path.parent)
    declared: list[Declared] = []
    problems: list[str] = []
    for name, entry in found.schedules.items():
        try:
            declared.append(_declared(path, text, name, entry, known))
        except SpecError as error:
            problems.append(str(error))
    if problems:
        raise SpecError("\n".join(problems))
    return File(found.owner, tuple(declared))


def _declared(path: Path, text: str, name: str, entry: Entry, known: Registry) -> Declared:
    at: Loc = ("schedules", name)
    try:
        workflow = known.workflow(entry.workflow)
    except UnknownName as error:
        raise _at(path, text, (*at, "workflow"), error) from None
    types = workflow.arg_types
    if entry.file is not None:
        beside = path.parent / entry.file
        try:
            body = reading.read_text(beside)
        except SpecError as error:
            raise _at(path, text, (*at, "file"), error) from None
        value = _value(body, str(beside), types, beside.parent, ())
    elif entry.input is not None:
        value = _value(text, str(path), types, path.parent, (*at, "input"))
    else:
        try:
            return Declared(name, entry, workflow, check_input(workflow, []))
        except SpecError as error:
            raise _at(path, text, at, f"{error}. Give it as input or file") from None
    if types == []:
        raise _at(path, text, at, f"workflow {workflow.name} takes no input")
    return Declared(name, entry, workflow, [value])


def _value(text: str, name: str, types: list[Any] | None, folder: Path, within: Loc) -> Any:
    kind: Any = types[0] if types else Any
    return reading.parse(text, kind, name, folder=folder, within=within)


def _at(path: Path, text: str, loc: Loc, problem: object) -> SpecError:
    return SpecError(f"{reading.place(text, str(path), loc)}: {problem}")
