"""Base of the types that keep small files of their own, whole, and put them into effect.

A type says which files it wants, what else the probe shall ask (`look`), what of that differs
(`drift`), what stands in the way (`trouble`), and how the files take effect (`settle`). Probe,
parse, diff and emit are the same for all. A change that was written and not put into effect
stays on record on the host until it was.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from converge.changes import Change, FieldChange
from converge.render import printable
from converge.resource import Around, Context, Item, Resource, Stake, State
from converge.resources.owned_sh import EMIT, LOOK
from converge.shell import encode, quote


@dataclass(frozen=True)
class Wanted:
    """A file as it shall be; `body` None: not there. It belongs to root."""

    path: str
    body: str | None
    mode: str = "0644"
    check: str = "owned_pass"
    """Shell function that is given the new file and the path before it goes live."""


@dataclass(frozen=True)
class Found:
    kind: str = "absent"
    mode: str = ""
    owner: str = ""
    content: bytes = b""


@dataclass(frozen=True)
class OwnedState(State):
    files: tuple[Found, ...] = ()
    live: Mapping[str, str] = field(default_factory=dict)
    """What `look` printed, by key."""
    tool: bool = True
    """Is the command there that the type needs?"""
    due: str = ""
    """The run that changed this and did not get to put it into effect."""

    def get(self, key: str) -> str:
        return self.live.get(key, "")


class Owned(Resource):
    """See the module. Subclasses define the fields and the hooks below."""

    library: ClassVar[str | tuple[str, ...]] = (EMIT,)
    look_library: ClassVar[str] = ""
    tool: ClassVar[str] = ""
    """Command without which nothing can be said or done, and the package that brings it."""
    package: ClassVar[str] = ""

    # -- hooks ----------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        return bool(getattr(self, "absent", False))

    def files(self) -> tuple[Wanted, ...]:
        return ()

    def look(self, number: int, context: Context) -> str:
        """Shell that prints lines `live NUMBER KEY VALUE` or `why NUMBER REASON`."""
        return ""

    def there(self, state: OwnedState) -> bool:
        return any(found.kind != "absent" for found in state.files)

    def trouble(self, state: OwnedState, around: Around) -> str:
        return ""

    def awaits(self, state: OwnedState, around: Around) -> str:
        """Why only the host can tell, once what comes before is done."""
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        return []

    def before(self, context: Context) -> str:
        """Shell that runs before the files change."""
        return ""

    def settle(self, context: Context) -> str:
        """Shell that runs after; `owned_late` says whether something is to take effect."""
        return ""

    # -- the four -------------------------------------------------------------------------------

    @property
    def marker(self) -> str:
        return f"own.{self.key}.{hashlib.sha256(self.name.encode()).hexdigest()[:20]}"

    def provides(self) -> frozenset[str]:
        paths = {f"path:{wanted.path}" for wanted in self.files() if wanted.body is not None}
        return frozenset({self.id, *paths})

    def requires(self) -> frozenset[str]:
        return frozenset({f"package:{self.package}"}) if self.package else frozenset()

    def forbids(self) -> Mapping[str, str]:
        return {f"file:{wanted.path}": "both write that file" for wanted in self.files()}

    def stake(self) -> Stake | None:
        # What is removed can cut us off as well: not only what is provided.
        if not self.cuts_off:
            return None
        return Stake(paths=tuple(wanted.path for wanted in self.files()))

    @classmethod
    def probe(cls, resources: Sequence[Owned], context: Context) -> str:
        lines = [LOOK, cls.look_library]
        if cls.tool:
            lines.append(f"command -v {cls.tool} >/dev/null || echo 'tool missing'")
        for number, resource in enumerate(resources):
            for place, wanted in enumerate(resource.files()):
                lines.append(f"owned_see {number} {place} {quote(wanted.path)}")
            lines.append(f"owned_due {number} {resource.marker}")
            lines.append(resource.look(number, context))
        return "\n".join([*filter(None, lines), "echo done"])

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[Owned], context: Context) -> list[OwnedState]:
        lines = output.decode(errors="replace").split("\n")
        if "done" not in lines:
            return [OwnedState("unknown", "the probe gave no answer") for _ in resources]
        files: list[dict[int, Found]] = [{} for _ in resources]
        live: list[dict[str, str]] = [{} for _ in resources]
        due, why = [""] * len(resources), [""] * len(resources)
        for line in lines:
            kind, _, rest = line.partition(" ")
            word, _, rest = rest.partition(" ")
            number = int(word) if word.isdecimal() and word.isascii() else -1
            if not 0 <= number < len(resources):
                continue
            if kind == "file":
                place, _, rest = rest.partition(" ")
                if place.isdecimal() and place.isascii() and (found := _found(rest)) is not None:
                    files[number][int(place)] = found
            elif kind == "live":
                key, _, value = rest.partition(" ")
                live[number][key] = value.strip()
            elif kind == "due":
                due[number] = rest or "an earlier run"
            elif kind == "why":
                why[number] = rest or "the probe could not tell"
        states: list[OwnedState] = []
        for number, resource in enumerate(resources):
            wanted = resource.files()
            if why[number] or len(files[number]) < len(wanted):
                reason = why[number] or "the probe gave no answer"
                states.append(OwnedState("unknown", reason))
                continue
            state = OwnedState(
                "present",
                files=tuple(files[number].get(place, Found()) for place in range(len(wanted))),
                live=live[number],
                tool="tool missing" not in lines,
                due=due[number],
            )
            if not resource.there(state):
                state = OwnedState(
                    "absent", files=state.files, live=state.live, tool=state.tool, due=state.due
                )
            states.append(state)
        return states

    def diff(self, state: OwnedState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if not state.tool and not (self.gone and state.status == "absent"):
            brought = f"{self.tool} is not there yet, {around.bringers} may bring it"
            lacking = f"the host has no {self.tool}: declare package {self.package} before this"
            if around.packages:
                return Change(resource=self.id, action="unknown", why=brought)
            return Change(resource=self.id, action="blocked", why=lacking)
        blocked = _in_the_way(self.files(), state.files) or self.trouble(state, around)
        if blocked:
            return Change(resource=self.id, action="blocked", why=blocked)
        if late := self.awaits(state, around):
            return Change(resource=self.id, action="unknown", why=late)
        fields, shown = _differences(self.files(), state.files)
        fields += self.drift(state, around)
        if state.due and not fields:
            fields.append(
                FieldChange(field="in effect", before=None, after=f"left over from run {state.due}")
            )
        if not fields and not shown:
            return None
        action = "remove" if self.gone else "create" if state.status == "absent" else "update"
        return Change(resource=self.id, action=action, fields=tuple(fields), diff=shown or None)

    @classmethod
    def emit(cls, items: Sequence[Item[Owned]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            resource = item.resource
            lines += [f"owned_begin {item.index} {resource.marker}", resource.before(context)]
            for wanted in resource.files():
                if wanted.body is None:
                    lines.append(f"owned_drop {quote(wanted.path)}")
                    continue
                body = wanted.body.encode()
                lines.append(
                    f"owned_put {quote(wanted.path)} {wanted.mode}"
                    f" {hashlib.sha256(body).hexdigest()} {wanted.check} <<'END'\n"
                    f"{encode(body)}\nEND"
                )
            lines += [resource.settle(context), "owned_end"]
        return "\n".join(filter(None, lines))


def _found(rest: str) -> Found | None:
    parts = rest.split(" ")
    if parts[0] in ("absent", "link", "other", "hidden"):
        return Found(parts[0])
    if parts[0] != "file" or len(parts) != 4 or not (parts[1].isdecimal() and parts[1].isascii()):
        return None
    try:
        content = base64.b64decode(parts[3], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Found("file", parts[1].zfill(4), parts[2], content)


def _in_the_way(wanted: Sequence[Wanted], found: Sequence[Found]) -> str:
    for mine, theirs in zip(wanted, found, strict=True):
        if theirs.kind == "hidden":
            return f"{mine.path} may not be read by this user"
        if mine.body is not None and theirs.kind in ("link", "other"):
            what = "a symbolic link" if theirs.kind == "link" else "something that is no file"
            return f"{mine.path} is {what}"
        if mine.body is None and theirs.kind == "other":
            return f"{mine.path} is no file, and only files are removed"
    return ""


def _differences(wanted: Sequence[Wanted], found: Sequence[Found]) -> tuple[list[FieldChange], str]:
    fields: list[FieldChange] = []
    shown = ""
    for mine, theirs in zip(wanted, found, strict=True):
        if mine.body is None:
            if theirs.kind != "absent":
                fields.append(FieldChange(field=mine.path, before="present", after=None))
            continue
        body = mine.body.encode()
        if theirs.kind == "absent" or theirs.content != body:
            shown += unified(mine.path, theirs.content, body)
        if theirs.kind == "absent":
            fields.append(FieldChange(field="file", before=None, after=mine.path))
        elif (theirs.mode, theirs.owner) != (mine.mode, "0:0"):
            before = f"{theirs.mode} {theirs.owner}"
            fields.append(
                FieldChange(
                    field=f"mode and owner of {mine.path}", before=before, after=f"{mine.mode} 0:0"
                )
            )
    return fields, shown


def unified(path: str, before: bytes, after: bytes) -> str:
    shown = printable(path)
    lines = difflib.unified_diff(
        before.decode(errors="replace").splitlines(True),
        after.decode(errors="replace").splitlines(True),
        f"{shown} (found)",
        f"{shown} (wanted)",
    )
    return "".join(
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines
    )


def differs(name: str, before: str, after: str) -> list[FieldChange]:
    """At most one change: `before` as found ("" for nothing there) is not `after`."""
    if before == after:
        return []
    return [FieldChange(field=name, before=before or None, after=after)]
