"""Which snapshots go. Pure.

restic's own rules choose, for each source of each host on its own, found by tags that temporal-ops set;
here is decided whether what they chose may go. Whatever they say, the newest snapshot that was proved to
be restorable stays until a newer one is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporal.activities.backup.checking import Checks
from temporal.activities.backup.judging import undeclared
from temporal.activities.backup.listing import Listing, Snapshot
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.maintaining import (
    MOST_FORGOTTEN,
    Going,
    Group,
    MaintainChoice,
)
from temporal.shared.specs.backup.status import FUTURE, NAMED, age

KEPT_NOTES = 50
"""Notes of a kind, of a host's source, that stay: the newest."""
_EMPTY = re.compile(r'refusing to delete last snapshot of snapshot group \\*"host ([^"\\]*)')


@dataclass(frozen=True)
class Verdict:
    """What restic's rules say of the snapshots of one host: ids that stay, and that go."""

    keep: frozenset[str]
    remove: frozenset[str]


def verdicts(text: str | bytes) -> dict[str, Verdict]:
    """By host, what `restic forget --dry-run --json --group-by host` printed; nothing if there was
    nothing to judge."""
    if not text.strip():
        return {}
    return {
        str(group["host"]): Verdict(_ids(group.get("keep")), _ids(group.get("remove")))
        for group in json.loads(text)
    }


def _ids(snapshots: Iterable[Mapping[str, Any]] | None) -> frozenset[str]:
    return frozenset(str(each["id"]) for each in snapshots or ())


def refused_by_restic(said: str) -> str | None:
    """The host of which the rules would leave nothing, where restic itself found that (from 0.17)."""
    found = _EMPTY.search(said)
    return found[1] if found else None


def nothing_left(names: Iterable[str]) -> str:
    """Why nothing is forgotten."""
    return (
        f"nothing was forgotten: by the rules in `keep` no snapshot of {', '.join(names)} would stay."
        " Add a rule as `last: 3`"
    )


def chosen(
    plan: Protection,
    host: str,
    hosts: Sequence[str],
    found: Listing,
    said: Mapping[str, Mapping[str, Verdict]],
    now: datetime,
) -> MaintainChoice:
    """What goes, of what restic's rules say by source and host.

    Args:
        host: the one that does it; hosts: those whose snapshots it is about.
    """
    groups: list[Group] = []
    empty: list[str] = []
    for name in hosts:
        for source in plan.sources:
            verdict = said.get(source, {}).get(name)
            there = found.of(name, source)
            if verdict is None or not there:
                continue
            if not verdict.keep:
                empty.append(f"{name}/{source}")
            groups.append(_group(name, source, there, verdict, found, now))
    left = undeclared(plan, found, hosts)
    url = plan.repository.at(host)
    choice = MaintainChoice(
        host=host,
        url=url,
        checks=Checks(found.until(now).noted("check"), plan.maintain.subsets).due(),
        undeclared=tuple(map(str, left[:NAMED])),
    )
    if empty:
        return choice.model_copy(update={"refused": nothing_left(empty[:10])})
    going = sum(len(group.going) for group in groups)
    bounded = _oldest(groups, MOST_FORGOTTEN)
    listed = sum(len(group.going) for group in bounded)
    return choice.model_copy(
        update={
            "groups": tuple(group for group in bounded if group.going or group.left),
            "going": listed,
            "kept": sum(group.kept for group in groups),
            "more": going - listed,
            "notes": old_notes(plan, found, hosts)[:MOST_FORGOTTEN],
        }
    )


def _group(
    host: str,
    source: str,
    there: Sequence[Snapshot],
    verdict: Verdict,
    found: Listing,
    now: datetime,
) -> Group:
    going = [each for each in there if each.id in verdict.remove - verdict.keep]
    ahead = there[-1].time - now
    if ahead > FUTURE and going:
        # Most rules count from the newest: after a clock that jumped they would drop what is real.
        last = there[-1]
        why = (
            f"its newest snapshot {last.id[:8]} is {age(ahead)} ahead of the clock, so none of its old"
            f" ones goes ({len(going)} should). When no clock is wrong: `restic forget {last.id[:8]}`"
        )
        return Group(host=host, source=source, kept=len(there), left=why)
    proved = _proved(there, found.until(now).noted("proof", host, source))
    kept_by_proof = proved if any(each.id == proved for each in going) else ""
    goes = tuple(Going(id=each.id, time=each.time) for each in going if each.id != proved)
    return Group(
        host=host, source=source, kept=len(there) - len(goes), going=goes, proved=kept_by_proof
    )


def _proved(there: Sequence[Snapshot], notes: Sequence[Snapshot]) -> str:
    """The id of the newest snapshot that was proved, and not found wrong since."""
    results = {
        each.tags.get("of"): each.tags["result"]
        for each in notes
        if each.tags.get("result") in ("proved", "wrong")
    }
    return next((each.id for each in reversed(there) if results.get(each.id) == "proved"), "")


def _oldest(groups: Sequence[Group], most: int) -> list[Group]:
    """The groups with only the oldest `most` of all that go."""
    every = sorted((each.time, each.id) for group in groups for each in group.going)
    if len(every) <= most:
        return list(groups)
    now = {id for _, id in every[:most]}
    return [
        group.model_copy(
            update={
                "going": tuple(each for each in group.going if each.id in now),
                "kept": group.kept + sum(each.id not in now for each in group.going),
            }
        )
        for group in groups
    ]


def old_notes(plan: Protection, found: Listing, hosts: Sequence[str]) -> tuple[str, ...]:
    """Ids of notes that are many and old. The newest proof of each source stays, and of each part of
    the repository the newest check."""
    piles: dict[tuple[str, str, str], list[Snapshot]] = {}
    for each in found.notes:
        kind = each.tags.get("note", "")
        if kind == "proof":
            if each.host in hosts and each.source in plan.sources:
                piles.setdefault((kind, each.host, each.source), []).append(each)
        elif kind in ("check", "prune"):
            piles.setdefault((kind, "", ""), []).append(each)
    going: list[Snapshot] = []
    for pile in piles.values():
        newest = {
            (each.tags.get("subset"), each.tags.get("result"))
            if each.tags.get("note") == "check"
            else each.tags.get("result"): each.id
            for each in pile
        }
        kept = set(newest.values())
        going += [each for each in pile[:-KEPT_NOTES] if each.id not in kept]
    return tuple(each.id for each in sorted(going, key=lambda each: each.time))
