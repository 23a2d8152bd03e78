"""This machine, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

from converge.transport import Exit

TAIL = 64 * 1024


class LocalProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr = b""
        self._reading = asyncio.create_task(self._read_stderr())

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(TAIL):
            self._stderr = (self._stderr + data)[-TAIL:]

    async def send(self, data: bytes, *, eof: bool = False) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(data)
            await stdin.drain()
            if eof:
                stdin.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65536):
            yield data

    async def wait(self) -> Exit:
        status = await self._process.wait()
        await self._reading
        return Exit(None if status < 0 else status, self._stderr)

    async def end(self) -> None:
        if self._process.returncode is None:
            # Its own process group; a detached unit has left it for a session of its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.shield(self._process.wait())
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        transport = getattr(self._process, "_transport", None)
        if transport is not None:  # else pipes that a grandchild holds keep it until the loop ends
            transport.close()


class LocalTransport:
    @contextlib.asynccontextmanager
    async def run(self, command: str) -> AsyncIterator[LocalProcess]:
        process = LocalProcess(
            await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )
        try:
            yield process
        finally:
            await process.end()
