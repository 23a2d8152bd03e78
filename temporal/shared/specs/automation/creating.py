"""Specs of servers that are made before they are brought to their declared state.

create:
  provider: ec2
  region: eu-central-1
  credentials: {key: env://AWS_ACCESS_KEY_ID, secret: env://AWS_SECRET_ACCESS_KEY}
  name: web1
  size: t3.small
  image: ami-0123456789abcdef0
  key_pair: ops
  login: {user: admin, sudo: true, accept_new_host_key: true}
register_in:
  inventory: hosts.d
  groups: [web]
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.automation.places import CloudPlace, LabPlace, kind

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def named(value: str) -> str:
    """`value`, if a server can be called so. Raises ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError("must be 1 to 63 of a-z, 0-9, dots and dashes, as a host name is")
    return value


ServerName = Annotated[str, AfterValidator(named)]


class Making(Spec):
    """What making a server has everywhere.

    Attributes:
        name: what it is called, by the provider, in reports and in the inventory.
        if_there: what to do if a server of ours with this name is there: `fail`, or `use` it. One
            that was used is never destroyed by this run.
        wait: seconds for its address to come, and again for it to let us in by ssh.
        keep_on_failure: leave it if the run fails or is cancelled, to be looked at.
    """

    name: ServerName
    if_there: Literal["fail", "use"] = "fail"
    wait: float = Field(600.0, gt=0, le=7200)
    keep_on_failure: bool = False


class LabServer(Making, LabPlace):
    """A lab server to be made.

    Attributes:
        suite: Debian's name of a release: bookworm, trixie.
        disk_mib: how large its disk is; 0: as large as there is room for.
    """

    suite: str = "bookworm"
    disk_mib: int = Field(0, ge=0, le=2**20)


class CloudServer(Making, CloudPlace):
    """A server to be made by a cloud.

    Attributes:
        size, image, location: id or name, as the driver lists them.
        key_pair: name of a key pair that the cloud has, where the driver takes one.
        user_data: for cloud-init, where the driver takes it. It is no secret there: do not put any in.
        tags: besides ours, where the driver takes tags.
        address: which of its addresses to go to.
        options: further arguments of the driver's create_node; a mapping with `id` stands for the
            object that a driver wants: {ex_subnet: {id: subnet-1}}.
    """

    size: str
    image: str
    location: str | None = None
    key_pair: str | None = None
    user_data: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    address: Literal["public", "private"] = "public"
    options: dict[str, Any] = Field(default_factory=dict)


Create = Annotated[
    Annotated[LabServer, Tag("lab")] | Annotated[CloudServer, Tag("cloud")], Discriminator(kind)
]


class Register(Spec):
    """Where a server is written down when it is as declared.

    Attributes:
        inventory: a folder on the worker's machine, relative to the spec file: each server gets a
            file of its own there. Files of other people may lie there too.
        groups: which groups it is in.
    """

    inventory: str
    groups: tuple[str, ...] = ()


class CreateServer(Spec):
    """Input of the activity create_server.

    Attributes:
        token: the same for every attempt, and for no other server. Provider and server bear it.
    """

    order: Create
    token: str


class Created(Spec):
    """A server as its provider made it.

    Attributes:
        id: the provider's.
        token: whose it is.
        fresh: it was made for this run.
        host: how to go there.
    """

    provider: str
    id: str
    name: str
    token: str
    fresh: bool
    host: HostSpec

    @property
    def summary(self) -> str:
        """In a few words."""
        return f"{self.name} ({self.provider} {self.id})"


class AwaitLogin(Spec):
    """Input of the activity wait_for_login: the host, and how long it may take, in seconds."""

    host: HostSpec
    within: float


class RegisterHost(Spec):
    """Input of the activities register_host and, without host, forget_host."""

    inventory: str
    name: ServerName
    groups: tuple[str, ...] = ()
    host: HostSpec | None = None
