"""From a host's variables to how it is reached: our settings first, then Ansible's names for them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from converge.host import Host
from converge.inventory.errors import InventoryError
from converge.inventory.model import Entry
from converge.inventory.trees import PREFIX

_TRUE, _FALSE = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f", "")
_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh", "openssh", "ansible.builtin.ssh")
_LOCAL = ("local", "ansible.builtin.local")
_REFERENCES = ("env://", "file://", "exec://")


def settings_of(entry: Entry) -> dict[str, Any]:
    """Fields of a connection: address, user, port, key, ... Raises InventoryError."""
    found = _ansible(entry)
    for key, value in entry.variables.items():
        if key.startswith(PREFIX):
            found[key.removeprefix(PREFIX)] = value
    if not found.get("local") and not found.get("lab"):
        found.setdefault("address", entry.name)
    return found


def host_of(entry: Entry) -> Host:
    """Raises InventoryError."""
    found = settings_of(entry)
    if found.get("lab"):
        raise InventoryError(f"{entry.where}: {entry.name}: a lab server is found by its lab only")
    if found.get("local"):
        return Host.local(sudo=bool(found.get("sudo", False)))
    policy = "accept-new" if found.pop("accept_new_host_key", False) else "strict"
    address = str(found.pop("address"))
    found.pop("local", None)
    try:
        return Host.model_validate({"address": address, "host_keys": policy, **found})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InventoryError(
            f"{entry.where}: {entry.name}: {field}: {first['msg']} (it is {first.get('input')!r})"
        ) from None


def _ansible(entry: Entry) -> dict[str, Any]:
    given = _Given(entry)
    found: dict[str, Any] = {}
    connection = str(given.first("ansible_connection") or "ssh")
    if connection in _LOCAL:
        found["local"] = True
    elif connection not in _SSH:
        raise given.error(
            "ansible_connection", f"{connection} is not a way to a Linux server by ssh"
        )
    for field, names in (
        ("address", ("ansible_host", "ansible_ssh_host")),
        ("user", ("ansible_user", "ansible_ssh_user")),
        ("key", ("ansible_ssh_private_key_file", "ansible_private_key_file")),
    ):
        value = given.first(*names)
        if value is not None and not (field == "address" and found.get("local")):
            found[field] = str(value)
    port = given.first("ansible_port", "ansible_ssh_port")
    if port is not None:
        if not str(port).isdecimal():
            raise given.error("ansible_port", f"{port!r} is no number")
        found["port"] = int(port)
    if given.first("ansible_password", "ansible_ssh_pass") is not None:
        raise given.error("ansible_password", "logging in by password is not offered: use a key")
    _become(given, found)
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"):
        arguments = given.first(name)
        if arguments:
            found |= _arguments(given, name, str(arguments))
    return found


def _become(given: _Given, found: dict[str, Any]) -> None:
    if not given.truth("ansible_become"):
        return
    method = str(given.first("ansible_become_method") or "sudo")
    if method not in ("sudo", "ansible.builtin.sudo", "community.general.sudo"):
        raise given.error("ansible_become_method", f"{method} is not offered, only sudo is")
    user = str(given.first("ansible_become_user") or "root")
    if user != "root":
        raise given.error("ansible_become_user", f"becoming {user} is not offered, only root is")
    found["sudo"] = True
    password = given.first("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
    if password is not None:
        if not str(password).startswith(_REFERENCES):
            # Told without the value: it is a password.
            raise given.error(
                "ansible_become_password",
                "is a password as text: put a secret reference in its place, such as env://NAME",
            )
        found["sudo_password"] = str(password)


def _arguments(given: _Given, name: str, text: str) -> dict[str, Any]:
    """The few options of ssh that mean something here; others are refused, not dropped."""
    found: dict[str, Any] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise given.error(name, f"{error} in {text!r}") from None
    while words:
        word = words.pop(0)
        flag, value = word[:2], word[2:]
        if flag in ("-o", "-J", "-i", "-p", "-l") and not value:
            value = words.pop(0) if words else ""
        if flag == "-o":
            key, _, value = value.replace("=", " ", 1).partition(" ")
            flag, value = key.lower(), value.strip()
        if flag in ("-J", "proxyjump"):
            found["jump"] = value
        elif flag in ("-i", "identityfile"):
            found["key"] = value
        elif flag in ("-p", "port") and value.isdecimal():
            found["port"] = int(value)
        elif flag in ("-l", "user"):
            found["user"] = value
        elif flag == "userknownhostsfile":
            found["known_hosts"] = value
        elif flag == "stricthostkeychecking" and value in ("yes", "ask", "accept-new"):
            found["accept_new_host_key"] = value == "accept-new"
        elif flag in _HARMLESS or word in ("-C", "-q", "-T"):
            continue
        else:
            raise given.error(
                name, f"{word} {value}".strip() + " is not understood: put it into ssh_config"
            )
    return found


_HARMLESS = (
    "controlmaster", "controlpersist", "controlpath", "serveraliveinterval", "serveralivecountmax",
    "connecttimeout", "connectionattempts", "compression", "loglevel", "forwardagent",
    "preferredauthentications", "passwordauthentication", "identitiesonly",
)  # fmt: skip


class _Given:
    """A host's variables, and errors that say whose they are."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._variables: Mapping[str, Any] = entry.variables

    def first(self, *names: str) -> Any:
        for name in names:
            value = self._variables.get(name)
            if value is None:
                continue
            if isinstance(value, str) and ("{{" in value or "{%" in value):
                raise self.error(name, "is a template of Ansible, which is not rendered here")
            return value
        return None

    def truth(self, name: str) -> bool:
        value = str(self.first(name) or "").lower()
        if value not in (*_TRUE, *_FALSE):
            raise self.error(name, f"{value!r} is neither yes nor no")
        return value in _TRUE

    def error(self, name: str, why: str) -> InventoryError:
        return InventoryError(f"{self._entry.where}: {self._entry.name}: {name}: {why}")
