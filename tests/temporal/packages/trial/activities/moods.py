"""Activities that are slow, big, silent, broken or talkative."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from temporal.shared.options import options
from temporal.shared.progress import Progress, beat
from temporal.shared.secrets import resolve
from trial.models import Item


@activity.defn
@options(
    start_to_close=timedelta(seconds=41),
    schedule_to_close=timedelta(seconds=42),
    schedule_to_start=timedelta(seconds=43),
    heartbeat=timedelta(seconds=44),
    retry=RetryPolicy(maximum_attempts=7, initial_interval=timedelta(seconds=3)),
)
async def declared() -> str:
    """All options declared."""
    return "done"


@activity.defn
async def plain_queue() -> str:
    """The queue that this ran on; no options declared."""
    return activity.info().task_queue


@activity.defn
async def make_item() -> Item:
    """A model."""
    return Item(name="spade", size=3)


@activity.defn
async def big(size: int) -> str:
    """A text of `size` bytes."""
    return "x" * size


@activity.defn
async def count_all(*values: str) -> int:
    """All bytes of `values`."""
    return sum(len(value) for value in values)


@activity.defn
async def undecodable() -> Any:
    """What no JSON can hold."""
    return threading.Lock()


@activity.defn
async def raise_long(size: int) -> str:
    """Fails with a message of `size` bytes."""
    raise ValueError("y" * size)


@activity.defn
async def raise_details(kind: str) -> None:
    """Fails with a detail that is too big, or that no JSON can hold."""
    raise ApplicationError("why", threading.Lock() if kind == "lock" else "x" * 3_000_000)


@activity.defn
@options(start_to_close=timedelta(seconds=1), retry=RetryPolicy(maximum_attempts=1))
async def hang() -> None:
    """Never ends, and beats."""
    while True:
        beat(Progress(what="still here"))
        await asyncio.sleep(0.1)


@activity.defn
@options(
    start_to_close=timedelta(minutes=5),
    heartbeat=timedelta(seconds=1),
    retry=RetryPolicy(maximum_attempts=1),
)
async def silent() -> None:
    """Declares a heartbeat and never beats."""
    await asyncio.sleep(300)


@activity.defn
@options(
    start_to_close=timedelta(minutes=2),
    heartbeat=timedelta(seconds=2),
    retry=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
)
async def slow(log: str, until: str) -> str:
    """Notes in `log` that it began, waits for the file `until`, notes that it ended."""
    _note(log, f"began {activity.info().attempt}")
    while not _exists(until):
        beat(Progress(what="waiting"))
        await asyncio.sleep(0.05)
    _note(log, f"ended {activity.info().attempt}")
    return "waited"


def _note(log: str, line: str) -> None:
    with Path(log).open("a") as file:
        file.write(line + "\n")


def _exists(path: str) -> bool:
    return Path(path).exists()


@activity.defn
@options(start_to_close=timedelta(minutes=2))
def slow_in_thread(log: str, until: str) -> str:
    """The same, not async: runs in the thread pool. Returns the thread's name."""
    _note(log, "began")
    while not _exists(until):
        time.sleep(0.05)
    return threading.current_thread().name


@activity.defn
@options(start_to_close=timedelta(minutes=2), retry=RetryPolicy(maximum_attempts=1))
async def block_loop(log: str, until: str) -> str:
    """Blocks the event loop, as an async activity never should."""
    _note(log, "began")
    while not _exists(until):
        time.sleep(0.05)  # noqa: ASYNC251 - the mistake on trial
    return "unblocked"


@activity.defn
async def return_secret(reference: str, form: str) -> Any:
    """Gives the secret away in its result."""
    secret = resolve(reference)
    text = secret.decode()
    forms: dict[str, Any] = {
        "text": f"the password is {text}!",
        "bytes": b"<" + secret + b">",
        "model": {"inner": [{"value": text}], text: 1},
        "nested": json.dumps({"value": text}),
    }
    return forms[form]


@activity.defn
@options(heartbeat=timedelta(seconds=30))
async def heartbeat_secret(reference: str, until: str) -> None:
    """Gives the secret away in its heartbeats."""
    text = resolve(reference).decode()
    while not _exists(until):
        beat(Progress(what=f"using {text}"))
        activity.heartbeat({"raw": [text]})
        await asyncio.sleep(0.05)


@activity.defn
@options(retry=RetryPolicy(maximum_attempts=1))
async def raise_secret(reference: str) -> None:
    """Gives the secret away in an error, its cause and its details."""
    text = resolve(reference).decode()
    try:
        raise KeyError(text)
    except KeyError as error:
        raise RuntimeError(f"login with {text} failed", text) from error


@activity.defn
async def log_secret(reference: str) -> None:
    """Gives the secret away in its logs."""
    text = resolve(reference).decode()
    activity.logger.info("using %s", text)
    try:
        raise ValueError(f"bad {text}")
    except ValueError:
        activity.logger.exception("it failed")
