"""Directories: mode and owner, of all below if asked for; purged of what is not declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from converge.changes import Change, FieldChange
from converge.names import Mode, Path, UserName
from converge.render import printable
from converge.resource import Around, Context, Item, Resource, State
from converge.resources import owners
from converge.resources.directory_sh import EMIT, PROBE
from converge.resources.file_sh import EMIT as FILES
from converge.resources.seen import looked
from converge.resources.values import answers, below, decoded, place, rivals
from converge.shell import quote

VITAL = frozenset(
    {
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/media",
        "/mnt",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/srv",
        "/sys",
        "/tmp",
        "/usr",
        "/var",
        "/etc/apt",
        "/etc/systemd",
        "/etc/ssh",
        "/usr/bin",
        "/usr/lib",
        "/usr/local",
        "/usr/sbin",
        "/usr/share",
        "/var/cache",
        "/var/lib",
        "/var/lib/apt",
        "/var/lib/converge",
        "/var/lib/dpkg",
        "/var/lib/systemd",
        "/var/log",
        "/var/spool",
    }
)
"""Never removed with what is in them, purged, or given away as a whole."""
NAMED = 8
"""How many names a plan shows of what is to go or to change."""


@dataclass(frozen=True)
class DirectoryState(State):
    kind: str = "directory"
    mode: str = ""
    owner: str = ""
    group: str = ""
    empty: bool = True
    off: tuple[str, ...] = ()
    """Some of what lies below with another owner, group or mode, relative."""
    strange: tuple[str, ...] = ()
    """Some of what is to be purged, relative."""
    accounts: frozenset[str] = frozenset()


class Directory(Resource):
    """A directory is there with this mode and owner, or is not there.

        Directory("/srv/app", owner="app", mode="0750")
        Directory("/srv/app", owner="app", recursive=True, file_mode="0640")
        Directory("/etc/nginx/conf.d", purge=True)      # holds what is declared, nothing else
        Directory("/srv/old", absent=True, recursive=True)

    A new one gets mode 0755 unless given. `recursive` gives owner and group to all that lies
    below, `mode` to the directories and `file_mode` to the files; links are not followed, other
    file systems not entered. `purge` removes what no other resource declares, however deep;
    below a declared archive, checkout or other directory nothing is touched. With `absent`, a
    directory that holds something goes only with `recursive`.
    """

    key: ClassVar[str] = "directory"
    library: ClassVar[str | tuple[str, ...]] = (FILES, EMIT)

    directory: Path
    mode: Mode | None = None
    owner: UserName | None = None
    group: UserName | None = None
    recursive: bool = False
    file_mode: Mode | None = None
    purge: bool = False
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            directory: str,
            /,
            *,
            mode: str | None = None,
            owner: str | None = None,
            group: str | None = None,
            recursive: bool = False,
            file_mode: str | None = None,
            purge: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [n for n in ("mode", "owner", "group", "file_mode", "purge") if getattr(self, n)]
        if self.absent and given:
            raise ValueError(f"a directory that is to be absent has no {given[0]}")
        if self.file_mode and not self.recursive:
            raise ValueError("file_mode goes with recursive")
        if self.recursive and not self.absent and not given:
            raise ValueError("recursive goes with mode, owner, group, file_mode or absent")
        if (self.recursive or self.purge or self.absent) and self.directory in VITAL:
            raise ValueError(f"{self.directory} is never removed, purged or changed as a whole")
        return self

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-path:{self.directory}"})
        return frozenset({self.id, *place(self.directory)})

    def requires(self) -> frozenset[str]:
        return frozenset(below(self.directory) | owners.tokens(self))

    def forbids(self) -> Mapping[str, str]:
        refused = {**rivals(self.key, self.directory), **owners.refused(self)}
        del refused[f"git:{self.directory}"], refused[f"archive:{self.directory}"]
        if self.absent:
            refused[f"path:{self.directory}"] = f"it is at {self.directory}"
            refused[f"file-below:{self.directory}"] = f"it lies below {self.directory}"
        return refused

    @classmethod
    def probe(cls, resources: Sequence[Directory], context: Context) -> str:
        lines = [PROBE, *owners.ask(resources)]
        for number, resource in enumerate(resources):
            path = quote(resource.directory)
            lines.append(f"directory_see {number} {path}")
            if resource.recursive and not resource.absent:
                lines.append(
                    f"directory_off {number} {path} {quote(resource.owner or '')}"
                    f" {quote(resource.group or '')} '{resource.mode or ''}'"
                    f" '{resource.file_mode or ''}'"
                )
            if resource.purge:
                rest = _undeclared(resource.directory, context.provided)
                lines.append(f"directory_names strange {number} {path} {rest}")
        return "\n".join(lines)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[Directory], context: Context
    ) -> list[DirectoryState]:
        accounts = owners.known(output)
        found = answers(output, len(resources))
        return [_state(r, w, accounts) for r, w in zip(resources, found, strict=True)]

    def diff(self, state: DirectoryState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if state.status == "present" and state.kind != "directory":
            return self._blocked(f"a {state.kind} is there")
        if self.absent:
            return self._remove(state, around)
        if why := owners.lost(self, state.accounts, around):
            return self._blocked(why)
        wanted = (("mode", self.mode), ("owner", self.owner), ("group", self.group))
        if state.status == "absent":
            first = {"mode": self.mode or "0755", "owner": self.owner, "group": self.group}
            made = [FieldChange(field=k, before=None, after=v) for k, v in first.items() if v]
            why = f"unless {around.bringers} brings it" if around.packages else ""
            return Change(resource=self.id, action="create", fields=tuple(made), why=why)
        fields = [
            FieldChange(field=name, before=getattr(state, name), after=value)
            for name, value in wanted
            if value is not None and value != getattr(state, name)
        ]
        if state.off:
            fields.append(FieldChange(field="below", before=_some(state.off), after="as wanted"))
        if state.strange:
            fields.append(FieldChange(field="purged", before=_some(state.strange), after=None))
        if not fields:
            return None
        return Change(resource=self.id, action="update", fields=tuple(fields))

    def _remove(self, state: DirectoryState, around: Around) -> Change | None:
        if state.status == "absent":
            if not around.packages:
                return None
            why = f"not there now, {around.bringers} may bring it"
            return Change(resource=self.id, action="unknown", why=why)
        if not state.empty and not self.recursive:
            return self._blocked("it is not empty: add recursive to remove what is in it as well")
        gone = FieldChange(
            field="directory", before="empty" if state.empty else "filled", after=None
        )
        return Change(resource=self.id, action="remove", fields=(gone,))

    def _blocked(self, why: str) -> Change:
        return Change(resource=self.id, action="blocked", why=why)

    @classmethod
    def emit(cls, items: Sequence[Item[Directory]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            wanted = item.resource
            path = quote(wanted.directory)
            if wanted.absent:
                how = "all" if wanted.recursive else "empty"
                lines.append(f"directory_remove {item.index} {path} {how}")
                continue
            owner, group = quote(wanted.owner or ""), quote(wanted.group or "")
            mode = (wanted.mode or "").lstrip("0") or ("0" if wanted.mode else "")
            lines.append(f"directory_make {item.index} {path} '{mode}' {owner} {group}")
            if wanted.recursive:
                lines.append(
                    f"directory_below {item.index} {path} {owner} {group} '{wanted.mode or ''}'"
                    f" '{wanted.file_mode or ''}'"
                )
            if wanted.purge:
                rest = _undeclared(wanted.directory, context.provided)
                lines.append(f"directory_purge {item.index} {path} {rest}")
        return "\n".join(lines)


def _undeclared(path: str, provided: frozenset[str]) -> str:
    """Arguments of find(1) that choose what nobody declares; it does not go below that."""
    kept = sorted(
        token.removeprefix("path:") for token in provided if token.startswith(f"path:{path}/")
    )
    passed = sorted(
        {parent for inner in kept for parent in _between(path, inner) if parent not in kept}
    )
    words: list[str] = []
    for inner in kept:
        words += ["-path", quote(_literal(inner)), "-prune", "-o"]
    for parent in passed:
        # A link there leads elsewhere: what is declared below it is not in this tree.
        words += ["-type", "d", "-path", quote(_literal(parent)), "-o"]
    return " ".join([*words, "-prune"])


def _between(top: str, inner: str) -> list[str]:
    found: list[str] = []
    parent = inner.rpartition("/")[0]
    while parent != top:
        found.append(parent)
        parent = parent.rpartition("/")[0]
    return found


def _literal(path: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in path)


def _state(
    resource: Directory, words: dict[str, list[str]], accounts: frozenset[str]
) -> DirectoryState:
    if "hidden" in words:
        return DirectoryState("unknown", "its directory may not be read", accounts=accounts)
    if "absent" in words:
        return DirectoryState("absent", accounts=accounts)
    there = looked(words.get("stat", []))
    if there is None:
        return DirectoryState("unknown", "the probe gave no answer", accounts=accounts)
    if there[0] == "directory" and "unreadable" in words:
        return DirectoryState("unknown", "what is in it may not be read", accounts=accounts)
    return DirectoryState(
        "present",
        kind=there[0],
        mode=there[1],
        owner=there[2],
        group=there[3],
        empty="filled" not in words,
        off=_names(resource, words, "off1", "off2", "off3", "off4"),
        strange=_names(resource, words, "strange"),
        accounts=accounts,
    )


def _names(resource: Directory, words: dict[str, list[str]], *which: str) -> tuple[str, ...]:
    top = f"{resource.directory}/"
    raw = b"\0".join(decoded(words.get(word, [])) or b"" for word in which)
    names = raw.decode(errors="replace").split("\0")
    return tuple(sorted({name.removeprefix(top) for name in names if name.startswith(top)}))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
