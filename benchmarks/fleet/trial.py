"""One trial: a Temporal server, one worker and one command, each a process of its own, on N hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet.place import Place
from benchmarks.processes import command, environment, running
from temporal.server import SQLITE_PRAGMAS

GRPC = 7233
"""In the lab server's network every port is free."""
ID = "fleet"
MOST_SECONDS = 3 * 3600.0
_LOOK_S = 0.5


@dataclass
class Trial:
    """What N hosts cost.

    Attributes:
        seconds: of the whole command, by the clock.
        load: of this machine before and after it, over a minute; the latter has our own work in it.
        counts: hosts by how they ended.
        runs: of each run in the chain: events, bytes, actions by kind.
        cpu: seconds of worker, Temporal server, command, and everything on the hosts.
        peak: most MiB that worker, Temporal server and command had resident.
        files: most file descriptors that the worker had open.
        connections: most ssh connections that were open at a time.
    """

    hosts: int
    seconds: float = 0.0
    date: str = ""
    load: tuple[float, float] = (0.0, 0.0)
    counts: dict[str, int] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)
    files: int = 0
    connections: int = 0

    @property
    def actions(self) -> float:
        """Temporal actions a host."""
        return sum(sum(run["actions"].values()) for run in self.runs) / self.hosts

    @property
    def longest(self) -> int:
        """Events of the longest history."""
        return max(int(run["events"]) for run in self.runs)

    @property
    def largest(self) -> int:
        """Bytes of the largest history."""
        return max(int(run["bytes"]) for run in self.runs)


class Failed(Exception):
    """The command did not end as it should; says what it said."""


def measure(place: Place, hosts: int, ask_anew: int = 0) -> Trial:
    """Brings so many hosts to a state that they are in already.

    Args:
        ask_anew: events after which the server asks a run to go on as new; 0: its own default.

    Raises:
        Failed: a host was not unchanged.
    """
    with tempfile.TemporaryDirectory(prefix="temporal-ops-fleet-") as name, ExitStack() as stack:
        folder = Path(name)
        address = f"127.0.0.1:{GRPC}"
        env = environment(
            folder,
            {
                "TEMPORAL_ADDRESS": address,
                "TEMPORAL_STORE": str(folder / "store"),
                "TEMPORAL_WARM": "false",  # the command itself is what is measured
                "HOME": str(folder),
            },
        )
        server = stack.enter_context(_server(place, folder, env, ask_anew))
        worker = stack.enter_context(
            running(place.inside(*command(), "worker"), env, "health http")
        )
        place.write(folder, 1)  # makes the state, and loads what is loaded once
        _command(place, folder, env, "first")
        place.write(folder, hosts)
        trial = Trial(hosts, date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        before = _cpu(worker.pid), _cpu(server.pid), place.cpu_seconds()
        load = os.getloadavg()[0]
        with _watching(place, worker.pid, trial):
            start = time.perf_counter()
            report, used = _command(place, folder, env, ID)
            trial.seconds = time.perf_counter() - start
        trial.load = (load, os.getloadavg()[0])
        trial.counts = report["state"]["counts"]
        trial.cpu = {
            "worker": _cpu(worker.pid) - before[0],
            "temporal": _cpu(server.pid) - before[1],
            "command": used.ru_utime + used.ru_stime,
            "hosts": place.cpu_seconds() - before[2],
        }
        trial.peak = {
            "worker": _peak(worker.pid),
            "temporal": _peak(server.pid),
            "command": used.ru_maxrss / 1024,
        }
        read = [sys.executable, "-m", "benchmarks.fleet.chain", address, ID]
        trial.runs = json.loads(
            subprocess.run(place.inside(*read), env=env, stdout=subprocess.PIPE, check=True).stdout
        )
    if trial.counts != {"unchanged": hosts}:
        raise Failed(f"not all are unchanged: {trial.counts}")
    return trial


@contextmanager
def _server(
    place: Place, folder: Path, env: Mapping[str, str], ask_anew: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The embedded server's program with its settings, in the lab server's network."""
    argv = [str(Path(sys.executable).parent / "temporal"), "server", "start-dev", "--headless"]
    argv += ["--ip", "127.0.0.1", "--port", str(GRPC), "--log-level", "error"]
    argv += ["--db-filename", str(folder / "temporal.db")]
    argv += [f"--sqlite-pragma={pragma}" for pragma in SQLITE_PRAGMAS]
    if ask_anew:
        suggested = f"limit.historyCount.suggestContinueAsNew={ask_anew}"
        argv += ["--dynamic-config-value", suggested]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(place.inside(*argv), env=dict(env), stdout=log, stderr=log)
    try:
        _until_up(place, process, folder)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_up(place: Place, process: subprocess.Popen[bytes], folder: Path) -> None:
    look = place.inside("sh", "-c", f"ss -Hltn 'sport = :{GRPC}' | grep -q .")
    deadline = time.monotonic() + 60
    while subprocess.run(look, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"no Temporal server: {(folder / 'server.log').read_text()[-2000:]}")
        time.sleep(0.1)


def _command(
    place: Place, folder: Path, env: Mapping[str, str], workflow_id: str
) -> tuple[dict[str, Any], Any]:
    """`temporal-ops run ProvisionFleet`: its result, and what it used."""
    argv = [*command(), "run", "ProvisionFleet", "-f", "fleet.yml", "--id", workflow_id, "--json"]
    out, err = folder / f"{workflow_id}.out", folder / f"{workflow_id}.err"
    with out.open("wb") as said, err.open("wb") as noted:
        process = subprocess.Popen(
            place.inside(*argv), env=dict(env), cwd=folder, stdout=said, stderr=noted
        )
        late = threading.Timer(MOST_SECONDS, process.kill)
        late.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            late.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise Failed(f"{err.read_text()[-3000:]}\n{out.read_text()[-3000:]}")
    value: dict[str, Any] = json.loads(out.read_text())
    return value["result"], used


@contextmanager
def _watching(place: Place, worker: int, trial: Trial) -> Iterator[None]:
    """Notes what is open while it runs."""
    over = threading.Event()

    def look() -> None:
        process = psutil.Process(worker)
        while not over.wait(_LOOK_S):
            trial.files = max(trial.files, process.num_fds())
            trial.connections = max(trial.connections, place.sessions())

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _peak(pid: int) -> float:
    """MiB, the most that was resident so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
