"""A lab server with something to back up, and the two ways of doing so: ours, and restic alone."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.processes import command, environment, running
from lab import Lab, Machine, gc

PASSWORD = "benchmark"
DATA = "/srv/data"
_RESTIC = f"export RESTIC_PASSWORD={PASSWORD} HOME=/root; restic -q -r"


class Failed(Exception):
    """Something did not end as it should; says what it said."""


@dataclass(frozen=True)
class Took:
    """Seconds of one backup.

    Attributes:
        command: of the whole command, by the clock.
        run: of the run, from its start to its end as Temporal has them; of restic alone, the same as
            `command`.
        restic: of restic itself, as it says.
    """

    command: float
    run: float
    restic: float = 0.0


@dataclass
class Place:
    """The lab server, and a running `temporal-ops up`."""

    lab: Lab
    machine: Machine
    folder: Path
    env: Mapping[str, str]
    pid: int = 0
    _runs: int = field(default=0)

    def on(self, script: str) -> str:
        """What a script prints on the server."""
        done = self.lab.exec(self.machine, ["sh", "-euc", script], timeout=1800)
        if done.returncode != 0:
            raise Failed(f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout.strip()

    def fill(self, folders: int, files: int, size: int) -> None:
        """Random files of `size` bytes, so many in each of so many folders."""
        self.on(
            f"rm -rf {DATA}; mkdir -p {DATA}; i=0; while [ $i -lt {folders} ]; do i=$((i + 1));"
            f" mkdir {DATA}/$i; head -c {files * size} /dev/urandom |"
            f" split -b {size} -d -a 5 - {DATA}/$i/file; done; sync"
        )

    def fresh(self, repository: str) -> None:
        """An empty repository, and nothing remembered of another."""
        self.on(
            f"rm -rf {repository} /root/.cache /var/lib/converge/cache /var/lib/converge/backup;"
            f" {_RESTIC} {repository} init; sync"
        )

    def bare(self, repository: str) -> Took:
        """restic alone, on the server, by its clock."""
        began, ended = self.on(
            f"date +%s%N; {_RESTIC} {repository} backup {DATA} >/dev/null; date +%s%N"
        ).split()
        seconds = (int(ended) - int(began)) / 1e9
        return Took(seconds, seconds)

    def ours(self, repository: str, *, manifest: bool = True) -> Took:
        """`temporal-ops run BackUp`."""
        self._runs += 1
        spec = {
            "name": "bench",
            "hosts": [{"lab": self.machine.name, "lab_name": self.machine.lab}],
            "repository": {"url": repository, "password": "env://BENCH_PASSWORD"},
            "sources": {"data": {"files": [DATA]}},
            "manifest": manifest,
            # restic alone runs as it comes.
            "nice": False,
        }
        (self.folder / "backup.yml").write_text(json.dumps(spec))
        name = f"bench-{self._runs}"
        began = time.perf_counter()
        report = self._ask("run", "BackUp", "-f", "backup.yml", "--id", name)
        seconds = time.perf_counter() - began
        if report["result"]["state"]["counts"] != {"done": 1}:
            raise Failed(json.dumps(report))
        run = self._ask("runs", "show", name)["run"]
        between = datetime.fromisoformat(run["closed"]) - datetime.fromisoformat(run["started"])
        return Took(seconds, between.total_seconds())

    def _ask(self, *words: str) -> Any:
        done = subprocess.run(
            [*command(), *words, "--json"],
            env=dict(self.env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        return json.loads(done.stdout)

    def worker_peak(self) -> float:
        """MiB, the most that the worker had resident so far."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0

    @contextmanager
    def up(self) -> Iterator[None]:
        """With a Temporal server and a worker that has just begun."""
        with running([*command(), "up"], self.env, "Ctrl-C stops") as process:
            self.pid = process.pid
            deadline = time.monotonic() + 60
            while not list(self.folder.rglob("warm.sock")):
                if time.monotonic() > deadline:
                    raise Failed("`up` answers no commands")
                time.sleep(0.05)
            yield


@contextmanager
def place(release: str) -> Iterator[Place]:
    """A lab server with restic, and a folder for what runs here."""
    gc()
    lab = Lab(f"bench-backup-{os.getpid()}", owner=os.getpid(), packages=["restic"])
    try:
        (machine,) = lab.up(1, release)
        with tempfile.TemporaryDirectory(prefix="tb-") as name:
            folder = Path(name)
            env = environment(folder, {"BENCH_PASSWORD": PASSWORD, "HOME": name})
            yield Place(lab, machine, folder, env)
    finally:
        lab.down()
