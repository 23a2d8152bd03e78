"""A fleet in words: its counts, what it waits for, why hosts failed, and its bar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from temporal.cli.activity_view import plain
from temporal.cli.words import took
from temporal.runs.fleets import FAILED

if TYPE_CHECKING:
    from rich.text import Text

    from temporal.runs import Run
    from temporal.runs.fleets import Failure, FleetNow

KINDS = (
    "changed",
    "unchanged",
    "done",
    "ended",
    "drifted",
    "incomplete",
    "outdated",
    "failed",
    "unreachable",
)


def reason(host: str, because: str) -> str:
    """The first line of why a host failed, without its name, which stands before it already.

    >>> reason("web1", "Retryable: web1: nothing listens on port 22")
    'nothing listens on port 22'
    """
    first = plain(because.strip().partition("\n")[0])
    said = re.compile(rf"(?:\w+: )?{re.escape(plain(host))}: ")
    while host and (found := said.match(first)):
        first = first[found.end() :]
    return first


def alike(failures: Sequence[Failure]) -> list[tuple[Failure, int]]:
    """The first of each kind of failure, and how many more there are of it: those whose reasons differ
    in numbers only, such as addresses."""
    kinds: dict[tuple[str, str], tuple[Failure, int]] = {}
    for each in failures:
        kind = each.ending, re.sub(r"\d+", "0", reason(each.host, each.because))
        first, more = kinds.get(kind, (each, -1))
        kinds[kind] = first, more + 1
    return list(kinds.values())


def counts_line(fleet: FleetNow, width: int) -> str:
    """How many hosts ended how, run, and wait; shorter words where the width asks for it."""
    running = [(len(fleet.running), "running"), (fleet.left, "waiting")]
    ended = [(count, kind) for kind in KINDS if (count := fleet.counts.get(kind, 0))]
    ended += [(n, kind) for kind, n in sorted(fleet.counts.items()) if n and kind not in KINDS]
    long = "   ".join(f"{count} {kind}" for count, kind in [*ended, *running])
    if len(long) + 2 <= width:
        return f"  {long}"
    short = [(count, kind) for count, kind in ended if kind not in FAILED]
    short = [*short, *([(fleet.failed, "failed")] if fleet.failed else []), *running]
    return "  " + "  ".join(f"{count} {kind}" for count, kind in short)


def waits(run: Run, fleet: FleetNow) -> list[tuple[str, str]]:
    """What it waits for, or why it goes no further, and the command that helps: (text, style)."""
    found: list[tuple[str, str]] = []
    ask = f"temporal-ops runs {{}} {run.id}"
    if run.stuck:
        found.append((f"stuck: {run.stuck.splitlines()[0]}", "red"))
    going = len(fleet.running)
    still = f"; {going} host{'s' * (going != 1)} still run{'s' * (going == 1)}" if going else ""
    if fleet.aborted:
        found.append((f"aborted by {fleet.aborted}{still}", "red"))
    elif fleet.unhealthy:
        found.append((fleet.unhealthy, "red"))
    elif fleet.lapsed:
        found.append((f"nobody approved in time: {fleet.lapsed}", "red"))
    elif fleet.waiting:
        found.append((f"waits for approval of {approval(fleet)}", "yellow"))
        found.append((f"  {ask.format('approve')}", "bold"))
    if fleet.paused and not fleet.aborted:
        found.append((f"paused by {fleet.paused}{still}", "yellow"))
        found.append((f"  {ask.format('resume')}", "bold"))
    if fleet.planning and not fleet.waiting:
        found.append(("plans every host first; nothing is done to any of them yet", "dim"))
    idle = not fleet.running and not run.activities and fleet.next and fleet.left
    if idle and not found and 0 < fleet.wave < fleet.waves:
        found.append((f"rests before wave {fleet.wave + 1} of {fleet.waves}", "yellow"))
    return [(plain(text), style) for text, style in found]


def approval(fleet: FleetNow) -> str:
    """What somebody is asked to approve, in a few words."""
    asked = fleet.waiting
    assert asked is not None  # whoever asks has looked
    if asked.at == "canary":
        return f"the canary {asked.plan[:12]}, before {asked.hosts} more hosts"
    return f"plan {asked.plan[:12]}, which changes {asked.changing} of {asked.hosts} hosts"


def head(run: Run, fleet: FleetNow, width: int, frame: str = "") -> Text:
    """The first line; the hint at its end only if it fits."""
    from rich.text import Text

    line = Text.assemble((f"{frame} ", "cyan") if frame else "", plain(run.workflow))
    if fleet.planning:
        seen = max(0, fleet.next - len(fleet.running))
        line.append(f"  {seen} of {fleet.total} planned")
    else:
        if fleet.waves > 1:
            line.append(f"  wave {max(1, fleet.wave)} of {fleet.waves}")
        line.append(f"  {fleet.done} of {fleet.total} done")
    line.append(f"  {took(max(run.seconds, 0.0))}", style="cyan")
    hint = "   Ctrl-C asks"
    return line.append(hint, style="dim") if line.cell_len + len(hint) <= width else line


def bar(fleet: FleetNow, width: int) -> Text:
    """All hosts as one line: ended, failed, running, and to come; a failed one is never too few to be
    seen."""
    from rich.text import Text

    cells = max(1, min(width, 100) - 4)
    parts = [fleet.done - fleet.failed, fleet.failed, len(fleet.running)]
    total = max(1, fleet.total, sum(parts))
    sizes = [max(1, cells * part // total) if part > 0 else 0 for part in parts]
    while sum(sizes) > cells:
        sizes[sizes.index(max(sizes))] -= 1
    rest = cells - sum(sizes)
    if rest and sum(parts) >= total:  # what rounding left over
        sizes[parts.index(max(parts))] += rest
        rest = 0
    line = Text("  ")
    styles = (("█", "green"), ("▓", "red"), ("▒", "cyan"), ("░", "dim"))
    for (sign, style), size in zip(styles, [*sizes, rest], strict=True):
        line.append(sign * size, style=style)
    return line
