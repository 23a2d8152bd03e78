"""Specs of servers that go: what is done before, which one it is, where it is forgotten.

server: {provider: lab, name: web1}
drain:
  - run: systemctl stop nginx
  - run: /usr/local/sbin/take-out-of-rotation web1
    host: admin@balancer
forget: hosts.d
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from temporal.shared.specs.automation.creating import ServerName
from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.automation.places import CloudPlace, Found, LabPlace, Place, kind
from temporal.shared.specs.reading import Reading


class Which(Spec):
    """Which server of a place.

    Attributes:
        name: as it was created.
        id: the provider's, where a name does not say which one.
        unmarked: also one that does not bear our mark, by its id.
    """

    name: ServerName
    id: str | None = None
    unmarked: bool = False

    @model_validator(mode="after")
    def _an_id_for_a_stranger(self) -> Which:
        if self.unmarked and not self.id:
            raise ValueError("unmarked needs the id: a name is not enough to destroy a stranger")
        return self


class LabOne(Which, LabPlace):
    """A server of a lab."""


class CloudOne(Which, CloudPlace):
    """A server of a cloud."""


One = Annotated[
    Annotated[LabOne, Tag("lab")] | Annotated[CloudOne, Tag("cloud")], Discriminator(kind)
]


class Hook(Spec):
    """A command that runs before a server is destroyed.

    Attributes:
        run: what a shell is given; as root, or as the login says.
        host: where; default: the server itself. `local` is the worker's machine.
        timeout: seconds.
    """

    run: str = Field(min_length=1)
    host: HostSpec | None = None
    timeout: float = Field(300.0, gt=0, le=86400)


class DecommissionSpec(Spec):
    """The input of DecommissionServer.

    Attributes:
        server: which one.
        drain: what is done before, in this order. One that fails ends the run.
        force: destroy it even if a hook fails.
        forget: a folder of inventory files, as `register_in` of ProvisionServer has it.
    """

    server: One
    drain: tuple[Hook, ...] = ()
    force: bool = False
    forget: str | None = None

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this: the folder's path is from there."""
        if isinstance(value, Mapping) and isinstance(value.get("forget"), str):
            value = {**value, "forget": str((folder / value["forget"]).absolute())}
        return Reading(value)


class Discard(Spec):
    """Input of the activity discard_server: what bears `token`, or has `id`.

    Attributes:
        unmarked: also if it does not bear our mark.
        settle: seconds for which it is looked for, where its making was cut off.
    """

    place: Place
    token: str = ""
    id: str = ""
    unmarked: bool = False
    settle: float = 0


class Located(Spec):
    """Result of the activity locate_server: nothing if it is gone."""

    found: Found | None = None
    host: HostSpec | None = None


class Drained(Spec):
    """What came of one hook."""

    run: str
    host: str
    failure: str = ""


class Decommissioned(Spec):
    """Result of DecommissionServer."""

    name: str
    id: str | None
    destroyed: bool
    drained: tuple[Drained, ...] = ()
    forgotten: str | None = None

    @property
    def summary(self) -> str:
        """In one line."""
        gone = f"{self.name} ({self.id}) is destroyed" if self.destroyed else None
        said = [gone or f"{self.name} is gone already"]
        failed = sum(bool(each.failure) for each in self.drained)
        if self.drained:
            ran = "1 hook ran" if len(self.drained) == 1 else f"{len(self.drained)} hooks ran"
            said.append(ran + (f", {failed} failed" if failed else ""))
        if self.forgotten:
            said.append(f"{self.forgotten} is removed")
        return "; ".join(said)

    def render(self) -> str:
        """For people."""
        lines = [f"  ! {each.host}: {each.failure}" for each in self.drained if each.failure]
        return "\n".join([self.summary, *lines])
