"""ssh, through asyncssh: commands and uploads over a connection that is kept for the next call."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

import asyncssh

from converge.errors import ConnectionLost
from converge.host import Host
from converge.transport import Exit, sftp
from converge.transport.connect import connect
from converge.transport.pool import Slot, pool
from converge.transport.uploads import Upload

TAIL = 64 * 1024
OPENING = 10.0
"""Seconds to open a session on a connection that may have died unseen."""
CROWDED = 6
"""How often a session that the host refuses is asked for again while others are open."""


async def close_pool() -> None:
    await pool().close()


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

    async def upload(self, uploads: Sequence[Upload]) -> dict[str, str]:
        async with contextlib.AsyncExitStack() as stack:
            connection, _ = await self._session(stack)
            try:
                return await sftp.put(connection, self._host, uploads)
            except (asyncssh.ConnectionLost, asyncssh.DisconnectError, ConnectionError) as error:
                raise ConnectionLost(
                    f"the connection broke while uploading ({error})", host=self._host.name
                ) from None

    async def renew(self) -> None:
        pool().retire(self._host)

    async def _session(
        self, stack: contextlib.AsyncExitStack
    ) -> tuple[asyncssh.SSHClientConnection, Slot]:
        connection, slot = await stack.enter_async_context(pool().connected(self._host, connect))
        await stack.enter_async_context(slot.channels)
        return connection, slot

    async def _open(self, stack: contextlib.AsyncExitStack, command: str) -> SSHProcess:
        """A session. Nothing is sent before it is open, so asking again is safe."""
        refused = 0
        stale = 0
        while True:
            async with contextlib.AsyncExitStack() as attempt:
                connection, slot = await self._session(attempt)
                try:
                    # An idle connection may lead to a host that is gone, and say nothing.
                    async with asyncio.timeout(OPENING if slot.used else None):
                        process = await connection.create_process(
                            command, encoding=None, request_pty=False
                        )
                except (asyncssh.Error, OSError, TimeoutError) as error:
                    if isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed():
                        # MaxSessions: the others' sessions are no reason to take their connection.
                        refused += 1
                        if slot.users == 1 or refused > CROWDED:
                            raise ConnectionLost(
                                f"it refuses a session: {error.reason}", host=self._host.name
                            ) from None
                        await _crowded(refused)
                        continue
                    pool().drop(slot)
                    stale += 1
                    if stale > 1:
                        raise ConnectionLost(
                            f"cannot open a session: {error}", host=self._host.name
                        ) from None
                    continue
                else:
                    slot.used = True
                    stack.push_async_exit(attempt.pop_all())
                    return SSHProcess(self._host, process)


async def _crowded(times: int) -> None:
    await asyncio.sleep(random.uniform(0.02, 0.1 * 2**times))
