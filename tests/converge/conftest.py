"""Scratch places on this machine, and a disk that is slow on demand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import converge
from converge import Host

ROOT = Path(converge.__file__).parent.parent


@dataclass
class Scratch:
    """A folder with a host's state in it, and the processes that were started for it."""

    path: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def host(self) -> Host:
        return Host.local(state_dir=str(self.state))

    @staticmethod
    async def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:g} s: {what}")
            await asyncio.sleep(0.02)

    def journal(self, run: str, number: int = 1) -> bytes:
        path = self.state / "runs" / run / f"journal.{number}"
        return path.read_bytes() if path.exists() else b""

    def pid(self, run: str) -> int:
        return int((self.state / "runs" / run / "pid").read_text())

    def controller(self, code: str, **environment: str) -> subprocess.Popen[bytes]:
        """A process of its own that runs `code` with converge at hand, to be killed."""
        process = subprocess.Popen(
            [sys.executable, "-c", f"import asyncio\nfrom converge import *\n{code}"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process


@dataclass
class SlowDisk:
    """`sync` waits until it is let through, and every wait is on record."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.path}:{os.environ['PATH']}"}

    @property
    def waits(self) -> int:
        log = self.path / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def let_through(self) -> None:
        (self.path / "open").touch()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    place = Scratch(tmp_path)
    yield place
    for process in place.started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    for pid in place.state.glob("runs/*/pid"):
        unit = int(pid.read_text() or 0)
        journal = str(pid.parent).encode()
        line = Path(f"/proc/{unit}/cmdline")
        # Ours and not a stranger that was given the same number.
        if unit and line.exists() and journal in line.read_bytes():
            os.killpg(unit, signal.SIGKILL)


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[SlowDisk]:
    folder = tmp_path / "slow"
    folder.mkdir()
    shim = folder / "sync"
    shim.write_text(
        f"#!/bin/sh\necho x >>{folder}/log\nn=0\n"
        f"while [ ! -e {folder}/open ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done\n"
    )
    shim.chmod(0o755)
    disk = SlowDisk(folder)
    yield disk
    disk.let_through()


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await converge.close()
