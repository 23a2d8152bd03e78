"""Following one run to its end: what is seen of it, and why nothing moves if nothing does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from temporal.cli.views import Quiet, View, view_for
from temporal.cli.words import took

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.runs import Run

__all__ = ["Orphaned", "Quiet", "View", "show", "view_for"]

NOT_TAKEN_S = 3.0  # a worker that is there takes what is due within milliseconds
BUSY_S = 20.0


class Orphaned(Exception):
    """The server was another command's own, and ended with it; the run is kept in its database."""


async def show(handle: WorkflowHandle[Any, Any], ops: Ops, view: View) -> Run:
    """Shows a run until it is closed; returns its last state.

    A server that goes away is waited for: the run is not lost, and neither is its view.

    Raises:
        NoSuchRun, ConnectError: the run is gone, or the server answers and refuses.
        Orphaned: the server will not come back unless somebody starts it again.
    """
    from temporal.runs import follow
    from temporal.runs.fleets import Fleets, answers_of_a_fleet
    from temporal.shared.errors import ConnectError

    watch = _Watch(ops, view)
    last: Run | None = None
    lost = False

    def redrawn() -> None:
        if last is not None and last.closed is None:
            view.update(last)

    view.start()
    try:
        while last is None or last.closed is None:
            try:
                async for run in follow(handle, ops):
                    if lost:
                        view.note("the server answers again")
                        lost = False
                    if last is None and view.curious and answers_of_a_fleet(ops, run.workflow):
                        view.fleet = Fleets(handle, ops, redrawn)
                    last = run
                    view.update(run)
                    if view.fleet:
                        view.fleet.look_at(run)
                    watch.look_at(run)
            except ConnectError as error:
                if not _gone(error):
                    raise
                if _orphaned(ops):
                    raise Orphaned from None
                if not lost:
                    view.note(f"{error}\nwaiting for it to come back; the run is kept there")
                lost = True
                await asyncio.sleep(1)
        return last
    finally:
        watch.stop()
        if view.fleet:
            view.fleet.stop()
        view.stop()


def _gone(error: BaseException) -> bool:
    """Whether nobody answered, which may pass; a refusal does not."""
    from temporalio.service import RPCError, RPCStatusCode

    cause = error.__cause__
    passing = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
    return isinstance(cause, RPCError) and cause.status in passing


def _orphaned(ops: Ops) -> bool:
    """Whether the server was the embedded one of this project, which no command runs any more."""
    from temporal import server
    from temporal.config import FOUND

    embedded = ops.settings.origin("address").kind == FOUND
    return embedded and server.running(ops.settings) is None


class _Watch:
    """Says once why nothing moves: no worker, or none that is free."""

    def __init__(self, ops: Ops, view: View) -> None:
        self._ops = ops
        self._view = view
        self._task: asyncio.Task[None] | None = None

    def look_at(self, run: Run) -> None:
        """The state of the run has changed; does it wait for a worker now?"""
        self.stop()
        if run.closed is None and (run.due or any(each.due for each in run.activities)):
            self._task = asyncio.create_task(self._warn(run))

    def stop(self) -> None:
        """Nothing more is to be said."""
        if self._task:
            self._task.cancel()

    async def _warn(self, run: Run) -> None:
        from temporalio.service import RPCError

        from temporal.runs import pollers

        await asyncio.sleep(max(NOT_TAKEN_S - run.waiting, 0))
        try:
            there = await pollers(self._ops, run.queue)
            if not there:
                self._view.note(
                    f"no worker polls queue {run.queue!r}, so nothing happens yet; the run waits "
                    "there. Start one: `temporal-ops worker`"
                )
                return
            await asyncio.sleep(max(BUSY_S - run.waiting, 0))
        except RPCError:
            return  # whoever follows the run sees that the server is gone, and says so
        self._view.note(
            f"{there} worker(s) polled queue {run.queue!r} within the last minute, but none has "
            f"taken this run's work for {took(run.waiting)}: they are busy or gone"
        )
