"""Groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from converge.changes import KNOWN_AFTER_APPLY, Change, FieldChange
from converge.names import UserName
from converge.resource import Around, Context, Item, Resource, State
from converge.shell import quote


@dataclass(frozen=True)
class GroupState(State):
    gid: int = -1


class Group(Resource):
    """A group is there, with this gid if one is given, or is not.

        Group("app", gid=4000)
        Group("metrics", system=True)
        Group("old", absent=True)

    Who is in it is said by the users (`groups`). Files that belonged to a gid which changes keep
    the old number. A group that is somebody's primary one cannot be removed.
    """

    key: ClassVar[str] = "group"

    group: UserName
    gid: int | None = Field(default=None, ge=0, le=4294967293)
    system: bool = False
    """When it is made: take a gid from the system's range."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            group: str,
            /,
            *,
            gid: int | None = None,
            system: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent and (self.gid is not None or self.system):
            raise ValueError("a group that is to be absent has no gid and no range")
        if self.absent and self.group == "root":
            raise ValueError("the group root is not removed")
        return self

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-group:{self.group}"})
        gid = set() if self.gid is None else {f"gid:{self.gid}"}
        return frozenset({self.id, f"group-made:{self.group}", *gid})

    def requires(self) -> frozenset[str]:
        # The group of the same name goes with its user.
        return frozenset({f"no-user:{self.group}"}) if self.absent else frozenset()

    def forbids(self) -> Mapping[str, str]:
        if self.absent:
            return {f"group-used:{self.group}": f"{self.group} is to be somebody's group"}
        return {} if self.gid is None else {f"gid:{self.gid}": f"both have the gid {self.gid}"}

    @classmethod
    def probe(cls, resources: Sequence[Group], context: Context) -> str:
        return r"""
{ if command -v getent >/dev/null; then getent group; else cat /etc/group; fi; } |
  while IFS=: read -r name x gid rest; do printf 'group %s\n' "$name:$gid"; done
echo done
"""

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[Group], context: Context) -> list[GroupState]:
        gids: dict[str, int] = {}
        lines = output.decode(errors="replace").split("\n")
        for line in lines:
            name, _, gid = line.removeprefix("group ").rpartition(":")
            if line.startswith("group ") and gid.isdecimal() and gid.isascii():
                gids.setdefault(name, int(gid))
        if "done" not in lines:
            return [GroupState("unknown", "the probe gave no answer") for _ in resources]
        return [
            GroupState("present", gid=gids[r.group]) if r.group in gids else GroupState("absent")
            for r in resources
        ]

    def diff(self, state: GroupState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if self.absent:
            if state.status == "present":
                gone = FieldChange(field="gid", before=str(state.gid), after=None)
                return Change(resource=self.id, action="remove", fields=(gone,))
            if not around.packages:
                return None
            why = f"not there now, {around.bringers} may bring it"
            return Change(resource=self.id, action="unknown", why=why)
        after = KNOWN_AFTER_APPLY if self.gid is None else str(self.gid)
        if state.status == "absent":
            why = f"unless {around.bringers} brings it" if around.packages else ""
            made = FieldChange(field="gid", before=None, after=after)
            return Change(resource=self.id, action="create", fields=(made,), why=why)
        if self.gid is None or self.gid == state.gid:
            return None
        moved = FieldChange(field="gid", before=str(state.gid), after=after)
        return Change(resource=self.id, action="update", fields=(moved,))

    @classmethod
    def emit(cls, items: Sequence[Item[Group]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            group = item.resource
            if group.absent:
                lines.append(f"group_remove {item.index} {quote(group.group)}")
            else:
                gid = "" if group.gid is None else str(group.gid)
                lines.append(
                    f"group_settle {item.index} {quote(group.group)} '{gid}'"
                    f" '{'-r' if group.system else ''}'"
                )
        return "\n".join(lines)

    library: ClassVar[str | tuple[str, ...]] = r"""
group_gid() {
  { if command -v getent >/dev/null; then getent group "$1"; else cat /etc/group; fi; } |
    while IFS=: read -r name x gid rest; do [ "$name" != "$1" ] || echo "$gid"; done
}
group_settle() { # index, name, gid, -r or nothing
  have=$(group_gid "$2")
  if [ -z "$have" ]; then
    if command -v groupadd >/dev/null; then
      set -- "$1" "$2" "$4" ${3:+-g "$3"}
      name=$2 at=$1 range=$3; shift 3
      groupadd $range "$@" -- "$name"
    elif command -v addgroup >/dev/null; then
      at=$1 name=$2
      addgroup ${3:+-g "$3"} ${4:+-S} "$2"
    else die "the host has neither groupadd nor addgroup"; fi
    changed "$at"
  elif [ -n "$3" ] && [ "$have" != "$3" ]; then
    command -v groupmod >/dev/null || die "the host has no groupmod to change a gid"
    groupmod -g "$3" -- "$2"; changed "$1"
  fi
}
group_remove() {
  [ -n "$(group_gid "$2")" ] || return 0
  if command -v groupdel >/dev/null; then groupdel -- "$2"
  else delgroup "$2"; fi
  changed "$1"
}
"""
