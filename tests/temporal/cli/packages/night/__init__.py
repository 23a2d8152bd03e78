"""What goes wrong at night: workflows whose own code fails, activities that fail with causes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

from temporal.shared import Progress, options
from temporal.shared.progress import Pulse

WORKFLOWS: list[type] = []
ACTIVITIES: list[Callable[..., Any]] = []
ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn
class Stuck:
    """Its own code raises what is no failure of Temporal's: the task is tried for ever."""

    @workflow.run
    async def run(self) -> None:
        raise ZeroDivisionError("the pool was never filled")


@workflow.defn
class Chain:
    """Fails with the chain of its activity's causes."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("fail_in_a_chain")


@workflow.defn
class Patient:
    """Waits for the file `until`, and says how far it is."""

    @workflow.run
    async def run(self, until: str) -> str:
        waited: str = await workflow.execute_activity("wait_for_file", until)
        return waited


WORKFLOWS += [Stuck, Chain, Patient]


@activity.defn
@options(start_to_close=timedelta(seconds=20), retry=ONCE)
async def fail_in_a_chain() -> None:
    """Fails, for a reason that has a reason."""
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise ValueError("the index cannot be written") from error
    except ValueError as error:
        raise RuntimeError("the backup failed") from error


@activity.defn
@options(
    start_to_close=timedelta(minutes=2),
    heartbeat=timedelta(seconds=10),
    retry=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
)
async def wait_for_file(until: str) -> str:
    """Beats until the file is there."""
    async with Pulse(Progress(done=1, total=3, what="waiting", host="web1")):
        await asyncio.to_thread(_wait, Path(until))
    return "waited"


def _wait(until: Path) -> None:
    while not until.exists() and not activity.is_cancelled():
        time.sleep(0.05)


ACTIVITIES += [fail_in_a_chain, wait_for_file]
