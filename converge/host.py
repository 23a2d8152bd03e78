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
    port: int = Field(default=22, ge=1, le=65535)
    key: str | None = None
    """Path of a private key; the agent's and the usual ones if not given."""
    known_hosts: str | None = None
    """Path of a known_hosts file; ~/.ssh/known_hosts if not given."""
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
            port: int = 22,
            key: str | None = None,
            known_hosts: str | None = None,
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
        return self.address if self.port == 22 else f"{self.address}:{self.port}"
