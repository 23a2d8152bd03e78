"""Where the state of a run is shown again and again: in place on a terminal, by lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from temporal.cli.activity_view import activity_rows
from temporal.cli.common import say
from temporal.cli.words import took

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from temporal.runs import Run
    from temporal.runs.fleets import FleetNow, Fleets

LIFE_S = 60.0  # a log says so often at least how far a fleet is
FEW = 5  # activities that are listed one by one while nobody knows whether they are a fleet's
REDRAWN = 5  # times a second: each costs the same whether something changed or not
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class View(Protocol):
    """Shows the state of a run again and again.

    Attributes:
        fleet: knows how far the run's fleet is, if it has one.
        curious: whether that is worth asking for.
    """

    fleet: Fleets | None
    curious: bool

    def start(self) -> None: ...
    def update(self, run: Run) -> None: ...
    def note(self, text: str) -> None: ...
    def stop(self) -> None: ...


class Quiet:
    """Shows nothing: for scripts."""

    fleet: Fleets | None = None
    curious = False

    def start(self) -> None:
        """Nothing to start."""

    def update(self, run: Run) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Notes still go to standard error: they are why nothing moves."""
        say(text)

    def stop(self) -> None:
        """Nothing to stop."""


class Lines(Quiet):
    """One line for each change, for logs and pipes; of a fleet, what is of note."""

    curious = True

    def __init__(self) -> None:
        self._last: list[str] = []
        self._told: FleetNow | None = None
        self._spoke = time.monotonic()

    def update(self, run: Run) -> None:
        """Prints what is new."""
        if self.fleet and not self.fleet.silent:
            self._of_fleet(run, self.fleet.now)
            found = _stuck_rows(run)
        else:
            found = rows(run, ticking=False)
        now = [line.plain.rstrip() for line in found]
        for line in now:
            if line not in self._last:
                say(line)
        self._last = now

    def _of_fleet(self, run: Run, now: FleetNow | None) -> None:
        from temporal.cli.fleet_lines import sign_of_life, told

        if now is None or now == self._told:
            return
        lines = told(run.id, self._told, now)
        if not lines and time.monotonic() - self._spoke > LIFE_S:
            lines = [sign_of_life(now)]
        for line in lines:
            say(line)
        if lines:
            self._spoke = time.monotonic()
        self._told = now


class Live:
    """Lines that are redrawn in place, each cut to the terminal's width so that nothing jumps."""

    curious = True

    def __init__(self, console: Console) -> None:
        from rich.live import Live as RichLive

        from temporal.cli.fleet_view import FleetView

        self.fleet: Fleets | None = None
        self._of_fleet = FleetView()
        self._run: Run | None = None
        self._console = console
        self._began = time.monotonic()
        self._tty = contextlib.ExitStack()
        self._live = RichLive(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=REDRAWN,
            transient=True,
        )

    def start(self) -> None:
        """Begin to draw."""
        self._tty.enter_context(no_echo())
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
        self._tty.close()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        run = self._run
        seconds = run.seconds if run else time.monotonic() - self._began
        frame = _FRAMES[int(time.monotonic() * REDRAWN) % len(_FRAMES)]
        if run and self.fleet and self.fleet.now:
            width, height = self._console.size
            # The last line stays empty: the cursor stands there.
            drawn = self._of_fleet.lines(
                run, self.fleet.now, self.fleet.ended, width=width, height=height - 1, frame=frame
            )
            return Group(*drawn)
        head = Text.assemble((f"{frame} ", "cyan"), run.workflow if run else "starting")
        head.append(f" {took(max(seconds, 0.0))}", style="cyan").append(
            "   Ctrl-C asks", style="dim"
        )
        unanswered = bool(self.fleet and not self.fleet.silent)
        if run and unanswered and len(run.activities) > FEW:
            text = f"  {len(run.activities)} activities go on; asking the run how far its fleet is"
            lines = [head, Text(text, style="dim"), *_stuck_rows(run)]
        else:
            lines = [head, *(rows(run, ticking=True, most=self._console.height - 3) if run else [])]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)


@contextlib.contextmanager
def no_echo() -> Iterator[None]:
    """Keys typed meanwhile, the ^C of an interrupt too, would push the lines out of place."""
    import termios

    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def view_for(console: Console) -> View:
    """The view that fits where the output goes."""
    return Live(console) if console.is_terminal else Lines()


def rows(run: Run, *, ticking: bool, most: int = 1000, now: datetime | None = None) -> list[Text]:
    """What is worth showing of a run in progress, one idea a line.

    Args:
        ticking: with the times that change by themselves.
        most: at most so many lines; a last one says how many are left out.
    """
    from rich.text import Text

    when = now or datetime.now(UTC)
    found = [
        line for each in run.activities for line in activity_rows(each, ticking=ticking, now=when)
    ]
    if len(found) > most > 0:
        left = len(found) - most + 1
        found = [*found[: most - 1], Text(f"  ... and {left} more lines", style="dim")]
    return [*found, *_stuck_rows(run)]


def _stuck_rows(run: Run) -> list[Text]:
    from rich.text import Text

    if not run.stuck:
        return []
    found = [Text("  stuck: its own code fails, and is tried again", style="red")]
    return [*found, *(Text(f"    {line}", style="red") for line in run.stuck.splitlines())]
