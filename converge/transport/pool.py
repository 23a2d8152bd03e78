"""Open connections, kept for the next call: one a host, shared by all runs of an event loop.

An unused one is closed after a while, a broken one is dropped when it is seen. A jump host has one
connection too, however many hosts lie behind it; it stays for as long as one of them needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import asyncssh

from converge.host import Host

IDLE = 60.0
"""Seconds that an unused connection stays open."""
KEPT = 100
"""Unused connections that stay open at a time: whoever goes over ten thousand hosts comes back to none
of them within a minute, and each holds a file, memory here and a process there. As many as a worker
does at once."""
CONNECTS = 24
"""At a time in all: a handshake is work for both sides."""

Connect = Callable[[Host, "Pool", "Slot"], Awaitable[asyncssh.SSHClientConnection]]


@dataclass(eq=False)
class Slot:
    """The connection to one host, being made or made, and who uses it."""

    host: Host
    channels: asyncio.Semaphore
    holds: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    """What it needs for as long as it is open: its jump."""
    users: int = 0
    used: bool = False
    """Was anything run on it? Then it may have died unseen since."""
    closing: asyncio.TimerHandle | None = None
    task: asyncio.Task[asyncssh.SSHClientConnection] | None = None

    @property
    def connection(self) -> asyncio.Task[asyncssh.SSHClientConnection]:
        assert self.task is not None
        return self.task

    @property
    def broken(self) -> bool:
        task = self.connection
        if not task.done():
            return False
        return task.cancelled() or task.exception() is not None or task.result().is_closed()


@dataclass(eq=False)
class Pool:
    slots: dict[Host, Slot] = field(default_factory=dict)
    connects: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTS))
    ending: set[asyncio.Task[None]] = field(default_factory=set)
    unused: dict[Slot, None] = field(default_factory=dict)
    """Those that nobody uses now, the longest unused first."""

    @contextlib.asynccontextmanager
    async def connected(
        self, host: Host, connect: Connect
    ) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, Slot]]:
        """A connection to the host. Raises what `connect` raises."""
        slot = self._slot(host, connect)
        slot.users += 1
        try:
            # Shielded: one caller's cancellation must not take the connection from the others.
            yield await asyncio.shield(slot.connection), slot
        finally:
            slot.users -= 1
            if slot.users == 0:
                if slot.connection.done() and not slot.broken and self.slots.get(host) is slot:
                    self._rest(slot)
                else:
                    self.drop(slot)

    def _slot(self, host: Host, connect: Connect) -> Slot:
        slot = self.slots.get(host)
        if slot is not None and slot.broken:
            self.drop(slot)
            slot = None
        if slot is None:
            slot = self.slots[host] = Slot(host, asyncio.Semaphore(host.concurrency))
            slot.task = asyncio.create_task(self._open(host, connect, slot))
        self._wake(slot)
        return slot

    def _rest(self, slot: Slot) -> None:
        slot.closing = asyncio.get_running_loop().call_later(IDLE, self.drop, slot)
        self.unused[slot] = None
        while len(self.unused) > KEPT:
            self.drop(next(iter(self.unused)))

    def _wake(self, slot: Slot) -> None:
        self.unused.pop(slot, None)
        if slot.closing is not None:
            slot.closing.cancel()
            slot.closing = None

    async def _open(self, host: Host, connect: Connect, slot: Slot) -> asyncssh.SSHClientConnection:
        try:
            return await connect(host, self, slot)
        except BaseException:
            await slot.holds.aclose()
            raise

    def retire(self, host: Host) -> None:
        """Whoever comes next gets a new connection; those who use the old one keep it."""
        slot = self.slots.pop(host, None)
        if slot is not None and slot.users == 0:
            self.drop(slot)

    def drop(self, slot: Slot) -> None:
        """Nobody gets this connection any more. Those who use it see it break."""
        if self.slots.get(slot.host) is slot:
            del self.slots[slot.host]
        self._wake(slot)
        task = asyncio.ensure_future(_end(slot))
        self.ending.add(task)
        task.add_done_callback(self.ending.discard)

    async def close(self) -> None:
        for slot in list(self.slots.values()):
            self.drop(slot)
        while self.ending:  # a jump goes when the last one behind it has gone
            await asyncio.gather(*self.ending, return_exceptions=True)
            for slot in list(self.slots.values()):
                self.drop(slot)


async def _end(slot: Slot) -> None:
    task = slot.connection
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        connection = task.result()
        connection.close()
        with contextlib.suppress(asyncssh.Error, OSError, asyncio.TimeoutError):
            async with asyncio.timeout(5):
                await connection.wait_closed()
        connection.abort()
    await slot.holds.aclose()


# A connection belongs to the event loop it was made in.
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = weakref.WeakKeyDictionary()


def pool() -> Pool:
    """The pool of the running event loop."""
    return _pools.setdefault(asyncio.get_running_loop(), Pool())
