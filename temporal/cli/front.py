"""Hands a command to the warm process of `temporal-ops up`, if there is one for this project.

To start Python and import the SDK takes most of a second; a process that has done so already and
forks answers at once. Nothing else differs: the command has our arguments, environment, working
folder, umask and streams, gets our signals, and ends with our exit code. Whatever stands in the way
(no such process, another user's, changed code, another Python) is no error: the command then runs
here, as it would have. See `temporal.cli.warm` for the other side. This module is imported before
anything else, so it imports next to nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys

from temporal.places import default_state_dir

SOCKET = "warm.sock"
COMMANDS = frozenset({"run", "exec", "runs", "provision", "backup", "list"})
"""Commands that are handed over: those of which one would run many, and that wait for a server."""

STARTED, REFUSED, EXITED, KILLED = b"s", b"r", b"e", b"k"
STOP, CONTINUE = b"\x00", b"\xff"
"""What the front sends beside the numbers of signals."""
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OFF = {"0", "false", "no", "off"}


def alike(env: dict[str, str]) -> list[str]:
    """What must be the same on both sides: who and where we are, this Python, and what it imports."""
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "pid", "user")]
    ids = [str(number) for number in (os.geteuid(), os.getegid(), *sorted(os.getgroups()))]
    found = sorted(f"{name}={value}" for name, value in env.items() if name.startswith("PYTHON"))
    modules = env.get("TEMPORAL_MODULES")
    if modules:
        found += [modules, os.getcwd()]
    return [sys.executable, sys.version, *spaces, *ids, *found]


def hand_over(arguments: list[str]) -> int | None:
    """The exit status of the command, run by the warm process; None where it has to be run here."""
    if not arguments or arguments[0] not in COMMANDS:
        return None
    if None in (sys.stdin, sys.stdout, sys.stderr):
        return None  # started with one of them closed: nothing to hand over
    if os.environ.get("TEMPORAL_WARM", "").lower() in _OFF:
        return None
    try:
        line = _connect(os.environ.get("TEMPORAL_STATE_DIR") or default_state_dir())
    except OSError:
        return None
    with line:
        try:
            taken = _asked(line, arguments)
        except OSError:
            taken = False
        return _forwarding(line) if taken else None


def _connect(state_dir: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(os.path.join(state_dir, SOCKET))
        # It gets our environment, secrets too: nobody else's process may have it.
        _, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            raise PermissionError(f"{state_dir} is another user's")
    except BaseException:
        line.close()
        raise
    return line


def _asked(line: socket.socket, arguments: list[str]) -> bool:
    """Whether it has taken the command."""
    env = dict(os.environ)
    mask = os.umask(0)
    os.umask(mask)
    request = {
        "arguments": arguments,
        "program": sys.argv[0],
        "environment": env,
        "alike": alike(env),
        "umask": mask,
        "ignored": [each for each in _FORWARDED if signal.getsignal(each) is signal.SIG_IGN],
        "streams": [[each.encoding, each.errors] for each in (sys.stdin, sys.stdout, sys.stderr)],
    }
    text = json.dumps(request).encode()  # lone surrogates, which stand for other bytes, survive it
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        head = struct.pack("!I", len(text))
        socket.send_fds(line, [head], [0, 1, 2, here])
        line.sendall(text)
    finally:
        os.close(here)
    return line.recv(1) == STARTED


def _forwarding(line: socket.socket) -> int:
    """Passes signals on until the command has ended; gives its exit status.

    A command that a signal ended ends us by the same one, so that the shell sees what it would see.
    """

    def tell(what: bytes) -> None:
        with contextlib.suppress(OSError):  # it has just ended; what it left is read below
            line.sendall(what)

    def suspend() -> None:
        tell(STOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        tell(CONTINUE)

    for number in _FORWARDED:
        signal.signal(number, lambda number, _frame: tell(bytes([number])))
    signal.signal(signal.SIGTSTP, lambda _number, _frame: suspend())
    ended = _last_words(line)
    if len(ended) < 2:
        sys.stderr.write(
            "error: the process that ran this command was killed. What it started goes on: "
            "`temporal-ops runs list`\n"
        )
        return 1
    if ended[:1] == KILLED:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to set
            signal.signal(ended[1], signal.SIG_DFL)
        os.kill(os.getpid(), ended[1])
    return ended[1]


def _last_words(line: socket.socket) -> bytes:
    words = b""
    with contextlib.suppress(OSError):
        while len(words) < 2 and (more := line.recv(2 - len(words))):
            words += more
    return words
