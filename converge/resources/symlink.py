"""Symbolic links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import AfterValidator, model_validator

from converge.changes import Change, FieldChange
from converge.names import Path, UserName, text
from converge.resource import Around, Context, Item, Resource, State
from converge.resources import owners
from converge.resources.file_sh import EMIT as FILES
from converge.resources.seen import looked
from converge.resources.values import answers, below, decoded, place, rivals, tag
from converge.shell import quote


def _target(value: str) -> str:
    text(value)
    if not value or len(value.encode()) > 4095:
        raise ValueError("a link's target has 1 to 4095 bytes")
    return value


@dataclass(frozen=True)
class SymlinkState(State):
    kind: str = "symbolic link"
    target: str | None = None
    owner: str = ""
    group: str = ""
    accounts: frozenset[str] = frozenset()


class Symlink(Resource):
    """A symbolic link is there with this target, or is not there.

        Symlink("/etc/nginx/sites-enabled/app", target="../sites-available/app")
        Symlink("/srv/app/current", target="/srv/app/releases/7")
        Symlink("/etc/nginx/sites-enabled/default", absent=True)

    The target is taken as written and need not be there. A link with another target is replaced
    in one step. A file in its place is replaced only with `force`, a directory never.
    """

    key: ClassVar[str] = "symlink"

    symlink: Path
    target: Annotated[str, AfterValidator(_target)] | None = None
    owner: UserName | None = None
    """Of the link itself, not of its target."""
    group: UserName | None = None
    force: bool = False
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            symlink: str,
            /,
            *,
            target: str | None = None,
            owner: str | None = None,
            group: str | None = None,
            force: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [n for n in ("target", "owner", "group", "force") if getattr(self, n)]
        if self.absent and given:
            raise ValueError(f"a link that is to be absent has no {given[0]}")
        if not self.absent and self.target is None:
            raise ValueError("say where the link leads: target, or absent")
        return self

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-path:{self.symlink}"})
        return frozenset({self.id, *place(self.symlink)})

    def requires(self) -> frozenset[str]:
        return frozenset(below(self.symlink) | owners.tokens(self))

    def follows(self) -> frozenset[str]:
        """What it leads to, if that is declared: nobody shall find the link dangling."""
        return frozenset({f"path:{self.target}"})

    def forbids(self) -> Mapping[str, str]:
        return {**rivals(self.key, self.symlink), **owners.refused(self)}

    @classmethod
    def probe(cls, resources: Sequence[Symlink], context: Context) -> str:
        lines = [_PROBE, *owners.ask(resources)]
        lines += [f"symlink_see {n} {quote(r.symlink)}" for n, r in enumerate(resources)]
        return "\n".join(lines)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[Symlink], context: Context
    ) -> list[SymlinkState]:
        accounts = owners.known(output)
        return [_state(words, accounts) for words in answers(output, len(resources))]

    def diff(self, state: SymlinkState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        link = state.kind == "symbolic link"
        if state.status == "present" and not link and not (self.force and state.kind == "file"):
            hint = "; add force to replace it" if state.kind == "file" and not self.absent else ""
            return Change(resource=self.id, action="blocked", why=f"a {state.kind} is there{hint}")
        if self.absent:
            if state.status == "present":
                gone = FieldChange(field="target", before=state.target, after=None)
                return Change(resource=self.id, action="remove", fields=(gone,))
            if not around.packages:
                return None
            why = f"not there now, {around.bringers} may bring it"
            return Change(resource=self.id, action="unknown", why=why)
        if why := owners.lost(self, state.accounts, around):
            return Change(resource=self.id, action="blocked", why=why)
        before = state.target if link else state.kind
        wanted = (
            ("target", before, self.target),
            ("owner", state.owner, self.owner),
            ("group", state.group, self.group),
        )
        if state.status == "absent":
            made = tuple(FieldChange(field=n, before=None, after=w) for n, _, w in wanted if w)
            why = f"unless {around.bringers} brings it" if around.packages else ""
            return Change(resource=self.id, action="create", fields=made, why=why)
        fields = tuple(
            FieldChange(field=name, before=found, after=value)
            for name, found, value in wanted
            if value is not None and value != found
        )
        return Change(resource=self.id, action="update", fields=fields) if fields else None

    @classmethod
    def emit(cls, items: Sequence[Item[Symlink]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            link = item.resource
            path = quote(link.symlink)
            if link.absent or link.target is None:
                lines.append(f"symlink_remove {item.index} {path}")
                continue
            lines.append(
                f"symlink_make {item.index} {path} {quote(link.target)} {quote(link.owner or '')}"
                f" {quote(link.group or '')} .converge-{tag(link.symlink)}"
                f" {'force' if link.force else ''}".rstrip()
            )
        return "\n".join(lines)

    library: ClassVar[str | tuple[str, ...]] = (
        FILES,
        r"""
symlink_make() { # index, path, target, owner, group, temporary name, force
  [ -L "$2" ] || [ ! -d "$2" ] || die "$2 is a directory"
  [ -L "$2" ] || [ ! -e "$2" ] || { [ "${7-}" = force ] && [ -f "$2" ]; } ||
    die "$2 is there and no link; add force to replace a file"
  dir=${2%/*}; file_parents "${dir:-/}"
  # A dot at the end keeps the newlines that the target may end with.
  if [ ! -L "$2" ] || [ "$(readlink -n -- "$2"; echo .)" != "$3." ]; then
    new=$dir/$6
    rm -f -- "$new"
    ln -s -- "$3" "$new"
    file_owned "$new" "$4" "$5" || { rm -f -- "$new"; die "cannot set the owner of $2"; }
    # Else mv would put it into the directory that the old link leads to.
    mv -fT -- "$new" "$2" || { rm -f -- "$new"; die "cannot put the link at $2"; }
    changed "$1"; return 0
  fi
  was=$(stat -c '%U %G' -- "$2")
  file_owned "$2" "$4" "$5"
  [ "$was" = "$(stat -c '%U %G' -- "$2")" ] || changed "$1"
}
symlink_remove() {
  [ -e "$2" ] || [ -L "$2" ] || return 0
  [ -L "$2" ] || die "$2 is no symbolic link"
  rm -f -- "$2"
  changed "$1"
}
""",
    )


_PROBE = r"""
symlink_see() { # number, path
  if [ ! -e "$2" ] && [ ! -L "$2" ]; then
    d=${2%/*}
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
    if [ -x "${d:-/}" ]; then echo "absent $1"; else echo "hidden $1"; fi
    return 0
  fi
  stat -c "stat $1 %f %U %G" -- "$2"
  [ ! -L "$2" ] || { printf 'target %s ' "$1"; readlink -n -- "$2" | base64 | tr -d '\n'; echo; }
}
"""


def _state(words: dict[str, list[str]], accounts: frozenset[str]) -> SymlinkState:
    if "hidden" in words:
        return SymlinkState("unknown", "its directory may not be read", accounts=accounts)
    if "absent" in words:
        return SymlinkState("absent", accounts=accounts)
    there = looked(words.get("stat", []))
    if there is None:
        return SymlinkState("unknown", "the probe gave no answer", accounts=accounts)
    target = decoded(words.get("target", [])) if "target" in words else None
    return SymlinkState(
        "present",
        kind=there[0],
        target=None if target is None else target.decode(errors="replace"),
        owner=there[2],
        group=there[3],
        accounts=accounts,
    )
