"""What a host said of a restored copy, as values; and what went wrong, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import unquote

from converge.framing import Record
from temporal.activities.backup import saved
from temporal.activities.backup.listing import Snapshot
from temporal.activities.backup.saved import last_line, text
from temporal.shared.amounts import size
from temporal.shared.progress import Progress
from temporal.shared.specs.backup.proofs import SHOWN, Chosen
from temporal.shared.specs.backup.sources import Kind

__all__ = ["Told", "chosen", "explained", "last_line", "progress", "size", "text"]


class Told:
    """What a host has told of one source so far."""

    def __init__(self) -> None:
        self.files = self.size = 0
        self.seconds = 0.0
        self.values: dict[str, Any] = {}
        self._broken = 0
        self._lines: list[str] = []

    def take(self, record: Record) -> None:
        """One record more."""
        match record.words:
            case ("size", files, count):
                self.files, self.size = self.files + int(files), self.size + int(count)
            case ("took", seconds):
                self.seconds = float(seconds)
            case ("found", proved, unproven, wrong):
                self.values = {
                    "proved": int(proved),
                    "unproven": int(unproven),
                    "wrong": int(wrong),
                    "differences": tuple(self._lines[:SHOWN]),
                }
            case ("broken", count):
                self._broken = int(count)
                self._add(f"not restored: {line}" for line in lines(record))
            case ("fingerprint", _, _):
                self._add(lines(record))
            case ("differ", ("corrupt" | "metadata" | "extra"), _):
                self._add(told(line) for line in lines(record))
            case ("lost", _):
                self._add(f"{plain(line)}: is missing" for line in lines(record))

    def because(self, why: str, status: int, said: str) -> str:
        """Why it is not proved, in a line, with what to do; nothing if it is."""
        if why == "ok":
            return ""
        if self._broken and why in ("other", "killed", "still"):
            files = "1 file" if self._broken == 1 else f"{self._broken} files"
            return (
                f"restic could not restore {files}: {self._lines[0].removeprefix('not restored: ')}"
            )
        return explained(why, status, said)

    @property
    def unrestored(self) -> str:
        """What restic could not restore, in a line; nothing if that is nothing."""
        return self.because("other", 1, "") if self._broken else ""

    def _add(self, lines: Iterable[str]) -> None:
        self._lines += [line[:_LONGEST] for line in lines][: SHOWN - len(self._lines)]


def lines(record: Record) -> list[str]:
    """Of a record's body. A name may hold what `splitlines` takes for an end as well."""
    return [line for line in text(record).split("\n") if line]


def told(line: str) -> str:
    """A difference as people read it, of a line `what was<TAB>what is` of a comparison."""
    was, _, now = line.partition("\t")
    before, after = was.split(" "), now.split(" ")
    path = plain((before if was else after)[8])
    if not was:
        return f"{path}: is not in the manifest"
    if not now:
        return f"{path}: is missing"
    changes = [
        f"{name} {_value(name, old)} -> {_value(name, new)}"
        for name, old, new in zip(_FIELDS, before[1:8], after[1:8], strict=True)
        if old != new
    ]
    if before[9:] != after[9:]:
        changes.append(f"points to {plain(' '.join(before[9:]))} -> {plain(' '.join(after[9:]))}")
    return f"{path}: {', '.join(changes)}"


_FIELDS = ("content", "type", "mode", "uid", "gid", "size", "mtime")
_LONGEST = 500


def _value(name: str, text: str) -> str:
    return text[:12] if name == "content" else text


def plain(text: str) -> str:
    """A path as it was, of one in which blanks and the like are %20; line ends stay told apart.

    >>> plain("/srv/a%20b%0Ac")
    '/srv/a b\\\\nc'
    """
    return unquote(text.replace("%0A", "\\n").replace("%09", "\\t"))


def chosen(snapshot: Snapshot, plan: str, kind: Kind) -> Chosen | str:
    """What a restore of the snapshot is about; a text that says why it cannot be."""
    tail = f"/backup/{plan}/{snapshot.source}"
    proofs = [path for path in snapshot.paths if path.endswith(f"{tail}/proof")]
    if not proofs:
        return f"snapshot {snapshot.id[:8]} bears no proof: it was not made by temporal-ops"
    if snapshot.tags.get("kind") != kind:
        was = snapshot.tags.get("kind") or "nothing known"
        return f"snapshot {snapshot.id[:8]} is of {was}, and the source is of {kind} by now"
    base = proofs[0].removesuffix("/proof")
    roots = [path for path in snapshot.paths if path not in (f"{base}/proof", f"{base}/dump")]
    return Chosen(
        source=snapshot.source,
        kind=kind,
        snapshot=snapshot.id,
        time=snapshot.time,
        proof=proofs[0],
        roots=tuple(roots),
    )


def explained(why: str, status: int, said: str) -> str:
    """Why a snapshot could not be restored or proved, in a line, with what to do."""
    last = last_line(said)
    match why:
        case "none":
            return f"there is no repository at the url ({last})"
        case "full":
            return f"the disk is full: {last}"
        case "scratch":
            return f"there is no place to work in: {last}; `drill: scratch:` says which folder"
        case "room":
            return f"there is not enough room: {last}"
        case "place":
            return f"nothing was restored: {last}"
        case "manifest":
            return "it was backed up without a manifest, so nothing can prove its files"
        case "proof" | "prove" | "load" | "swap":
            return last or "it ended without a word"
        case "most":
            return "most of its files were being changed while they were backed up"
        case "cancelled":
            return "it was ended before its end"
    return saved.explained(why, status, said)


def progress(record: Record, host: str, source: str) -> Progress | None:
    """What a record means for who watches; nothing, if it means nothing."""
    match record.words:
        case ("working", what) if what in _WORKING:
            return Progress(what=f"{source}: {_WORKING[what]}", host=host)
        case ("progress",):
            try:
                value = cast(dict[str, Any], json.loads(record.body))
            except ValueError:
                return None
            done, total = int(value.get("bytes_restored", 0)), int(value.get("total_bytes", 0))
            what = (
                f"{source}: {size(done)} of {size(total)}" if total else f"{source}: {size(done)}"
            )
            percent = min(100, 100 * done // total) if total else 0
            return Progress(done=percent, total=100 * bool(total), what=what, host=host)
    return saved.progress(record, host, source)


_WORKING = {
    "looking": "looking what is in the snapshot",
    "restoring": "restoring",
    "comparing": "comparing with its proof",
    "loading": "loading into the database",
    "swapping": "taking the place of what is live",
}
