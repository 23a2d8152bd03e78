"""Progress of a running activity: sent as its heartbeat, read by whoever follows the run."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from pydantic import BaseModel
from temporalio import activity

PULSE_S = 5.0


class Progress(BaseModel):
    """How far an activity is.

    Attributes:
        done: units finished, 0 or more.
        total: units in all; 0 where nobody can know.
        what: what is being worked on now, a few words.
        host: the host it is about, if one.
    """

    done: int = 0
    total: int = 0
    what: str = ""
    host: str = ""


def beat(progress: Progress) -> None:
    """Send `progress` as the heartbeat of the running activity."""
    activity.heartbeat(progress)


class Pulse:
    """Beats for an async activity while it waits: the last progress again, every 5 seconds.

        async with Pulse(Progress(what="connecting")) as pulse:
            pulse.beat(Progress(done=1, total=3, what="..."))

    It says that the worker lives and its event loop turns. What must not take for ever needs a
    timeout of its own.
    """

    def __init__(self, progress: Progress) -> None:
        self._last = progress
        self._task: asyncio.Task[None] | None = None

    def beat(self, progress: Progress) -> None:
        """Send `progress` now, and again until the next."""
        self._last = progress
        beat(progress)

    async def __aenter__(self) -> Pulse:
        beat(self._last)
        self._task = asyncio.create_task(self._keep_on())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            beat(self._last)
