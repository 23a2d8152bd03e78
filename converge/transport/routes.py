"""From a host to how it is reached: what the host says, then ssh_config, then ssh's own defaults.

Source of the rules: ssh_config(5). `StrictHostKeyChecking` is not among them: whether an unknown key
is taken is said on the host, where it can be seen.
"""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncssh.config import ConfigParseError, SSHClientConfig

from converge.errors import ConnectError
from converge.host import Host

USER_CONFIG = "~/.ssh/config"
SYSTEM_CONFIG = "/etc/ssh/ssh_config"
USER_KNOWN = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_KNOWN = "/etc/ssh/ssh_known_hosts"

_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?P<address>\[[0-9A-Fa-f:.%]+\]|[^:\s/@]+)"
    r"(?::(?P<port>\d+))?/?"
)


@dataclass(frozen=True)
class Route:
    """One hop: everything that decides a connection but the jump before it."""

    host: Host
    configs: tuple[str, ...]
    """ssh_config files, for what only the ssh library reads of them."""
    address: str
    port: int
    user: str
    keys: tuple[str, ...]
    """Private keys named by host or ssh_config; none: the usual ones."""
    certificates: tuple[str, ...]
    agent: str
    """Path of the agent's socket; empty: none."""
    only_named: bool
    """Offer no keys but the named ones (IdentitiesOnly, or a key on the host)."""
    known_hosts: tuple[str, ...]
    known_name: str
    """Under which the key stands in known_hosts (HostKeyAlias, else the address)."""
    jump: Host | None
    """Through which host; that one may have a jump itself."""

    @property
    def writes(self) -> Path:
        """Where a new key is written down."""
        return Path(self.known_hosts[0])


def route_to(host: Host) -> Route:
    """Raises ConnectError for an ssh_config that cannot be read or a jump that is none."""
    configs = _configs(host)
    settings = _settings(host, configs)
    address = str(settings.get("Hostname") or host.address)
    keys = (host.key,) if host.key else _texts(settings.get("IdentityFile"))
    certificates = (
        (host.certificate,) if host.certificate else _texts(settings.get("CertificateFile"))
    )
    agent = settings.get("IdentityAgent", "SSH_AUTH_SOCK") or ""  # None: "none" was written
    if agent == "SSH_AUTH_SOCK":
        agent = os.environ.get("SSH_AUTH_SOCK", "")
    return Route(
        host=host,
        configs=configs,
        address=address,
        port=host.port or int(settings.get("Port") or 22),
        user=host.user or str(settings.get("User") or getpass.getuser()),
        keys=tuple(_expanded(key) for key in keys),
        certificates=tuple(_expanded(path) for path in certificates),
        agent=_expanded(agent) if agent else "",
        only_named=host.key is not None or bool(settings.get("IdentitiesOnly")),
        known_hosts=_known_hosts(host, settings),
        known_name=str(settings.get("HostKeyAlias") or address),
        jump=_jump(host, settings),
    )


def through(host: Host, jumps: str) -> Host | None:
    """The last of `jumps` ("user@address:port,..."), reached through those before it.

    A key, known_hosts file and policy that the host itself names hold for its jumps as well.
    """
    last: Host | None = None
    for part in jumps.split(","):
        found = _JUMP.fullmatch(part.strip())
        if not found:
            raise ConnectError(f"jump {part.strip()!r} is not user@address:port", host=host.name)
        before = None if last is None else written(last)
        last = Host(
            found["address"].strip("[]"),
            user=found["user"],
            port=int(found["port"]) if found["port"] else None,
            key=host.key,
            certificate=host.certificate,
            known_hosts=host.known_hosts,
            host_keys=host.host_keys,
            ssh_config=host.ssh_config,
            connect_timeout=host.connect_timeout,
            jump=before,
        )
    return last


def written(host: Host) -> str:
    """A jump as text, with those before it."""
    address = f"[{host.address}]" if ":" in host.address else host.address
    text = f"{host.user}@{address}" if host.user else address
    text = f"{text}:{host.port}" if host.port else text
    return f"{host.jump},{text}" if host.jump else text


def _configs(host: Host) -> tuple[str, ...]:
    if host.ssh_config == "none":
        return ()
    if host.ssh_config is not None:
        path = _expanded(host.ssh_config)
        if not os.access(path, os.R_OK):
            raise ConnectError(f"there is no readable ssh_config {path}", host=host.name)
        return (path,)
    paths = (_expanded(USER_CONFIG), SYSTEM_CONFIG)
    return tuple(path for path in paths if os.access(path, os.R_OK))


def _settings(host: Host, configs: tuple[str, ...]) -> dict[str, Any]:
    user: Any = host.user or ()
    port: Any = host.port or ()
    try:
        loaded = SSHClientConfig.load(
            None, list(configs), False, False, False, getpass.getuser(), user, host.address, port
        )
    except (ConfigParseError, OSError) as error:
        raise ConnectError(f"ssh_config: {error}", host=host.name) from None
    return dict(loaded.get_options(False))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in value or () if str(each) != "none")


def _expanded(path: str) -> str:
    return str(Path(path).expanduser())


def _known_hosts(host: Host, settings: dict[str, Any]) -> tuple[str, ...]:
    if host.known_hosts is not None:
        return (_expanded(host.known_hosts),)
    named = settings.get("UserKnownHostsFile")
    mine = USER_KNOWN if named is None else _texts(named)
    system = settings.get("GlobalKnownHostsFile")
    theirs = (SYSTEM_KNOWN,) if system is None else _texts(system)
    home = str(Path.home())
    every = (*mine, *theirs) or (USER_KNOWN[0],)
    return tuple(_expanded(path.replace("%d", home)) for path in every)


def _jump(host: Host, settings: dict[str, Any]) -> Host | None:
    if host.jump is not None:
        return None if host.jump == "none" else through(host, host.jump)
    named = settings.get("ProxyJump")
    if not named or named == "none":
        return None
    # A jump of ssh_config is configured there as well: nothing of the host's holds for it.
    last = through(Host(host.address, ssh_config=host.ssh_config), str(named))
    assert last is not None
    if (last.address, last.port or 22) == (host.address, host.port or 22):
        return None  # `Host *` names the jump for the jump itself as well
    kept: dict[str, Any] = {"host_keys": host.host_keys, "connect_timeout": host.connect_timeout}
    if host.known_hosts is not None:
        kept["known_hosts"] = host.known_hosts
    return last.model_copy(update=kept)
