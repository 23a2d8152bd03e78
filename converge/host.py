"""Where to go and as whom. A value: it opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

LOCAL = "local"


class Host(BaseModel):
    """A machine reached by ssh, or this one (`Host.local()`).

    Host("198.18.0.2", user="root", key="~/.ssh/id_ed25519", known_hosts="known_hosts")
    Host("web1.example.org", user="admin", sudo=True)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    address: str
    """Name or address, as ssh takes it."""
    user: str | None = None
    """Login name; the local one if not given."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """As ssh_config says, else 22, if not given."""
    key: str | None = None
    """Path of a private key; ssh_config's, the agent's and the usual ones if not given."""
    certificate: str | None = None
    """Path of a certificate for the key; KEY-cert.pub beside it is found without."""
    known_hosts: str | None = None
    """Path of a known_hosts file; ssh_config's, else ~/.ssh/known_hosts if not given."""
    jump: str | None = None
    """Through which hosts, as ssh's ProxyJump: "user@address:port,..."; "none": ssh_config's not."""
    ssh_config: str | None = None
    """Path of an ssh_config; the usual ones if not given, and none at all for "none"."""
    concurrency: int = Field(default=8, ge=1, le=64)
    """Sessions at a time on this host; its sshd allows 10 (MaxSessions) unless told otherwise."""
    host_keys: Literal["strict", "accept-new"] = "strict"
    """`accept-new` writes down the key of a host not seen before; a changed key is refused."""
    sudo: bool = False
    """Do everything on the host as root, through sudo."""
    sudo_password: str | None = None
    """A secret reference (never the password): resolved by the `secrets` callable."""
    connect_timeout: float = Field(default=15.0, gt=0)
    """Seconds for one attempt to connect and log in."""
    transport: Literal["ssh", "local"] = "ssh"
    state_dir: str | None = None
    """Where run journals live on the host, if not in the usual place (tests, odd hosts)."""

    if TYPE_CHECKING:

        def __init__(
            self,
            address: str,
            /,
            *,
            user: str | None = None,
            port: int | None = None,
            key: str | None = None,
            certificate: str | None = None,
            known_hosts: str | None = None,
            jump: str | None = None,
            ssh_config: str | None = None,
            concurrency: int = 8,
            host_keys: Literal["strict", "accept-new"] = "strict",
            sudo: bool = False,
            sudo_password: str | None = None,
            connect_timeout: float = 15.0,
            transport: Literal["ssh", "local"] = "ssh",
            state_dir: str | None = None,
        ) -> None: ...

    else:

        def __init__(self, address: str | None = None, /, **data: Any) -> None:
            if address is not None:
                data["address"] = address
            super().__init__(**data)

    @field_validator("address", "user")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is not None and (not value or value.startswith("-") or set(value) & set("\0\n ")):
            raise ValueError(f"{value!r} is no host or user name")
        return value

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith("/") or "\0" in value or "\n" in value):
            raise ValueError(f"state_dir {value!r} is not an absolute path")
        return value

    @classmethod
    def local(cls, *, sudo: bool = False, state_dir: str | None = None) -> Host:
        """This machine, as the user we are."""
        return cls(LOCAL, transport="local", sudo=sudo, state_dir=state_dir)

    @property
    def name(self) -> str:
        """How messages call it."""
        if self.transport == "local":
            return LOCAL
        return self.address if self.port in (None, 22) else f"{self.address}:{self.port}"
