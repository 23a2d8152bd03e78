"""The command as a person runs it: as a program, in a terminal, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from temporal import config, server
from temporal.cli.front import SOCKET
from tests.temporal.support import PACKAGES, ROOT, variables

HERE = Path(__file__).resolve().parent
PATIENCE_S = 60.0
OPS = [sys.executable, "-m", "temporal"]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON value and nothing else."""
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs commands in one folder with one environment."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        paths = os.pathsep.join([str(ROOT), str(PACKAGES), str(HERE / "packages")])
        return variables(self.folder, {**self.env, "PYTHONPATH": paths, **more})

    def __call__(self, *args: str, stdin: str | None = None, **more: str) -> Done:
        """Run `temporal-ops` with `args` to its end."""
        done = subprocess.run(
            [*self.inside, *OPS, *args],
            env=self.environment(**more),
            cwd=self.folder,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str, **more: str) -> Running:
        """Start `temporal-ops` with `args`; output in files, no terminal."""
        number = len(self.started)
        out, err = (self.folder / f"{number}.{name}" for name in ("out", "err"))
        with out.open("w") as out_file, err.open("w") as err_file:
            process = subprocess.Popen(
                [*self.inside, *OPS, *args],
                env=self.environment(**more),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return Running(process, out, err)

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


@dataclass
class Running:
    """A command in progress."""

    process: subprocess.Popen[str]
    out_file: Path
    err_file: Path

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    def says(self, pattern: str) -> re.Match[str]:
        """The first match in what it has said, on either stream, once it is there."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.out) or re.search(pattern, self.err)
            if not found and self.process.poll() is not None:
                raise AssertionError(f"it ended without {pattern!r}:\n{self.out}\n{self.err}")
            return found

        found = until(look, lambda: f"{pattern!r} in:\n{self.out}\n{self.err}")
        assert found
        return found

    def ends(self) -> int:
        return self.process.wait(PATIENCE_S)


class Terminal:
    """`temporal-ops` on a terminal of its own, with keys to press."""

    def __init__(self, shell: Shell, *args: str, columns: int = 80, **more: str) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._master = master
        self.raw = b""
        self.process = subprocess.Popen(
            [*shell.inside, *OPS, *args],
            env=shell.environment(TERM="xterm-256color", **more),
            cwd=shell.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        shell.started.append(self.process)

    @property
    def text(self) -> str:
        """All that was ever shown, without colours; where the cursor moved, a new line begins."""
        plain = re.sub(rb"\x1b\[[0-9;]*m", b"", self.raw)
        plain = re.sub(rb"\x1b\[[0-9;]*[A-HJK]", b"\n", plain)
        plain = re.sub(rb"\x1b(\[[0-9;?]*[A-Za-z]|[()].|[=>78])", b"", plain)
        return plain.decode(errors="replace").replace("\r", "")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self, wait: float = 0.05) -> None:
        ready, _, _ = select.select([self._master], [], [], wait)
        if ready:
            with contextlib.suppress(OSError):  # the other side is closed
                self.raw += os.read(self._master, 65536)

    def shows(self, pattern: str, since: int = 0) -> int:
        """Wait until `pattern` was shown after position `since`; the position behind it.

        A blank in it is any white space: where lines are broken is the terminal's affair.
        """
        wanted = re.compile(pattern.replace(" ", r"\s+"))
        place = -1

        def look() -> bool:
            nonlocal place
            self.read()
            found = wanted.search(self.text, since)
            place = found.end() if found else -1
            if not found and self.process.poll() is not None:
                self.read()
                if not wanted.search(self.text, since):
                    raise AssertionError(f"it ended without {pattern!r}:\n{self.text}")
            return found is not None

        until(look, lambda: f"{pattern!r} in:\n{self.text}")
        return place

    def ends(self) -> int:
        def look() -> bool:
            self.read(0.02)
            return self.process.poll() is not None

        until(look, lambda: f"it did not end:\n{self.text}")
        for _ in range(20):
            before = len(self.raw)
            self.read(0.02)
            if len(self.raw) == before:
                break
        return int(self.process.returncode)

    def echoes(self) -> bool:
        """Does the terminal echo keys, as it did before?"""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)


class Server:
    """The real embedded server on free ports, in a thread; may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.settings = config.load({"TEMPORAL_STATE_DIR": str(folder / "state")})
        self._stop = threading.Event()
        self._ready = threading.Event()
        self.record: server.Record | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._hold()))
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    @property
    def address(self) -> str:
        assert self.record
        return self.record.address

    async def _hold(self) -> None:
        async with server.embedded(self.settings, usual_ports=False) as self.record:
            self._ready.set()
            await asyncio.to_thread(self._stop.wait)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def killed_server(folder: Path) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """address, kill, start again at the same address with the same database."""
    first = Server(folder)
    record = first.record
    assert record
    again: list[subprocess.Popen[bytes]] = []
    program = shutil.which("temporal", path=str(Path(sys.executable).parent))
    assert program

    def kill() -> None:
        os.kill(record.pid, signal.SIGKILL)
        until(lambda: not record.alive, lambda: "the server's end")

    def start() -> None:
        port = record.address.rpartition(":")[2]
        command = [program, "server", "start-dev", "--ip", "127.0.0.1", "--port", port]
        command += ["--headless", "--log-level", "never"]
        command += ["--db-filename", str(folder / "state" / "temporal.db")]
        again.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    try:
        yield record.address, kill, start
    finally:
        first.close()
        for process in again:
            process.kill()
            process.wait()


@contextlib.contextmanager
def warm_beside(shell: Shell) -> Iterator[Callable[[], bool]]:
    """The warm process of a shell's state folder; gives whether a command of it has ended."""
    env = shell.environment()
    state = Path(env["TEMPORAL_STATE_DIR"])
    state.mkdir(exist_ok=True)
    argv = [sys.executable, "-P", "-m", "temporal.cli.warm", str(state), str(os.getpid())]
    process = subprocess.Popen([*shell.inside, *argv], env=env, cwd=shell.folder)
    try:
        until((state / SOCKET).exists, lambda: "its socket")
        yield lambda: until(
            lambda: psutil.Process(process.pid).cpu_times().children_user > 0,
            lambda: "the end of a command",
        )
    finally:
        process.kill()
        process.wait()


def until(look: Callable[[], Any], what: Callable[[], str]) -> Any:
    """What `look` gives once that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE_S:g} s: {what()}")
        time.sleep(0.02)
    return found


def network_of_its_own() -> list[str]:
    """argv that runs a command where every port is free; nothing where that cannot be had."""
    island = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    try:
        can = subprocess.run([*island, "true"], capture_output=True, timeout=10, check=False)
    except OSError:
        return []
    return island if can.returncode == 0 else []


def network_of(pid: int) -> list[str]:
    """argv that runs a command in the network of a process."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]
