"""What several tests need: real processes, conditions to wait on, a client as others have it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from temporal import client, config

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(__file__).resolve().parent / "packages"
PATIENCE_S = 30.0


class Process:
    """One program, its output in a file."""

    def __init__(self, argv: list[str], env: Mapping[str, str], log: Path, cwd: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self) -> int:
        return self.popen.wait(PATIENCE_S)

    async def says(self, pattern: str) -> re.Match[str]:
        """The first match of `pattern` in the output, once it is there."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output())
            if not found and self.popen.poll() is not None:
                raise AssertionError(f"it ended without {pattern!r}:\n{self.output()}")
            return found

        try:
            found = await until(look)
        except TimeoutError:
            raise AssertionError(f"it did not say {pattern!r}:\n{self.output()}") from None
        assert found is not None
        return found

    async def ends(self) -> int:
        """Its exit status, once it has one."""
        await until(lambda: self.popen.poll() is not None)
        return int(self.popen.returncode)


class Processes:
    """All programs of one test."""

    def __init__(self) -> None:
        self._all: list[Process] = []

    def start(
        self, argv: list[str], folder: Path, env: Mapping[str, str], cwd: Path = ROOT
    ) -> Process:
        log = folder / f"process-{len(self._all)}.log"
        process = Process(argv, variables(folder, env), log, cwd)
        self._all.append(process)
        return process

    def worker(self, address: str, queue: str, folder: Path, **env: str) -> Process:
        """`temporal-ops worker` on `queue`, `trial` registered."""
        settings = {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TASK_QUEUE": queue,
            "TEMPORAL_MODULES": "trial",
            **env,
        }
        return self.start([sys.executable, "-m", "temporal", "worker"], folder, settings)

    def end(self) -> None:
        for process in self._all:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait()


def variables(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program: this one's, without settings but `env`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(PACKAGES)]),
        "TEMPORAL_STATE_DIR": str(folder / "state"),
        **env,
    }


async def until(look: Callable[[], T]) -> T:
    """What `look` gives once that is true. Raises TimeoutError when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.02)
    return found


async def until_async(look: Callable[[], Awaitable[Any]]) -> Any:
    """The same for a coroutine."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := await look()):
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.05)
    return found


def touch(path: Path) -> None:
    """Lets what waits for this file go on."""
    path.touch()


def lines(path: Path) -> list[str]:
    """What an activity noted so far."""
    return path.read_text().splitlines() if path.exists() else []


async def fetch(url: str) -> tuple[int, str]:
    """Status and body of a GET on the loopback address."""

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def ops_at(address: str, queue: str, folder: Path, **env: str) -> client.Ops:
    """Our client at `address`, everything on `queue`."""
    settings = config.load(
        {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TASK_QUEUE": queue,
            "TEMPORAL_MODULES": "trial",
            "TEMPORAL_STATE_DIR": str(folder / "state"),
            **env,
        }
    )
    return await client.connect(settings)


async def foreign(address: str) -> Client:
    """A bare SDK client, as another program has it: nothing of ours."""
    return await Client.connect(address)


async def failure(handle: WorkflowHandle[Any, Any]) -> BaseException:
    """The innermost cause for which the run failed."""
    try:
        result = await asyncio.wait_for(handle.result(), PATIENCE_S)
    except WorkflowFailureError as error:
        found: BaseException = error
        while getattr(found, "cause", None):
            found = found.cause  # type: ignore[attr-defined]
        return found
    raise AssertionError(f"it did not fail but returned {result!r}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
