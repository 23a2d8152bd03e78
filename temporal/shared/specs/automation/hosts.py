"""Hosts in specs: where a server is, and as whom to go there."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from temporal.shared.secrets import SecretRef

_SHORT = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<address>\[[0-9a-fA-F:]+\]|[^@:\s]+)(?::(?P<port>\d+))?"
)


class Spec(BaseModel):
    """Base of the specs of this domain: a value, and no field that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HostSpec(Spec):
    """Where a server is, and as whom to go there.

    Written short as `user@address:port`, `lab:NAME` for a lab server, or `local` for the worker's own
    machine. Exactly one of `address`, `lab` and `local` says where.

    Attributes:
        address: name or address.
        lab: name of a lab server, as `temporal-ops lab ls` shows it.
        lab_name: which lab, if there are several.
        local: the machine that the worker runs on.
        alias: what it is called in plans, progress and reports; default: its address.
        user: default: what the worker's ssh_config says, else its own user.
        port: default: what ssh_config says, else 22.
        key: path of a private key on the worker's machine; default: agent and usual keys.
        certificate: path of the key's certificate there; default: KEY-cert.pub if it is there.
        known_hosts: path of a known_hosts file there; default: the usual one.
        jump: through which hosts, as `user@address:port`, several with commas; `none`: directly.
        concurrency: sessions at a time on this host.
        accept_new_host_key: write down the key of a host never seen; a changed one stays refused.
        sudo: become root through sudo.
        sudo_password: secret reference, if sudo asks for one.
    """

    address: str | None = None
    lab: str | None = None
    lab_name: str = "default"
    local: bool = False
    alias: str | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value == "local":
            return {"local": True}
        if value.startswith("lab:"):
            return {"lab": value.removeprefix("lab:")}
        found = _SHORT.fullmatch(value)
        if not found:
            raise ValueError("must be user@address:port, lab:NAME, local, or a mapping")
        parts = {name: part for name, part in found.groupdict().items() if part}
        return parts | {"address": parts["address"].strip("[]")}

    @model_validator(mode="after")
    def _one_place(self) -> HostSpec:
        if sum(map(bool, (self.address, self.lab, self.local))) != 1:
            raise ValueError("give exactly one of address, lab and local")
        return self

    @field_validator("address", "lab", "lab_name", "user", "alias", "jump")
    @classmethod
    def _no_option(cls, value: str | None) -> str | None:
        if value is not None and (not value or value.startswith("-")):
            raise ValueError("must not be empty or begin with a dash")
        return value

    @property
    def name(self) -> str:
        """What it is called in progress and reports."""
        return self.alias or self.address or self.lab or "local"
