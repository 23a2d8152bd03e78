"""What a host said of the maintenance of a repository, as values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from converge.framing import Record
from temporal.activities.backup import inspecting_sh
from temporal.activities.backup.inspecting import why
from temporal.activities.backup.saved import last_line, text
from temporal.shared.progress import Progress
from temporal.shared.specs.backup.maintaining import Checked, Maintained
from temporal.shared.specs.backup.status import Lock

_AMOUNT = re.compile(r"^(total prune|remaining):.*/ +([\d.]+) +([KMGT]?i?B) *$", re.MULTILINE)
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_STEPS = {"forget": "snapshots could not be forgotten", "prune": "it could not be pruned"}


def maintained(host: str, ids: int, records: Iterable[Record], now: datetime) -> Maintained:
    """What came of it, from the records of `maintaining_sh.maintain_script`.

    Args:
        ids: how many snapshots and notes were to be forgotten.
    """
    values: dict[str, Any] = {"host": host}
    problems: dict[str, str] = {}
    checks: dict[str, dict[str, Any]] = {}
    part = step = machine = ""
    locks: list[Lock] = []
    for record in records:
        match record.words:
            case ("ended", "forget" | "prune" as step, kind, status) if kind != "ok":
                problems[step] = f"{_STEPS[step]}: {why(kind, int(status), text(record))}"
                locks = []
            case ("left", count) if count.isdigit():
                values |= {"remain": int(count), "forgotten": max(0, ids - int(count))}
            case ("left", _):
                problems["left"] = "whether what was forgotten is gone could not be seen"
            case ("pruned",):
                said = amounts(text(record))
                values |= {"freed": said.get("total prune", 0), "size": said.get("remaining")}
            case ("checked", part, result, kind, status, took, hits, sure):
                checks[part] = {
                    "part": part,
                    "result": result,
                    "hits": int(hits) if hits.isdigit() else None,
                    "because": _because(result, kind, int(status), text(record), sure),
                    "seconds": float(took),
                }
            case ("packs" | "hit" as what,) if part in checks:
                checks[part][what] = tuple(text(record).split())
            case ("noted", "prune", kind, status) if kind != "ok":
                problems["noted"] = f"its size is not noted: {why(kind, int(status), text(record))}"
            case ("noted", name, kind, status) if name in checks:
                checks[name]["noted"] = kind == "ok"
                if kind != "ok":
                    said_of = why(kind, int(status), text(record))
                    before = checks[name]["because"]
                    unnoted = f"the result is not noted: {said_of}"
                    checks[name]["because"] = "; ".join(filter(None, [before, unnoted]))
            case ("unlocked", *pids):
                values["unlocked"] = values.get("unlocked", 0) + len(pids)
            case ("machine", machine):
                pass
            case ("lock", id):
                one = inspecting_sh.lock(id, record.body, machine)
                locks += [one] if one else []
                if step in problems and locks:
                    problems[step] = f"{_STEPS[step]}: {locked(locks, now)}"
    if values.get("remain") and "forget" not in problems:
        problems["left"] = f"{values['remain']} snapshots that were forgotten are still there"
    return Maintained(
        **values,
        problems=tuple(problems.values()),
        checks=tuple(Checked(**c) for c in checks.values()),
    )


def locked(locks: Iterable[Lock], now: datetime) -> str:
    """Who holds the repository, and what to do."""
    return "it is locked: " + "; ".join(each.said(now) for each in locks)


def _because(result: str, kind: str, status: int, said: str, sure: str) -> str:
    if result == "ok":
        return ""
    if result == "failed":
        return why(kind, status, said)
    seen = "" if sure == "yes" else " (not confirmed under its lock, since somebody else has it)"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return ((lines[0] if lines else last_line(said)) + seen)[:500]


def amounts(said: str) -> dict[str, int]:
    """Bytes that `restic prune` names.

    >>> amounts("total prune:          35 blobs / 28.617 MiB\\nremaining:             2 blobs / 250 B")
    {'total prune': 30007099, 'remaining': 250}
    """
    return {
        name: round(float(number) * _UNITS.get(unit, 1))
        for name, number, unit in _AMOUNT.findall(said)
    }


def progress(record: Record, host: str, what: str) -> Progress | None:
    """What a record means for who watches; nothing, if it means nothing."""
    match record.words:
        case ("working", *words):
            return Progress(what=working(words), host=host)
        case ("progress",):
            return Progress(what=f"{what}: {text(record)}"[:200], host=host)
    return None


def working(words: Iterable[str]) -> str:
    """What goes on, in a few words.

    >>> working(["check", "3/12"]), working(["locked"])
    ('checking part 3/12', 'waiting for who holds the repository')
    """
    match tuple(words):
        case ("forget", count):
            return f"forgetting {count} snapshots"
        case ("prune",):
            return "pruning"
        case ("check", "structure"):
            return "checking the structure"
        case ("check", part):
            return f"checking part {part}"
        case ("again", part):
            return f"checking part {part} again, under the lock, since it seems damaged"
        case ("hit",):
            return "finding out which snapshots are hit"
        case ("locked",):
            return "waiting for who holds the repository"
        case ("again",):
            return "once more, after a failure"
        case others:
            return " ".join(others)
