"""What snapshots and notes in a repository mean for what was promised. Pure.

Everything is told from the spec: a source that was never backed up leaves nothing in a repository, and
is the worst of all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from temporal.activities.backup.checking import Checks
from temporal.activities.backup.listing import Listing, Snapshot
from temporal.activities.backup.saved import last_line
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.status import (
    FUTURE,
    NAMED,
    Kept,
    Lock,
    RepositoryStatus,
    Row,
    Snapshots,
    State,
    Undeclared,
    age,
    together,
)

# What both releases say of a snapshot's file that cannot be read; `snapshots` ends with 0 all the same.
_UNREADABLE = re.compile(r'^(?:could not load snapshot |Ignoring ")([0-9a-f]{8,64})', re.MULTILINE)


def row(
    plan: Protection,
    host: str,
    source: str,
    found: Listing,
    hit: Sequence[str],
    sizes: Mapping[str, int],
    now: datetime,
    blind: tuple[datetime, datetime] | None = None,
) -> Row:
    """What is known of one source of one host.

    Args:
        hit: beginnings of the ids of snapshots that are known to be damaged.
        sizes: bytes in snapshots, by id, where that is known.
    """
    known = found.until(now)
    there, notes = known.of(host, source), known.noted("proof", host, source)
    proved = _last(notes, "proved")
    wrong = _last(notes, "wrong")
    newest = there[-1] if there else None
    reasons: list[tuple[State, str, bool]] = []
    if newest is None:
        reasons.append(("missing", "there is no snapshot of it", True))
    else:
        old = now - newest.time
        if old > plan.rpo:
            promised = (
                f"its newest snapshot is {age(old)} old; {age(plan.rpo)} at most were promised"
            )
            reasons.append(("overdue", promised, True))
        if wrong is not None and (proved is None or wrong.time > proved.time):
            of = wrong.tags.get("of", "")[:8]
            said = f"what was restored of snapshot {of} was not what had been backed up"
            reasons.append(("wrong", said, True))
        if _is_hit(newest, hit):
            reasons.append(("wrong", f"its newest snapshot {newest.id[:8]} is damaged", True))
        elif blind and newest.time > blind[0] and not _proved_since(newest, notes, blind[1]):
            said = (
                "its repository is damaged, and whether that hits its newest snapshot is not known"
            )
            reasons.append(("unproved", f"{said}: drill it", True))
        reasons += _proof(plan, proved, there[0], now)
    state: State = reasons[0][0] if reasons else "protected"
    hurt = [each.id[:8] for each in there[:-1] if _is_hit(each, hit)]
    more = [f"older snapshots are damaged: {', '.join(hurt[-3:])}"] if hurt else []
    last = notes[-1] if notes else None
    return Row(
        host=host,
        source=source,
        state=state,
        because="; ".join([*(text for _, text, _ in reasons), *more]),
        wrong=any(each == "wrong" for each, _, _ in reasons),
        late=any(late for _, _, late in reasons),
        newest=newest.time if newest else None,
        oldest=there[0].time if there else None,
        snapshots=len(there),
        id=newest.id if newest else "",
        size=sizes.get(newest.id) if newest else None,
        proof=proved.time if proved else None,
        proof_of=proved.tags.get("of", "") if proved else "",
        took=_number(proved.tags.get("took", "")) if proved else None,
        result=last.tags.get("result", "") if last else "",
        tried=last.time if last else None,
    )


def _proof(
    plan: Protection, proved: Snapshot | None, first: Snapshot, now: datetime
) -> Iterable[tuple[State, str, bool]]:
    if proved is None:
        late = now - first.time > plan.proof
        told = f"{age(plan.proof)} at most were promised"
        said = f"no restore of it was ever proved, for {age(now - first.time)}; {told}"
        yield "unproved", said if late else "no restore of it was proved yet", late
    elif now - proved.time > plan.proof:
        promised = f"{age(plan.proof)} at most were promised"
        said = f"its restore was last proved {age(now - proved.time)} ago; {promised}"
        yield "stale", said, True


def unknown(host: str, source: str, because: str) -> Row:
    """A source that nobody could look at."""
    return Row(host=host, source=source, state="unknown", because=because, late=True)


def _last(notes: Sequence[Snapshot], result: str) -> Snapshot | None:
    return next((each for each in reversed(notes) if each.tags.get("result") == result), None)


def _proved_since(snapshot: Snapshot, notes: Sequence[Snapshot], since: datetime) -> bool:
    last = [each for each in notes if each.tags.get("of") == snapshot.id and each.time > since]
    return bool(last) and last[-1].tags.get("result") == "proved"


def _is_hit(snapshot: Snapshot, hit: Sequence[str]) -> bool:
    return any(snapshot.id.startswith(each) for each in hit)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def repository(
    plan: Protection,
    url: str,
    by: str,
    found: Listing,
    hosts: Sequence[str] | None,
    said: str,
    locks: Iterable[Lock],
    now: datetime,
) -> RepositoryStatus:
    """What is known of the repository itself.

    Args:
        hosts: those of the spec that it is for; None: not all are known here.
        said: what restic said beside the list of snapshots.
    """
    checks = Checks(found.until(now).noted("check"), plan.maintain.subsets)
    pruned = found.noted("prune")
    ahead = [each for each in found.snapshots if each.time > now + FUTURE]
    return RepositoryStatus(
        url=url,
        by=by,
        checked=checks.last.time if checks.last else None,
        result=checks.last.tags.get("result", "") if checks.last else "",
        damaged=checks.damaged,
        packs=checks.packs,
        hit=checks.hit,
        hits=checks.hits,
        unreadable=tuple(dict.fromkeys(_UNREADABLE.findall(said)))[:NAMED],
        size=_bytes(pruned[-1].tags.get("size", "")) if pruned else None,
        locks=tuple(each.said(now) for each in locks if each.stale(now))[:NAMED],
        future=tuple(
            f"snapshot {each.id[:8]} of {each.host}/{each.source} is {age(each.time - now)} ahead of the"
            " clock, and does not count"
            for each in ahead[:NAMED]
        ),
        undeclared=() if hosts is None else undeclared(plan, found, hosts)[:NAMED],
    )


def undeclared(plan: Protection, found: Listing, hosts: Sequence[str]) -> tuple[Undeclared, ...]:
    """What is in the repository of this backup, and not in its spec."""
    declared = {(host, source) for host in hosts for source in plan.sources}
    others: dict[tuple[str, str], list[Snapshot]] = {}
    for each in found.snapshots:
        if (each.host, each.source) not in declared:
            others.setdefault((each.host, each.source), []).append(each)
    return tuple(
        Undeclared(host=host, source=source, snapshots=len(each), newest=each[-1].time)
        for (host, source), each in sorted(others.items())
    )


def kept(
    plan: Protection, found: Listing, hosts: Sequence[str], sizes: Mapping[str, int]
) -> Snapshots:
    """All snapshots of the backup, with what is known of each."""
    hit = Checks(found.noted("check"), plan.maintain.subsets).hit
    proofs = {each.tags.get("of", ""): each.tags.get("result", "") for each in found.noted("proof")}
    every = [
        Kept(
            host=each.host,
            source=each.source,
            id=each.id,
            time=each.time,
            size=sizes.get(each.id),
            proof=proofs.get(each.id, ""),
            damaged=_is_hit(each, hit),
            declared=each.host in hosts and each.source in plan.sources,
        )
        for each in found.snapshots
    ]
    return together([Snapshots(total=len(every), snapshots=tuple(every))])


def _bytes(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def sizes(text: str | bytes) -> dict[str, int]:
    """Bytes in each snapshot, by id, of what `restic snapshots --json` printed; restic before 0.17 does
    not tell."""
    found = {}
    for value in json.loads(text) or []:
        summary = value.get("summary")
        if isinstance(summary, dict) and "total_bytes_processed" in summary:
            found[str(value["id"])] = int(summary["total_bytes_processed"])
    return found


def late_said(seconds: int, said: str) -> str:
    """Why a look came to no end."""
    words = last_line(said)
    return f"the repository did not answer within {seconds} s" + (f": {words}" if words else "")
