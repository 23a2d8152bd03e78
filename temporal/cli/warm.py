"""The warm process: has imported everything, and forks for each command that a front hands over.

`temporal-ops up` starts it, and it ends with it: `python -m temporal.cli.warm STATE_DIR`. It has one
thread and no connection, so a fork of it is as good as a fresh process. It imports anew (by becoming
a new process) when a file of the code has changed. The way is known from Mercurial's `chg`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporal.cli import front

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
_PATIENCE_S = 5.0
"""A front that says half of what it wants gets no more."""
_LONGEST_PATH = 107
"""Bytes of the path of a Unix socket (unix(7))."""

_COMMAND = [sys.executable, "-P", "-m", "temporal.cli.warm"]
"""-P: a folder `temporal` in the working folder is not ours."""

_USED = (
    "temporal.cli.app",
    "temporal.cli.backup_views",
    "temporal.cli.follow",
    "temporal.client",
    "temporal.runs",
    "temporal.runs.backups",
    "temporal.server",
    "temporal.worker",
    "temporal.shared.specs.backup.status",
    "temporal.shared.specs.reading",
    "converge.engine",
    "converge.transport",
    "rich.console",
    "rich.live",
    "rich.text",
)


def start(state_dir: Path) -> None:
    """Starts the warm process of `state_dir`. It ends when the caller's process does."""
    if len(os.fsencode(state_dir / front.SOCKET)) > _LONGEST_PATH:
        return
    with (state_dir / "warm.log").open("wb") as log:
        subprocess.Popen(
            [*_COMMAND, str(state_dir), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the commands it runs, each by its own front
        )


@dataclass
class _Command:
    """One command that runs: its process, and the line to its front while that is there."""

    pid: int
    done: int
    line: socket.socket | None


class _Warm:
    """Takes commands until told to stop, or until the code has changed."""

    def __init__(self, path: Path, listener: socket.socket, owner: int) -> None:
        self._path = path
        self._mine = path.stat().st_ino
        self._code = dict(_code())
        self._folders = _folders()
        self._listener = listener
        self._running: dict[int, _Command] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._take)
        owner_ends = os.pidfd_open(owner)
        self._selector.register(owner_ends, selectors.EVENT_READ, self._stop)
        self._owner_ends = owner_ends
        self._open = True

    def serve(self) -> bool:
        """Until told to stop and the last command has ended; whether to begin anew with new code."""
        while self._open or self._running:
            if self._open and not self._running and self._stale():
                return True
            for key, _ in self._selector.select():
                if key.fd in self._selector.get_map():  # an earlier one may have removed it
                    key.data()
        return False

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._selector.unregister(self._owner_ends)
            self._selector.unregister(self._listener)
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._mine:  # and not that of a next one
                    self._path.unlink()
            self._listener.close()

    def _stale(self) -> bool:
        return dict(_code()) != self._code or _folders() != self._folders

    def _take(self) -> None:
        line, _ = self._listener.accept()
        line.settimeout(_PATIENCE_S)
        try:
            uid = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            request, descriptors = _received(line)
        except (OSError, ValueError, TypeError):
            line.close()
            return
        same = front.alike(dict(os.environ)) == request["alike"]
        if uid != os.geteuid() or not same or self._stale():
            with contextlib.suppress(OSError):
                line.sendall(front.REFUSED)
            line.close()
        else:
            self._fork(line, request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _fork(self, line: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
        child = os.fork()
        if child == 0:
            _become(request, descriptors, self._inherited(line))
        line.setblocking(False)
        command = _Command(child, os.pidfd_open(child), line)
        self._running[child] = command
        self._selector.register(command.done, selectors.EVENT_READ, lambda: self._ended(command))
        self._selector.register(line, selectors.EVENT_READ, lambda: self._told(command))
        with contextlib.suppress(OSError):
            line.sendall(front.STARTED)

    def _inherited(self, line: socket.socket) -> list[int]:
        """What a command must not keep open: the others' fronts would wait for it as well."""
        lines = [each.line for each in self._running.values() if each.line is not None]
        done = [each.done for each in self._running.values()]
        ours = [self._listener.fileno(), self._owner_ends]
        return [line.fileno(), *ours, *done, *(each.fileno() for each in lines)]

    def _told(self, command: _Command) -> None:
        """The front passes on signals; when it is gone, so is the terminal."""
        assert command.line is not None
        try:
            numbers = command.line.recv(64)
        except OSError:
            numbers = b""
        for number in numbers:
            one = bytes([number])
            wanted = {front.STOP: signal.SIGSTOP, front.CONTINUE: signal.SIGCONT}.get(one, number)
            _signal(command.pid, wanted)
        if not numbers:
            self._selector.unregister(command.line)
            command.line.close()
            command.line = None
            _signal(command.pid, signal.SIGCONT)
            _signal(command.pid, signal.SIGTERM)

    def _ended(self, command: _Command) -> None:
        _, status = os.waitpid(command.pid, 0)
        self._selector.unregister(command.done)
        os.close(command.done)
        del self._running[command.pid]
        if command.line is not None:
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):
                how = front.EXITED if code >= 0 else front.KILLED
                command.line.sendall(how + bytes([abs(code)]))
            self._selector.unregister(command.line)
            command.line.close()


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _received(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What the front asks for, and its descriptors: three streams and the working folder."""
    head, descriptors, _, _ = socket.recv_fds(line, 4, 4)
    try:
        (length,) = struct.unpack("!I", head)
        text = bytearray()
        while len(text) < length:
            more = line.recv(length - len(text))
            if not more:
                raise ValueError("half a request")
            text += more
        request: dict[str, Any] = json.loads(text)
        if len(descriptors) != 4:
            raise ValueError("no streams")
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return request, descriptors


def _become(request: dict[str, Any], descriptors: list[int], inherited: list[int]) -> None:
    """In the fork: the process that the front would have been. Does not return."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in request["ignored"]:  # as under nohup; a command may still listen to it
            signal.signal(number, signal.SIG_IGN)
        for number in inherited:
            os.close(number)
        *streams, folder = descriptors
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        os.fchdir(folder)
        for descriptor in descriptors:
            os.close(descriptor)
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        for number, (encoding, errors) in enumerate(request["streams"]):
            name, mode = _STREAMS[number]
            binary = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - it stays open
            lines = binary.isatty() or name == "stderr"
            stream = io.TextIOWrapper(binary, encoding, errors, line_buffering=lines)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        sys.argv = [request["program"], *request["arguments"]]
        from temporal.cli import app

        status = app.status()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _code() -> Iterator[tuple[str, tuple[int, int]]]:
    """Each file of loaded code that a person may edit, with its time and size."""
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if name and not any(name.startswith(folder + os.sep) for folder in installed):
            with contextlib.suppress(OSError):
                found = Path(name).stat()
                yield name, (found.st_mtime_ns, found.st_size)


def _folders() -> list[int]:
    """Changes when a distribution is installed, changed or removed."""
    names = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return [Path(name).stat().st_mtime_ns for name in sorted(names)]


def _load() -> None:
    """Import what commands use, and what is registered."""
    for name in _USED:
        importlib.import_module(name)
    from converge.resources import load_all
    from temporal import config, registry

    load_all()
    registry.load(config.load())


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        fresh = path.with_suffix(f".{os.getpid()}")
        before = os.umask(0o077)
        listener.bind(str(fresh))
        os.umask(before)
        listener.listen(64)
        fresh.replace(path)
        yield listener


def main() -> None:
    """The program: STATE_DIR, and the process id of its owner."""
    state_dir, owner = Path(sys.argv[1]), int(sys.argv[2])
    _load()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    path = state_dir / front.SOCKET
    with _listening(path) as listener:
        again = _Warm(path, listener, owner).serve()
    if again:
        os.execv(_COMMAND[0], [*_COMMAND, *sys.argv[1:]])


if __name__ == "__main__":
    main()
