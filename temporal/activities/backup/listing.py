"""What `restic snapshots --json` says, as values: the snapshots of a backup, and the notes beside them.
Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporal.shared.specs.backup.status import FUTURE

_FRACTION = re.compile(r"(\.\d{1,6})\d*")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of a source, or a note.

    Attributes:
        id: its whole id.
        time: when it was made, by the clock that it was made by; in UTC.
        host: whose it is, by the name in the inventory.
        tags: by what stands before the colon; a tag without one with an empty value.
    """

    id: str
    time: datetime
    host: str
    tags: dict[str, str]
    paths: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Of which source it is."""
        return self.tags.get("source", "")


@dataclass(frozen=True)
class Listing:
    """The snapshots of one backup, oldest first, and the notes, oldest first."""

    snapshots: tuple[Snapshot, ...] = ()
    notes: tuple[Snapshot, ...] = ()

    def until(self, now: datetime) -> Listing:
        """Without what a clock that was ahead has made."""
        last = now + FUTURE
        snapshots, notes = (
            [e for e in each if e.time <= last] for each in (self.snapshots, self.notes)
        )
        return Listing(tuple(snapshots), tuple(notes))

    def of(self, host: str, source: str) -> tuple[Snapshot, ...]:
        """The snapshots of a host's source, oldest first."""
        return tuple(s for s in self.snapshots if (s.host, s.source) == (host, source))

    def noted(self, kind: str, host: str | None = None, source: str = "") -> tuple[Snapshot, ...]:
        """The notes of a kind (`proof`, `check`), oldest first; of all hosts, or of a host's source."""
        return tuple(
            each
            for each in self.notes
            if each.tags.get("note") == kind
            and (host is None or (each.host, each.source) == (host, source))
        )


def listing(text: str | bytes, name: str) -> Listing:
    """The listing of backup `name`, of what `restic snapshots --json` printed.

    Raises:
        ValueError: it is no such output.
    """
    values = json.loads(text) or []
    if not isinstance(values, list):
        raise ValueError("restic listed no snapshots")
    found = sorted((_snapshot(value) for value in values), key=lambda each: each.time)
    ours = [each for each in found if each.tags.get("backup") == name]
    return Listing(
        tuple(each for each in ours if "temporal-ops" in each.tags),
        tuple(each for each in ours if "temporal-ops-note" in each.tags),
    )


def _snapshot(value: dict[str, Any]) -> Snapshot:
    return Snapshot(
        id=str(value["id"]),
        time=moment(str(value["time"])),
        host=str(value.get("hostname", "")),
        tags=dict(_tags(value.get("tags") or ())),
        paths=tuple(value.get("paths") or ()),
    )


def _tags(tags: Iterable[str]) -> Iterable[tuple[str, str]]:
    for tag in tags:
        name, _, rest = str(tag).partition(":")
        yield name, rest


def moment(text: str) -> datetime:
    """A time as restic writes it, in UTC; parts of a microsecond are dropped.

    >>> moment("2026-11-25T04:05:06.123456789+01:00").isoformat()
    '2026-11-25T03:05:06.123456+00:00'
    """
    found = datetime.fromisoformat(_FRACTION.sub(r"\1", text.replace("Z", "+00:00")))
    return found.astimezone(UTC)
