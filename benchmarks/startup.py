"""How long a person waits: for the help, for the first finished run; and what an idle worker takes."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from benchmarks.processes import command, environment, running

READY = "Ctrl-C stops"
IDLE_S = 5.0


def help_time(turns: int = 9) -> Figure:
    """Seconds of `temporal-ops --help`."""
    with tempfile.TemporaryDirectory() as folder:
        env = environment(Path(folder))
        times = []
        for turn in range(turns + 1):
            start = time.perf_counter()
            subprocess.run([*command(), "--help"], env=env, check=True, capture_output=True)
            if turn:  # the first one reads the disk
                times.append(time.perf_counter() - start)
    return Figure("temporal-ops --help", "s", tuple(times), bound=0.25)


def first_run(turns: int = 5) -> list[Figure]:
    """Seconds from `temporal-ops up` on an empty folder to the end of the first TestWorkflow that
    `temporal-ops run` starts once `up` says that it is ready; and the memory of that worker, idle."""
    until_ready, until_done, memory = [], [], []
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            env = environment(Path(folder))
            start = time.perf_counter()
            with running([*command(), "up"], env, READY) as up:
                until_ready.append(time.perf_counter() - start)
                done = subprocess.run(
                    [*command(), "run", "TestWorkflow", "--input", '"World"'],
                    env=env,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                until_done.append(time.perf_counter() - start)
                if "Hello, World!" not in done.stdout:
                    raise RuntimeError(f"the run answered {done.stdout!r}")
                time.sleep(IDLE_S)
                memory.append(psutil.Process(up.pid).memory_info().rss / 2**20)
    return [
        Figure("temporal-ops up, until ready", "s", tuple(until_ready)),
        Figure("temporal-ops up, until the first finished run", "s", tuple(until_done), bound=4.0),
        Figure(
            "idle worker, resident",
            "MiB",
            tuple(memory),
            bound=150.0 * 10**6 / 2**20,
            note=f"the process of `up`, {IDLE_S:.0f} s after its first run; without the server's",
        ),
    ]
