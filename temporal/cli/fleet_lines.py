"""A fleet where lines are only ever added, as in a log: what is of note, not each host."""

from __future__ import annotations

from temporal.cli.activity_view import plain
from temporal.cli.fleet_words import approval, counts_line, reason
from temporal.cli.words import many
from temporal.runs.fleets import FleetNow

MOST_FAILURES = 20
"""Lines for failures at one look; with more, the report at the end names the rest."""
ENDLESS = 10_000


def told(run_id: str, before: FleetNow | None, now: FleetNow) -> list[str]:
    """What has happened between two looks, a line each; `before` is None at the first."""
    was = before or FleetNow(total=now.total)
    lines = [f"{many(now.total, 'host')}, {many(now.waves, 'wave')}"] if before is None else []
    if now.planning and not was.planning:
        lines.append(f"plans {many(now.total, 'host')}; nothing is done to any of them yet")
    known = {(each.host, each.because) for each in was.failures}
    fresh = [each for each in now.failures if (each.host, each.because) not in known]
    for each in fresh[:MOST_FAILURES]:
        why = reason(each.host, each.because) or "it does not say why"
        lines.append(plain(f"! {each.host}: {each.ending}: {why}"))
    unnamed = now.failed - was.failed - min(len(fresh), MOST_FAILURES)
    if fresh and unnamed > 0:  # those that the run itself does not name are counted at a wave's end
        lines.append(f"! ... and {unnamed} more failed")
    if not now.planning:
        lines += _waves(was, now)
    ask = f"temporal-ops runs {{}} {run_id}"
    if now.waiting and now.waiting != was.waiting:
        lines.append(f"waits for approval of {approval(now)}")
        lines.append(f"  {ask.format('approve')}")
    if was.waiting and not now.waiting and not now.lapsed and not now.aborted:
        lines.append("approved")
    if now.paused != was.paused:
        lines.append(f"paused by {now.paused}: {ask.format('resume')}" if now.paused else "resumed")
    for field, text in (
        ("aborted", "aborted by {}; what has begun goes on to its end"),
        ("unhealthy", "{}"),
        ("lapsed", "nobody approved in time: {}"),
    ):
        value = getattr(now, field)
        if value and value != getattr(was, field):
            lines.append(text.format(value))
    return [plain(line) for line in lines]


def sign_of_life(now: FleetNow) -> str:
    """How far it is, for a wave that takes long."""
    return f"{now.done} of {now.total} done: {counts_line(now, ENDLESS).strip()}"


def _waves(was: FleetNow, now: FleetNow) -> list[str]:
    begun = 0 if was.planning or not was.next else was.wave
    current = now.wave if now.next else 0
    if current <= begun:
        return []
    lines = []
    if begun:
        over = f"wave {begun} is" if current == begun + 1 else f"waves {begun} to {current - 1} are"
        lines.append(f"{over} over; {sign_of_life(now)}")
    size = ""
    if len(now.sizes) == now.waves and now.sizes:
        size = f": {many(now.sizes[current - 1], 'host')}"
    return [*lines, f"wave {current} of {now.waves} begins{size}"]
