"""This machine, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from converge.errors import HostFailed
from converge.transport import Exit
from converge.transport.uploads import KEPT, SPOOL, Upload

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
    def __init__(self, state_dir: str | None = None) -> None:
        self._spool = Path(state_dir) / "spool" if state_dir else Path.home() / SPOOL

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

    async def upload(self, uploads: Sequence[Upload]) -> dict[str, str]:
        return await asyncio.to_thread(self._place, uploads)

    async def renew(self) -> None:
        """There is no connection."""

    def _place(self, uploads: Sequence[Upload]) -> dict[str, str]:
        paths: dict[str, str] = {}
        try:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            for old in self._spool.iterdir():
                if old.stat().st_mtime < time.time() - KEPT:
                    old.unlink(missing_ok=True)
            for upload in uploads:
                target = self._spool / upload.sha256
                if not target.is_file() or Upload.of(target).sha256 != upload.sha256:
                    _copy(upload, target)
                paths[upload.sha256] = str(target)
        except OSError as error:
            raise HostFailed(f"cannot write to {self._spool}: {error.strerror}") from None
        return paths


def _copy(upload: Upload, target: Path) -> None:
    """Like the way over the network: another name, synced, checked, renamed."""
    descriptor, name = tempfile.mkstemp(prefix=upload.sha256, suffix=".part", dir=target.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(upload.source, bytes):
                file.write(upload.source)
            else:
                with upload.source.open("rb") as source:
                    while data := source.read(1 << 20):
                        file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if Upload.of(part).sha256 != upload.sha256:
            raise HostFailed(f"{upload.source!r} is not what its SHA-256 says")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
