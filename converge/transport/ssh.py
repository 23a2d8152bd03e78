"""ssh, through asyncssh: one connection a host, kept for the next call, and plain errors."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from converge.errors import (
    ConnectError,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    PermissionDenied,
    Refused,
    Unreachable,
)
from converge.host import Host
from converge.transport import Exit

TAIL = 64 * 1024
IDLE = 60.0
"""Seconds that an unused connection stays open."""
CHANNELS = 8
"""At a time on one connection; sshd allows 10 (MaxSessions)."""
CONNECTS = 24
"""At a time in all: a handshake is work for both sides."""
TRIES = 5
"""For one connect, when sshd drops it unheard (MaxStartups 10:30:100)."""


@dataclass
class _Slot:
    """The connection to one host, being made or made, and who uses it."""

    connection: asyncio.Task[asyncssh.SSHClientConnection]
    channels: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHANNELS))
    users: int = 0
    closing: asyncio.TimerHandle | None = None


@dataclass
class _Pool:
    slots: dict[Host, _Slot] = field(default_factory=dict)
    connects: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTS))


# A connection belongs to the event loop it was made in.
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = weakref.WeakKeyDictionary()


def _pool() -> _Pool:
    return _pools.setdefault(asyncio.get_running_loop(), _Pool())


async def close_pool() -> None:
    pool = _pool()
    slots, pool.slots = list(pool.slots.values()), {}
    for slot in slots:
        if slot.closing is not None:
            slot.closing.cancel()
        if not slot.connection.done():
            slot.connection.cancel()
        elif not slot.connection.cancelled() and slot.connection.exception() is None:
            slot.connection.result().close()
            await slot.connection.result().wait_closed()


def _drop(pool: _Pool, host: Host, slot: _Slot) -> None:
    if pool.slots.get(host) is slot:
        del pool.slots[host]
    task = slot.connection
    if task.done() and not task.cancelled() and task.exception() is None:
        task.result().close()


@contextlib.asynccontextmanager
async def connected(host: Host) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, _Slot]]:
    """A connection to the host, shared with whoever else talks to it from this event loop."""
    pool = _pool()
    slot = pool.slots.get(host)
    if slot is not None and slot.connection.done():
        task = slot.connection
        if task.cancelled() or task.exception() is not None or task.result().is_closed():
            _drop(pool, host, slot)
            slot = None
    if slot is None:
        slot = pool.slots[host] = _Slot(asyncio.create_task(_connect(host, pool.connects)))
    if slot.closing is not None:
        slot.closing.cancel()
        slot.closing = None
    slot.users += 1
    try:
        # Shielded: one caller's cancellation must not take the connection from the others.
        connection = await asyncio.shield(slot.connection)
        yield connection, slot
    finally:
        slot.users -= 1
        if slot.users == 0:
            if not slot.connection.done():
                slot.connection.cancel()
            loop = asyncio.get_running_loop()
            slot.closing = loop.call_later(IDLE, _drop, pool, host, slot)


async def _connect(host: Host, limit: asyncio.Semaphore) -> asyncssh.SSHClientConnection:
    for attempt in range(1, TRIES + 1):
        try:
            async with limit:
                return await _connect_once(host)
        except ConnectionLost:
            if attempt == TRIES:
                raise
        # Full jitter: those that were dropped together must not come back together.
        await asyncio.sleep(random.uniform(0.05, 0.2 * 2**attempt))
    raise AssertionError("unreachable")


async def _connect_once(host: Host) -> asyncssh.SSHClientConnection:
    where = {"host": host.name}
    keys = _Keys(host)
    options = _identity(host)
    try:
        return await asyncssh.connect(
            host.address,
            host.port,
            client_factory=lambda: keys,
            known_hosts=keys.match,
            connect_timeout=host.connect_timeout,
            login_timeout=host.connect_timeout,
            keepalive_interval=15,
            keepalive_count_max=4,
            compression_algs=None,
            # What can be verified comes first, or a second key of the host looks like a change.
            server_host_key_algs="default",
            **options,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise keys.verdict or HostKeyUnknown(str(error), **where) from None
    except asyncssh.PermissionDenied as error:
        who = host.user or "the local user name"
        tried = f"the key {host.key}" if host.key else "the agent's and the usual keys"
        raise PermissionDenied(
            f"permission denied for {who} with {tried} ({error.reason}): is the public key in its"
            " authorized_keys?", **where) from None
    except asyncssh.KeyImportError as error:
        raise PermissionDenied(f"the private key {host.key} cannot be read: {error}",
                               **where) from None
    except (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError) as error:
        raise ConnectionLost(f"dropped while connecting: {error}", **where) from None
    except ConnectionRefusedError:
        raise Refused(f"nothing listens on port {host.port}: is sshd up?", **where) from None
    except socket.gaierror as error:
        raise Unreachable(f"the name does not resolve ({error.strerror})", **where) from None
    except (TimeoutError, OSError) as error:
        why = str(error) or f"no answer within {host.connect_timeout:g} s"
        raise Unreachable(f"unreachable: {why}", **where) from None
    except asyncssh.Error as error:
        raise ConnectError(f"ssh: {error.reason or error}", **where) from None


def _identity(host: Host) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if host.key is not None:
        key = Path(host.key).expanduser()
        if not key.is_file():
            raise PermissionDenied(f"there is no private key {key}", host=host.name)
        options["client_keys"] = [str(key)]
        options["agent_path"] = None
    if host.user is not None:
        options["username"] = host.user
    return options


class _Keys(asyncssh.SSHClient):
    """Decides on host keys, and remembers why it said no."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._path = Path(host.known_hosts or "~/.ssh/known_hosts").expanduser()
        self.verdict: ConnectError | None = None

    def _known(self, host: str, addr: str, port: int | None) -> tuple[Any, ...]:
        if not self._path.is_file():
            return ((), (), (), (), (), (), ())
        try:
            known = asyncssh.read_known_hosts(str(self._path))
        except (OSError, ValueError) as error:
            raise HostKeyUnknown(f"{self._path} cannot be read: {error}",
                                 host=self._host.name) from None
        return tuple(known.match(host, addr, port))

    def match(self, host: str, addr: str, port: int | None) -> Any:
        return self._known(host, addr, port)

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        # Only asked when the key is not among the known ones.
        fingerprint = f"{key.get_algorithm()} {key.get_fingerprint()}"
        if self._known(host, addr, port)[0]:
            self.verdict = HostKeyChanged(
                f"shows another host key ({fingerprint}) than {self._path} has on record. Either it"
                " was set up anew, then remove the old line, or somebody is in between",
                host=self._host.name)
            return False
        if self._host.host_keys == "accept-new":
            name = host if port == 22 else f"[{host}]:{port}"
            line = f"{name} {key.export_public_key().decode().strip()}\n"
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(line)
            return True
        self.verdict = HostKeyUnknown(
            f"its host key ({fingerprint}) is not in {self._path}: add it, or set"
            " host_keys='accept-new' to take the key of a host not seen before",
            host=self._host.name)
        return False


class SSHProcess:
    def __init__(self, host: Host, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._host = host
        self._process = process
        self._stderr = b""
        self._reading = asyncio.create_task(self._read_stderr())

    async def _read_stderr(self) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            while data := await self._process.stderr.read(TAIL):
                self._stderr = (self._stderr + data)[-TAIL:]

    async def send(self, data: bytes, *, eof: bool = False) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
            self._process.stdin.write(data)
            await self._process.stdin.drain()
            if eof:
                self._process.stdin.write_eof()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._process.stdout.read(65536):
                yield data
        except (asyncssh.Error, OSError) as error:
            raise self._lost(str(error)) from None

    async def wait(self) -> Exit:
        try:
            await self._process.wait_closed()
        except (asyncssh.Error, OSError) as error:
            raise self._lost(str(error)) from None
        await self._reading
        if self._process.exit_status is None and self._process.exit_signal is None:
            raise self._lost("no exit status")
        status = self._process.exit_status
        return Exit(None if status is None or status < 0 else status, self._stderr)

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(f"the connection broke ({why})", host=self._host.name)

    def end(self) -> None:
        self._process.close()
        self._reading.cancel()


class SSHTransport:
    def __init__(self, host: Host) -> None:
        self._host = host

    @contextlib.asynccontextmanager
    async def run(self, command: str) -> AsyncIterator[SSHProcess]:
        async with contextlib.AsyncExitStack() as stack:
            process = await self._open(stack, command)
            stack.callback(process.end)
            yield process

    async def _open(self, stack: contextlib.AsyncExitStack, command: str) -> SSHProcess:
        for fresh in (False, True):
            async with contextlib.AsyncExitStack() as attempt:
                connection, slot = await attempt.enter_async_context(connected(self._host))
                await attempt.enter_async_context(slot.channels)
                try:
                    process = await connection.create_process(command, encoding=None)
                except (asyncssh.Error, OSError) as error:
                    # Nothing was sent yet. An idle connection may have died unseen: once more.
                    _drop(_pool(), self._host, slot)
                    if fresh:
                        raise ConnectionLost(
                            f"cannot open a session: {error}", host=self._host.name) from None
                    continue
                stack.push_async_exit(attempt.pop_all())
                return SSHProcess(self._host, process)
        raise AssertionError("unreachable")
