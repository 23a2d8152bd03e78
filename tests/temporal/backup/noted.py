"""Snapshots and notes as values, for tests of what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from temporal.activities.backup.listing import Listing, Snapshot
from temporal.shared.specs.backup.backup import Protection

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def plan(**more: Any) -> Protection:
    value = {
        "name": "shop",
        "repository": {"url": "s3:https://s3.example.org/b", "password": "env://P"},
        "sources": {"up": {"files": "/srv"}, "db": {"postgresql": "shop"}},
        "rpo": "26h",
        "proof": "7d",
        "keep": {"last": 3},
    }
    return Protection.model_validate({**value, **more})


def id_of(number: int) -> str:
    return f"{number:08x}" * 8


def snap(number: int, ago: timedelta, host: str = "web1", source: str = "up") -> Snapshot:
    tags = {"temporal-ops": "", "backup": "shop", "source": source}
    return Snapshot(id_of(number), NOW - ago, host, tags)


def note(
    number: int, ago: timedelta, host: str = "web1", source: str = "up", **tags: str
) -> Snapshot:
    own = {"temporal-ops-note": "", "backup": "shop", "source": source}
    return Snapshot(id_of(10_000 + number), NOW - ago, host, {**own, **tags})


def proof(number: int, ago: timedelta, of: int, result: str = "proved") -> Snapshot:
    return note(number, ago, note="proof", of=id_of(of), result=result, took="12.5")


def check(number: int, ago: timedelta, part: str, result: str, **more: str) -> Snapshot:
    return note(number, ago, note="check", subset=part, result=result, **more)


def there(snapshots: Iterable[Snapshot] = (), notes: Iterable[Snapshot] = ()) -> Listing:
    def by_time(each: Snapshot) -> datetime:
        return each.time

    return Listing(tuple(sorted(snapshots, key=by_time)), tuple(sorted(notes, key=by_time)))
