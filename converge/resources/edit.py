"""What lines and blocks in files have in common: they change part of a file and keep the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from converge.changes import Change, FieldChange
from converge.names import Path
from converge.resource import Around, Context, Item, Resource, State
from converge.resources.edit_sh import EMIT, PROBE
from converge.resources.file import checking, keeping
from converge.resources.file_sh import EMIT as FILES
from converge.resources.seen import looked, unified
from converge.resources.values import Command, Pattern, answers, below, decoded, place, tag
from converge.shell import quote, words


@dataclass(frozen=True)
class EditState(State):
    kind: str = "file"
    same: bool | None = None
    was: bytes | None = None
    new: bytes | None = None
    trouble: str = ""
    """Why it cannot be done to the file as it is."""


class Edit(Resource):
    """Fields and workings of both. `check` and `backup` are as for files."""

    library: ClassVar[str | tuple[str, ...]] = (FILES, EMIT)

    file: Path
    after: Pattern | None = None
    """Where something new goes: behind the last line that matches; without one, at the end."""
    before: Pattern | None = None
    """Or in front of the first line that matches."""
    create: bool = False
    """Make the file if it is not there."""
    sensitive: bool = False
    """Show nothing of this file."""
    check: Command | None = None
    backup: bool | Literal["beside"] = False
    absent: bool = False

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.after is not None and self.before is not None:
            raise ValueError("after and before exclude each other")
        for name in ("after", "before", "create"):
            if self.absent and getattr(self, name):
                raise ValueError(f"what is to be absent has no {name}")
        return self

    def call(self) -> Sequence[str]:
        """Shell function, and what it takes after the file."""
        raise NotImplementedError

    def provides(self) -> frozenset[str]:
        # Who needs the file waits for its lines too.
        return frozenset({self.id} if self.absent else {self.id, *place(self.file)})

    def requires(self) -> frozenset[str]:
        return frozenset({*below(self.file), f"file:{self.file}"})

    def forbids(self) -> Mapping[str, str]:
        return {
            f"file-whole:{self.file}": "it sets all that the file holds",
            f"no-path:{self.file}": "it removes the file",
        }

    @classmethod
    def probe(cls, resources: Sequence[Edit], context: Context) -> str:
        lines = [PROBE]
        for number, edit in enumerate(resources):
            show = "show" if context.want_content and not edit.sensitive else "hide"
            lines.append(f"edit_see {number} {show} {quote(edit.file)} {words(edit.call())}")
        return "\n".join(lines)

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[Edit], context: Context) -> list[EditState]:
        return [_state(words) for words in answers(output, len(resources))]

    def diff(self, state: EditState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if state.status == "absent":
            return self._no_file(around)
        if state.kind != "file":
            return self._blocked(f"a {state.kind} is there; remove it, or name its target")
        if state.trouble:
            return self._blocked(state.trouble)
        if state.same:
            return None
        diff = None
        if not self.sensitive and state.was is not None and state.new is not None:
            diff = unified(self.file, state.was, state.new)
        if self.absent:
            field = FieldChange(field=self.key, before="present", after=None)
            return Change(resource=self.id, action="remove", fields=(field,), diff=diff)
        field = FieldChange(field=self.key, before="differs or missing", after="as wanted")
        return Change(resource=self.id, action="update", fields=(field,), diff=diff)

    def _no_file(self, around: Around) -> Change | None:
        if self.absent and not around.packages:
            return None
        if around.packages or f"file:{self.file}" in around.provided:
            who = around.bringers or f"file:{self.file}"
            why = f"the file is not there yet, {who} may bring it"
            return Change(resource=self.id, action="unknown", why=why)
        if self.create:
            field = FieldChange(field="file", before=None, after=f"with the {self.key}")
            return Change(resource=self.id, action="create", fields=(field,))
        return self._blocked("the file is not there; add create to make it")

    def _blocked(self, why: str) -> Change:
        return Change(resource=self.id, action="blocked", why=why)

    @classmethod
    def emit(cls, items: Sequence[Item[Edit]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            edit = item.resource
            create = "gone" if edit.absent else "create" if edit.create else ""
            lines.append(
                f"edit_make {item.index} {quote(edit.file)} '{create}'"
                f" .converge-{tag(edit.id)} '{keeping(edit.backup)}'"
                f" {quote(checking(edit.check))} {words(edit.call())}"
            )
        return "\n".join(lines)


def _state(words: dict[str, list[str]]) -> EditState:
    if "hidden" in words:
        return EditState("unknown", "it may not be read")
    if "absent" in words:
        return EditState("absent")
    there = looked(words.get("stat", []))
    if there is None:
        return EditState("unknown", "the probe gave no answer")
    if there[0] != "file":
        return EditState("present", kind=there[0])
    trouble = ""
    if "binary" in words:
        trouble = "the file holds NUL bytes: it is no text"
    elif "torn" in words:
        trouble = "the file holds one of the block's two marker lines, or them in wrong order"
    elif "senseless" in words:
        trouble = "grep on the host does not understand the regular expression"
    elif "same" not in words and "differs" not in words:
        return EditState("unknown", "the probe gave no answer")
    return EditState(
        "present",
        same="same" in words,
        was=decoded(words["was"]) if "was" in words else None,
        new=decoded(words["new"]) if "new" in words else None,
        trouble=trouble,
    )
