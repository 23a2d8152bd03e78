"""A fleet on a terminal: a function of how far it is and of the room there is. It draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporal.cli.activity_view import about, activity_rows, plain
from temporal.cli.fleet_words import alike, bar, counts_line, head, reason, waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.text import Text

    from temporal.runs import PendingActivity, Run
    from temporal.runs.fleets import FleetNow

STYLES = {"changed": "green", "failed": "red", "unreachable": "red", "drifted": "yellow"}
NAME_WIDTH = 28
"""Cells for the name of a host at the most; a longer one is cut."""
ROOM_FOR_A_BAR = 12
"""Lines of a terminal from which on one of them is spent on a bar."""


def placed(before: Sequence[str], running: Sequence[str], room: int) -> tuple[str, ...]:
    """Which hosts stand in which of `room` lines: who has a line keeps it until it ends, and the next
    one takes that; only where none is left to take it do the lines below move up.

    >>> placed(("a", "b", "c"), ("a", "c", "d", "e"), 3)
    ('a', 'd', 'c')
    """
    there = set(running)
    kept = [name if name in there else "" for name in before[:room]]
    stand = set(kept)
    waiting = iter([name for name in running if name not in stand])
    filled = [name or next(waiting, "") for name in kept]
    filled += [name for name, _ in zip(waiting, range(room - len(filled)), strict=False)]
    return tuple(name for name in filled if name)


class FleetView:
    """Remembers which host stands in which line, so that none jumps."""

    def __init__(self) -> None:
        self._slots: tuple[str, ...] = ()
        self._column = 8

    def lines(
        self,
        run: Run,
        fleet: FleetNow,
        ended: Mapping[str, str],
        *,
        width: int,
        height: int,
        frame: str = "",
        now: datetime | None = None,
    ) -> list[Text]:
        """At most `height` lines of at most `width` cells each.

        The most important come first where there is no room for all: the head, a failure, what it
        waits for, counts, more failures and what runs, a bar.
        """
        from rich.text import Text

        when = now or datetime.now(UTC)
        room = max(1, height) - 1
        least = 1 if fleet.failed and room else 0
        waiting = [Text(f"  {text}", style=style) for text, style in waits(run, fleet)]
        waiting = waiting[: max(0, room - least)]
        room -= len(waiting)
        above: list[Text] = []
        if room > least:
            above.append(Text(counts_line(fleet, width)))
            room -= 1
        if height >= ROOM_FOR_A_BAR and room > least:
            above.insert(0, bar(fleet, width))
            room -= 1
        below = self._listed(run, fleet, ended, room, when)
        drawn = [head(run, fleet, width, frame), *above, *waiting, *below]
        for line in drawn:
            line.truncate(max(1, width), overflow="ellipsis")
        return drawn

    def _listed(
        self, run: Run, fleet: FleetNow, ended: Mapping[str, str], room: int, now: datetime
    ) -> list[Text]:
        known = frozenset(fleet.running)
        by_host = {host: each for each in run.activities if (host := about(each, known))}
        beside = [each for each in run.activities if not about(each, known)]
        others = [row for each in beside for row in _other(each, now)]
        unseen = sum(each.state == "waiting" and each.attempt == 1 for each in beside)
        if fleet.names and len(fleet.names) + len(others) <= room:
            self._widen(fleet.names)
            return [*others, *(self._row(h, fleet, ended, by_host, now) for h in fleet.names)]
        running = list(dict.fromkeys((*fleet.running, *by_host)))
        bad = _share(fleet.failed, len(running) + len(others), room)
        failures = self._failures(fleet, bad)
        good = room - len(failures)
        others = others[:good]
        good -= len(others)
        fits = len(running) <= good
        self._slots = placed(self._slots, running, good if fits else max(0, good - 1))
        self._widen(self._slots)
        rows = [self._row(host, fleet, ended, by_host, now) for host in self._slots]
        hidden = len(running) - len(rows)
        if hidden > 0 and good:
            told = f"; {unseen} wait for a worker" if unseen else ""
            rows.append(_dim(f"  ... and {hidden} more{told}"))
        return [*failures, *others, *rows]

    def _failures(self, fleet: FleetNow, room: int) -> list[Text]:
        """One a line; where there are more than fit, one of each kind and how many are like it."""
        fits = fleet.failed <= min(room, len(fleet.failures))
        found = [(each, 0) for each in fleet.failures] if fits else alike(fleet.failures)
        shown = found[: room if fits or len(found) < room else max(1, room - 1)]
        if not room or not shown:
            return []
        self._widen([each.host for each, _ in shown])
        lines = [self._bad(each.host, each.ending, each.because, more) for each, more in shown]
        hidden = fleet.failed - sum(1 + more for _, more in shown)
        if hidden > 0 and len(lines) < room:
            lines.append(_dim(f"  ... and {hidden} more that failed"))
        return lines

    def _row(
        self,
        host: str,
        fleet: FleetNow,
        ended: Mapping[str, str],
        by_host: Mapping[str, PendingActivity],
        now: datetime,
    ) -> Text:
        failure = next((each for each in fleet.failures if each.host == host), None)
        if failure and host not in fleet.running:
            return self._bad(host, failure.ending, failure.because)
        line = self._named(host)
        if host in by_host:
            return line.append_text(_doing(host, by_host[host], now))
        if host in fleet.running:
            return line.append("begins or ends", style="dim")
        kind = ended.get(host, "")
        return line.append(kind or "waits", style=STYLES.get(kind, "dim"))

    def _bad(self, host: str, ending: str, because: str, more: int = 0) -> Text:
        told = reason(host, because) or "it does not say why"
        line = self._named(host, "! ", "red")
        if more:
            line.append(f"and {more} more ", style="bold red")
        return line.append(f"{plain(ending)}: {told}", style="red")

    def _named(self, host: str, mark: str = "  ", style: str = "bold") -> Text:
        from rich.text import Text

        name = Text(plain(host), style=style)
        name.truncate(self._column, overflow="ellipsis", pad=True)
        return Text(mark, style=style).append_text(name).append("  ")

    def _widen(self, hosts: Iterable[str]) -> None:
        """The column of names grows and never shrinks: what stands beside it would jump."""
        longest = max((len(plain(host)) for host in hosts), default=0)
        self._column = min(NAME_WIDTH, max(self._column, longest))


def _share(failed: int, running: int, room: int) -> int:
    """Lines for what failed: a third where what runs wants more than there is, else what is left."""
    if room <= 0:
        return 0
    return min(failed, max(1, room // 3, room - running))


def _doing(host: str, activity: PendingActivity, now: datetime) -> Text:
    """What is done to a host; its name stands before it already."""
    [line, *more] = list(activity_rows(activity, ticking=True, now=now, named=False))
    for each in more:
        why = each.plain.strip().removeprefix("the try before failed: ")
        line.append(f": {reason(host, why)}", style="yellow")
    return line


def _other(activity: PendingActivity, now: datetime) -> list[Text]:
    """What goes on beside the hosts: a health check, somebody being told."""
    if not (activity.text or activity.attempt > 1):
        return []
    return list(activity_rows(activity, ticking=True, now=now))


def _dim(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="dim")
