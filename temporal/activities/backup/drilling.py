"""Drill the restores of a host."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.framing import Record
from temporal.activities.backup import drilling_sh, proving, saving
from temporal.activities.backup.listing import Listing, Snapshot
from temporal.activities.backup.looking import snapshots
from temporal.shared import Permanent, Progress, options
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.backup.backup import MOST_HOURS, Protection
from temporal.shared.specs.backup.drilling import DrillChoice, DrilledHost, DrilledSource
from temporal.shared.specs.backup.proofs import Chosen

_NEVER = datetime.min.replace(tzinfo=UTC)


@activity.defn
@options(
    start_to_close=timedelta(minutes=20),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=4),
)
async def choose_drill(plan: Protection, member: Member) -> DrillChoice:
    """Which of a host's sources are to be tried now: those whose last drill is longest ago.

    The drill, not the proof: one that can never be proved must not keep all others from their turn.

    Raises:
        Retryable: the host was not reached.
    """
    name = member.host.name
    try:
        found = await snapshots(plan, name, member.host)
    except Permanent as error:
        return DrillChoice(host=name, because=error.message.removeprefix(f"{name}: "))
    return chosen(plan, name, found, datetime.now(UTC))


def chosen(plan: Protection, host: str, found: Listing, now: datetime) -> DrillChoice:
    """The same, of what is in the repository."""
    found = found.until(now)
    newest = {source: found.of(host, source)[-1:] for source in plan.sources}
    missing = tuple(source for source, has in newest.items() if not has)
    turn: list[tuple[datetime, Snapshot]] = []
    for source, has in newest.items():
        notes = found.noted("proof", host, source)
        turn += [(notes[-1].time if notes else _NEVER, snapshot) for snapshot in has]
    turn.sort(key=lambda each: each[0])
    most = plan.drill.sources or len(turn)
    picked = []
    for _, snapshot in turn[:most]:
        kind = plan.sources[snapshot.source].kind
        one = proving.chosen(snapshot, plan.name, kind)
        if isinstance(one, str):
            return DrillChoice(host=host, because=f"{snapshot.source}: {one}")
        picked.append(one)
    return DrillChoice(host=host, chosen=tuple(picked), missing=missing)


@activity.defn
@options(
    start_to_close=timedelta(hours=MOST_HOURS),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=6),
)
async def drill_host(plan: Protection, member: Member, choice: DrillChoice) -> DrilledHost:
    """Restores what was chosen into scratch, proves it, notes that in the repository, and cleans up.

    The host does it by itself. An attempt whose predecessor died attaches to what goes on there and
    reads on. That a restore failed, or is wrong, is a result.

    Raises:
        Retryable: the host was not reached, or another drill of the same backup goes on there.
    """
    name = member.host.name
    if choice.because:
        return DrilledHost(host=name, because=choice.because)
    missing = tuple(
        DrilledSource(
            source=source,
            kind=plan.sources[source].kind,
            ending="failed",
            because="there is no snapshot of it, so there is nothing to try",
        )
        for source in choice.missing
    )
    if not choice.chosen:
        return DrilledHost(host=name, sources=missing)
    source = ""

    def show(record: Record) -> Progress | None:
        nonlocal source
        if record.kind == "source":
            source = record.words[1]
        return proving.progress(record, name, source)

    def script(values: dict[str, bytes]) -> str:
        return drilling_sh.drill_script(plan, name, choice.chosen, values, int(time.time()))

    try:
        records = await saving.on_host(member, plan.references, script, f"drill.{plan.name}", show)
    except Permanent as error:
        return DrilledHost(host=name, because=error.message.removeprefix(f"{name}: "))
    return DrilledHost(host=name, sources=(*drilled(choice.chosen, records), *missing))


def drilled(tried: Sequence[Chosen], records: Iterable[Record]) -> tuple[DrilledSource, ...]:
    """What came of each, from the records of `drilling_sh.drill_script`. One of which they say nothing
    has failed."""
    of = {each.source: each for each in tried}
    found: dict[str, DrilledSource] = {}
    told = proving.Told()
    for record in records:
        match record.words:
            case ("source", name) if name in of:
                told = proving.Told()
            case ("result", name, verdict, why, status) if name in of:
                values: dict[str, Any] = {
                    **_of(of[name]),
                    **told.values,
                    "ending": verdict,
                    "seconds": told.seconds,
                    "size": told.size,
                    "because": told.because(why, int(status), proving.text(record))
                    or told.unrestored,
                }
                found[name] = DrilledSource(**values)
            case ("noted", name) if name in found:
                found[name] = found[name].model_copy(update={"noted": True})
            case ("unnoted", name, kind, status) if name in found:
                why = proving.explained(kind, int(status), proving.text(record))
                because = "; ".join(filter(None, (found[name].because, f"it is not noted: {why}")))
                found[name] = found[name].model_copy(update={"because": because})
            case _:
                told.take(record)
    lost = "the host said nothing of it"
    return tuple(
        found.get(name) or DrilledSource(**_of(each), ending="failed", because=lost)
        for name, each in of.items()
    )


def _of(one: Chosen) -> dict[str, Any]:
    return {"source": one.source, "kind": one.kind, "snapshot": one.snapshot, "time": one.time}
