"""Where servers are made: a lab on the worker's machine, or a cloud through apache-libcloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from temporal.shared.secrets import SecretRef
from temporal.shared.specs.automation.hosts import HostSpec, Spec

Scalar = str | int | float | bool
LAB = "lab"


class Login(Spec):
    """As whom to go to a server, and which host keys to believe; fields as in HostSpec.

    The address is what the provider says. The key of a server that was just made stands in no
    known_hosts file: either `accept_new_host_key` takes the one it shows first, or `known_hosts`
    names a file that knows it already, by the name of an authority that signs host keys
    (`@cert-authority`) or because `user_data` brought the key there.
    """

    user: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    key: str | None = None
    certificate: str | None = None
    known_hosts: str | None = None
    jump: str | None = None
    concurrency: int = Field(8, ge=1, le=64)
    accept_new_host_key: bool = False
    sudo: bool = False
    sudo_password: SecretRef | None = None

    def host(self, address: str, alias: str) -> HostSpec:
        """The host at `address`, called `alias`."""
        return HostSpec(address=address, alias=alias, **self.model_dump())

    @field_validator("user", "jump")
    @classmethod
    def _no_option(cls, value: str | None) -> str | None:
        if value is not None and (not value or value.startswith("-")):
            raise ValueError("must not be empty or begin with a dash")
        return value


class LabPlace(Spec):
    """A lab on the worker's machine.

    Attributes:
        lab_name: which one, if there are several.
    """

    provider: Literal["lab"] = "lab"
    lab_name: str = "default"

    @property
    def place(self) -> LabPlace:
        """This, without what derives from it."""
        return LabPlace(lab_name=self.lab_name)

    @field_validator("lab_name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value or value.startswith("-"):
            raise ValueError("must not be empty or begin with a dash")
        return value


class CloudPlace(Spec):
    """An account with a cloud.

    Attributes:
        provider: libcloud's name of a compute driver: ec2, gce, openstack, digitalocean, ...
        region: as the driver knows it.
        credentials: secret references, by the name of the driver's argument: key and secret for
            most; for openstack key is the user and secret the password.
        connection: the driver's other arguments: host, port, secure, project, ex_force_auth_url, ...
        patience: seconds that one request may take.
        login: as whom to go to its servers.
    """

    provider: str
    region: str | None = None
    credentials: dict[str, SecretRef] = Field(default_factory=dict)
    connection: dict[str, Scalar] = Field(default_factory=dict)
    patience: float = Field(60.0, gt=0, le=600)
    login: Login = Login()

    @property
    def place(self) -> CloudPlace:
        """This, without what derives from it."""
        return CloudPlace(**{name: getattr(self, name) for name in CloudPlace.model_fields})

    @field_validator("provider")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value or not value.replace("_", "").isalnum():
            raise ValueError("must be lab, or libcloud's name of a compute driver, as ec2")
        return value.lower()


def kind(value: Any) -> str:
    """Which of two a place is, `lab` or `cloud`; for pydantic's Discriminator."""
    named = value.get("provider") if isinstance(value, Mapping) else getattr(value, "provider", "")
    return "lab" if named == LAB else "cloud"


Place = Annotated[
    Annotated[LabPlace, Tag("lab")] | Annotated[CloudPlace, Tag("cloud")], Discriminator(kind)
]


class Found(Spec):
    """A server as its provider lists it.

    Attributes:
        name: as it was created, or as the provider calls it if it is not ours.
        token: which run made it; empty if none of ours did.
        address: where to go; None as long as it has none.
        ended: it is there no more, or will never be.
        state: the provider's word.
    """

    id: str
    name: str
    token: str = ""
    address: str | None = None
    ended: bool = False
    state: str = ""
