"""One connection to one host, through its jumps, and plain errors for what stands in the way."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import asyncssh

from converge.errors import (
    ConnectError,
    ConnectionLost,
    HostKeyUnknown,
    PermissionDenied,
    Refused,
    Unreachable,
)
from converge.host import Host
from converge.transport.hostkeys import HostKeys
from converge.transport.pool import Pool, Slot
from converge.transport.routes import Route, route_to, written

TRIES = 6
"""For one connect, when sshd drops it unheard (MaxStartups 10:30:100)."""
REFUSALS = 4
"""For one connect: an sshd that reads its settings anew closes its port for a moment."""
MOST_JUMPS = 8
KEEPALIVE = 15
"""Seconds of silence after which the host is asked; after 4 unanswered ones it is gone."""


async def connect(host: Host, pool: Pool, slot: Slot) -> asyncssh.SSHClientConnection:
    """Raises ConnectError and what derives from it."""
    route = route_to(host)
    tunnel: asyncssh.SSHClientConnection | None = None
    if route.jump is not None:
        tunnel = await _jump(route.jump, host, pool, slot)
    for attempt in range(1, TRIES + 1):
        try:
            async with pool.connects:
                return await _once(route, tunnel)
        except ConnectionLost:
            if attempt == TRIES or (tunnel is not None and tunnel.is_closed()):
                raise
        except Refused:
            if attempt >= REFUSALS:
                raise
            await asyncio.sleep(0.1 * 2**attempt)
            continue
        # Full jitter: those that were dropped together must not come back together.
        await asyncio.sleep(random.uniform(0.05, 0.2 * 2**attempt))
    raise AssertionError("unreachable")


async def _jump(jump: Host, host: Host, pool: Pool, slot: Slot) -> asyncssh.SSHClientConnection:
    before = written(jump)
    if before.count(",") >= MOST_JUMPS or slot.host == jump:
        raise ConnectError(f"its jump hosts lead in a circle: {before}", host=host.name)
    try:
        connection, held = await slot.holds.enter_async_context(pool.connected(jump, connect))
    except ConnectError as error:
        raise type(error)(
            f"not reached, since its jump host failed: {error}", host=host.name
        ) from None
    held.used = True
    return connection


async def _once(
    route: Route, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    host = route.host
    where = {"host": host.name}
    keys = HostKeys(route)
    options = _identity(route)
    if tunnel is not None:
        options["tunnel"] = tunnel
    elif host.jump == "none":
        options |= {"tunnel": None, "proxy_command": None}
    try:
        return await asyncssh.connect(
            host.address,
            route.port,
            config=list(route.configs),
            client_factory=lambda: keys,
            known_hosts=keys.match,
            server_host_key_algs=keys.algorithms,
            connect_timeout=host.connect_timeout,
            login_timeout=host.connect_timeout,
            keepalive_interval=KEEPALIVE,
            keepalive_count_max=4,
            compression_algs=None,
            agent_forwarding=False,
            x11_forwarding=False,
            **options,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise keys.verdict or HostKeyUnknown(str(error), **where) from None
    except asyncssh.PermissionDenied as error:
        raise _denied(route, error) from None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise PermissionDenied(
            f"the private key {' or '.join(route.keys)} cannot be read: {error}", **where
        ) from None
    except asyncssh.ChannelOpenError as error:
        through = written(route.jump) if route.jump else "its jump host"
        raise Unreachable(
            f"{through} does not reach {route.address} port {route.port}: {error.reason}", **where
        ) from None
    except (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError) as error:
        raise ConnectionLost(f"dropped while connecting: {error}", **where) from None
    except ConnectionRefusedError:
        raise Refused(f"nothing listens on port {route.port}: is sshd up?", **where) from None
    except socket.gaierror as error:
        name = "" if route.address == host.address else f" {route.address}"
        raise Unreachable(f"the name{name} does not resolve ({error.strerror})", **where) from None
    except (TimeoutError, OSError) as error:
        why = str(error) or f"no answer within {host.connect_timeout:g} s"
        raise Unreachable(f"unreachable: {why}", **where) from None
    except asyncssh.Error as error:
        raise ConnectError(f"ssh: {error.reason or error}", **where) from None
    except (ValueError, AttributeError) as error:  # asyncssh's word for an option it cannot use
        raise ConnectError(f"ssh_config or key: {error}", **where) from None


def _identity(route: Route) -> dict[str, Any]:
    """Keys in the order in which they are offered: the agent's, then files."""
    options: dict[str, Any] = {"username": route.user, "agent_path": route.agent or None}
    usable: list[str] = []
    locked: list[str] = []
    for key in route.keys:
        if not Path(key).is_file():
            if route.host.key is not None:
                raise PermissionDenied(f"there is no private key {key}", host=route.host.name)
            continue  # ssh_config may name keys that only some machines have
        (locked if _encrypted(key, route.host.name) else usable).append(key)
    named = [key for key in locked if Path(f"{key}.pub").is_file()]
    if route.host.key is not None and locked and not (route.agent and named):
        raise _encrypted_error(route, locked[0])
    if usable:
        options["client_keys"] = usable
    elif route.keys:
        # Not the usual files: none of those was named. Empty would mean them.
        options["ignore_encrypted"] = True
        options["client_keys"] = ()
    if route.certificates:
        options["client_certs"] = list(route.certificates)
    if route.only_named:
        # The agent may hold keys by the dozen, and sshd counts each one offered (MaxAuthTries).
        public = [f"{key}.pub" for key in usable + locked if Path(f"{key}.pub").is_file()]
        if public and route.agent:
            options["agent_identities"] = public
        else:
            options["agent_path"] = None
    return options


def _encrypted(path: str, host: str) -> bool:
    try:
        asyncssh.read_private_key(path)
    except asyncssh.KeyEncryptionError:
        return True
    except asyncssh.KeyImportError as error:
        if "assphrase" in str(error):
            return True
        raise PermissionDenied(
            f"the private key {path} cannot be read: {error}", host=host
        ) from None
    except OSError as error:
        raise PermissionDenied(
            f"the private key {path} cannot be read: {error.strerror}", host=host
        ) from None
    return False


def _encrypted_error(route: Route, key: str) -> PermissionDenied:
    lacks = "no agent runs here (SSH_AUTH_SOCK)" if not route.agent else f"{key}.pub is missing"
    return PermissionDenied(
        f"the private key {key} is encrypted, and nobody is here to ask for its passphrase: load it"
        f" into an agent with `ssh-add {key}` ({lacks}), or use a key without",
        host=route.host.name,
    )


def _denied(route: Route, error: asyncssh.PermissionDenied) -> PermissionDenied:
    named = [key for key in route.keys if Path(key).is_file()]
    locked = [key for key in named if _encrypted(key, route.host.name)]
    tried = f"the key {' or '.join(named)}" if named else "the agent's and the usual keys"
    hint = "is the public key in its authorized_keys?"
    if locked:
        hint = f"{' and '.join(locked)} is encrypted: does the agent hold it (`ssh-add -l`)?"
    return PermissionDenied(
        f"permission denied for {route.user} with {tried} ({error.reason}): {hint}",
        host=route.host.name,
    )
