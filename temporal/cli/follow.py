"""The live view of one run: a few lines that stand still on a terminal, a line a change elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from temporal.cli.common import say

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.runs import PendingActivity, Run

NO_WORKER_AFTER_S = 3.0


class View(Protocol):
    """Shows the state of a run again and again."""

    def start(self) -> None: ...
    def update(self, run: Run) -> None: ...
    def note(self, text: str) -> None: ...
    def stop(self) -> None: ...


class Quiet:
    """Shows nothing: for scripts."""

    def start(self) -> None:
        """Nothing to start."""

    def update(self, run: Run) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Notes still go to standard error: they are why nothing moves."""
        say(text)

    def stop(self) -> None:
        """Nothing to stop."""


class Lines:
    """One line for each change, for logs and pipes."""

    def __init__(self) -> None:
        self._last = ""

    def start(self) -> None:
        """Nothing to start."""

    def update(self, run: Run) -> None:
        """Prints what is new."""
        for text in _lines(run):
            if text not in self._last:
                say(text)
        self._last = "\n".join(_lines(run))

    def note(self, text: str) -> None:
        """Prints it."""
        say(text)

    def stop(self) -> None:
        """Nothing to stop."""


class Live:
    """Lines that are redrawn in place."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live as RichLive

        self._run: Run | None = None
        self._began = time.monotonic()
        self._live = RichLive(
            get_renderable=self._draw, console=console, refresh_per_second=8, transient=True
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def update(self, run: Run) -> None:
        """The next redraw shows `run`."""
        self._run = run

    def note(self, text: str) -> None:
        """A line above, which stays."""
        self._live.console.print(text, style="yellow", highlight=False, markup=False)

    def stop(self) -> None:
        """Remove the lines; what is worth keeping was printed."""
        self._live.stop()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.markup import escape
        from rich.spinner import Spinner
        from rich.text import Text

        from temporal.cli.runs import took

        run = self._run
        head = f"{run.workflow if run else 'starting'} {took(time.monotonic() - self._began)}"
        rows: list[RenderableType] = [Spinner("dots", Text(head))]
        for activity in run.activities if run else []:
            rows.append(Text("  ").append_text(_activity_text(activity)))
        if run and run.stuck:
            rows.append(Text(f"  stuck: {escape(run.stuck)}", style="red", overflow="ellipsis"))
        return Group(*rows)


def view_for(console: Console) -> View:
    """The view that fits where the output goes."""
    return Live(console) if console.is_terminal else Lines()


async def show(handle: WorkflowHandle[Any, Any], ops: Ops, view: View) -> Run:
    """Shows a run until it is closed; returns its last state.

    A server that goes away is waited for: the run is not lost, and neither is its view.
    """
    from temporal.runs import follow
    from temporal.shared.errors import ConnectError

    watch = asyncio.create_task(_warn_without_worker(handle, ops, view))
    view.start()
    last: Run | None = None
    lost = False
    try:
        while last is None or last.closed is None:
            try:
                async for run in follow(handle, ops):
                    if lost:
                        view.note("the server answers again")
                        lost = False
                    last = run
                    view.update(run)
            except ConnectError as error:
                if not lost:
                    view.note(f"{error}; waiting for it to come back, the run is kept there")
                lost = True
                await asyncio.sleep(1)
        return last
    finally:
        watch.cancel()
        view.stop()


async def _warn_without_worker(handle: WorkflowHandle[Any, Any], ops: Ops, view: View) -> None:
    from temporal.runs import look, pollers

    await asyncio.sleep(NO_WORKER_AFTER_S)
    run = await look(handle, ops)
    if run.closed is None and not run.activities and not await pollers(ops, run.queue):
        view.note(
            f"no worker polls queue {run.queue!r}, so nothing happens yet; the run waits there. "
            "Start one: `temporal-ops worker`"
        )


def _lines(run: Run) -> list[str]:
    rows = [f"  {_activity_text(activity).plain}" for activity in run.activities]
    return [*rows, f"  stuck: {run.stuck}"] if run.stuck else rows


def _activity_text(activity: PendingActivity) -> Any:
    from rich.text import Text

    text = Text(activity.name, style="bold")
    progress = activity.progress
    if progress and progress.host:
        text.append(f" {progress.host}", style="cyan")
    if progress and progress.total:
        text.append(f" {progress.done}/{progress.total}", style="bold")
    if progress and progress.what:
        text.append(f" {progress.what}")
    elif activity.state != "running":
        text.append(f" {activity.state}", style="dim")
    if activity.attempt > 1:
        of = f" of {activity.attempts}" if activity.attempts else ""
        text.append(f" (try {activity.attempt}{of})", style="yellow")
    if activity.last_failure:
        text.append(f" after: {activity.last_failure.splitlines()[0][:160]}", style="yellow")
    return text
