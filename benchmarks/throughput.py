"""This project's worker against a bare SDK worker: same workflow, same server, in turn.

Both workers run all the time, each on its own queue; only one has work at a time. A turn is 300 runs
of each, in slices that alternate, and as often one first as the other: what else happens on the
machine for a while then hits both. A turn's rate is its runs over the time of its slices.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks.figures import Figure
from benchmarks.processes import command, environment, running
from temporal import config, server

CONCURRENCY, TURNS = 20, 5
SLICE, SLICES = 50, 6
RUNS = SLICE * SLICES
_OURS, _BARE = "bench-ours", "bench-bare"


async def burst(client: Client, queue: str, runs: int, concurrency: int) -> float:
    """Workflows a second of `runs` runs, at most `concurrency` of them at once."""
    slots = asyncio.Semaphore(concurrency)

    async def one() -> None:
        async with slots:
            await client.execute_workflow(
                "TestWorkflow", "World", id=f"bench-{uuid.uuid4()}", task_queue=queue
            )

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(runs)))
    return runs / (time.perf_counter() - start)


async def _alternate(
    address: str, pids: dict[str, int], turns: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """For each queue the workflows a second, and the worker's CPU milliseconds a run, by turn."""
    client = await Client.connect(address)
    rates: dict[str, list[float]] = {name: [] for name in pids}
    work: dict[str, list[float]] = {name: [] for name in pids}
    for name in pids:
        await burst(client, name, SLICE, CONCURRENCY)
    for _ in range(turns):
        seconds = dict.fromkeys(pids, 0.0)
        before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
        for number in range(SLICES):
            for name in (_OURS, _BARE) if number % 2 else (_BARE, _OURS):
                seconds[name] += SLICE / await burst(client, name, SLICE, CONCURRENCY)
        for name, pid in pids.items():
            rates[name].append(RUNS / seconds[name])
            work[name].append((_cpu_seconds(pid) - before[name]) / RUNS * 1000)
    return rates, work


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measure(turns: int = TURNS) -> list[Figure]:
    """The ratio of a turn's two rates, and what is behind it."""
    with tempfile.TemporaryDirectory(prefix="temporal-ops-bench-") as name:
        folder = Path(name)
        return asyncio.run(_measure(folder, turns))


async def _measure(folder: Path, turns: int) -> list[Figure]:
    settings = config.load({"TEMPORAL_STATE_DIR": str(folder / "server")})
    async with server.embedded(settings, usual_ports=False) as record:
        here = {"TEMPORAL_ADDRESS": record.address, "TEMPORAL_TASK_QUEUE": _OURS}
        bare = [sys.executable, "-m", "benchmarks.bare", record.address, _BARE]
        with (
            running([*command(), "worker"], environment(folder, here), "health http") as ours,
            running(bare, environment(folder), "polling") as other,
        ):
            rates, work = await _alternate(
                record.address, {_OURS: ours.pid, _BARE: other.pid}, turns
            )
    ratios = tuple(a / b for a, b in zip(rates[_OURS], rates[_BARE], strict=True))
    return [
        Figure(
            "throughput, ours / bare SDK worker",
            "",
            ratios,
            bound=0.95,
            at_least=True,
            note=f"{RUNS} runs of one activity, {CONCURRENCY} at once, in turn on one server",
        ),
        Figure("workflows a second, ours", "/s", tuple(rates[_OURS])),
        Figure("workflows a second, bare", "/s", tuple(rates[_BARE])),
        Figure("worker CPU a run, ours", "ms", tuple(work[_OURS])),
        Figure("worker CPU a run, bare", "ms", tuple(work[_BARE])),
    ]
