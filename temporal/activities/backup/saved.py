"""What a host said of its backup, as values; and what went wrong, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from converge.framing import Record
from temporal.shared.amounts import size
from temporal.shared.progress import Progress
from temporal.shared.specs.backup.backup import LISTED, Ending, HostBackup, SourceBackup
from temporal.shared.specs.backup.sources import KINDS, Source


def host_backup(
    host: str, sources: Mapping[str, Source], records: Iterable[Record], *, manifest: bool = True
) -> HostBackup:
    """What came of each source, from the records of `saving_sh.save_script`. One of which they say
    nothing has failed.

    Args:
        manifest: whether one is among the files of each snapshot.
    """
    own = 1 + manifest
    found: list[SourceBackup] = []
    now: dict[str, Any] = {}
    note = ""
    for record in records:
        match record.words:
            case ("clock", off, "yes"):
                note = f"the host's clock is off by {int(off)} s; the worker's was taken"
            case ("source", name, kind) if kind in KINDS:
                now = {"source": name, "kind": kind, "note": note}
            case ("summary",):
                now |= _summary(record)
            case ("unreadable", count):
                lines = tuple(map(_unescaped, text(record).splitlines()[:LISTED]))
                now |= {"unread": int(count), "unreadable": lines}
            case ("result", _, end, status):
                found.append(_source(now, end, int(status), text(record), own))
            case ("after", name) if found and found[-1].source == name:
                said = f"its `after` failed: {last_line(text(record))}"
                notes = "; ".join(filter(None, (found[-1].note, said)))
                found[-1] = found[-1].model_copy(update={"note": notes})
    told = {each.source for each in found}
    for name, source in sources.items():
        if name not in told:
            lost = "the host said nothing of it"
            found.append(SourceBackup(source=name, kind=source.kind, ending="failed", because=lost))
    return HostBackup(host=host, sources=tuple(found))


def _source(now: Mapping[str, Any], end: str, status: int, said: str, own: int) -> SourceBackup:
    """`own`: so many of its files come from us."""
    endings: dict[str, Ending] = {
        "ok": "saved",
        "incomplete": "incomplete",
        "cancelled": "cancelled",
    }
    ending = endings.get(end, "failed")
    if ending in ("saved", "incomplete") and not now.get("snapshot"):
        return SourceBackup(**{**now, "ending": "failed", "because": "restic told of no snapshot"})
    because = explained(end, status, said) if ending == "failed" else ""
    if ending == "incomplete" and not now.get("unread"):
        # Also where a part of the repository that it would compare with is damaged.
        because = last_line(said)
    kept = dict(now) if ending in ("saved", "incomplete") else _named(now)
    if kept["kind"] == "files" and kept.get("files", own + 1) <= own:
        kept["note"] = "; ".join(filter(None, (kept["note"], "there are no files in it")))
    return SourceBackup(**{**kept, "ending": ending, "because": because})


def _named(now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: now[name] for name in ("source", "kind", "note")}


def _summary(record: Record) -> dict[str, Any]:
    try:
        value = json.loads(record.body)
    except ValueError:
        return {}
    return {
        "snapshot": str(value.get("snapshot_id", "")),
        "seconds": round(float(value.get("total_duration", 0.0)), 2),
        "files": int(value.get("total_files_processed", 0)),
        "size": int(value.get("total_bytes_processed", 0)),
        "added": int(value.get("data_added", 0)),
    }


def explained(end: str, status: int, said: str) -> str:
    """Why restic, or what comes before it, failed, in a line, with what to do."""
    last = last_line(said)
    match end:
        case "none":
            return (
                "there is no repository at the url; `create: true` makes one, if the url is right"
                f" ({last})"
            )
        case "password":
            return "the repository's password is wrong"
        case "locked":
            return f"somebody else holds the repository: {last}"
        case "full":
            return f"the repository's disk is full, or ours: {last}"
        case "killed":
            return f"restic was ended by signal {status - 128}; it was not asked to by temporal-ops"
        case "still":
            return f"{last}; begin it again, and look at the repository's disk or network"
        case "unsupported":
            return "the host has no restic of 0.14 or later: `package: restic` installs it"
        case "space":
            return f"the host cannot write its state folder: {last}"
        case "before":
            return f"its `before` failed, and nothing was backed up: {last}"
        case "prepare":
            return last or "it could not be made ready, and said nothing"
    return f"restic ended with status {status}: {last}"


def progress(record: Record, host: str, source: str) -> Progress | None:
    """What a record means for who watches; nothing, if it means nothing."""
    match record.words:
        case ("working", what):
            return Progress(what=f"{source}: {_WORKING.get(what, what)}", host=host)
        case ("progress",):
            try:
                value = cast(dict[str, Any], json.loads(record.body))
            except ValueError:
                return None
            percent = float(value.get("percent_done", 0.0))
            done, total = int(value.get("bytes_done", 0)), int(value.get("total_bytes", 0))
            what = (
                f"{source}: {size(done)} of {size(total)}" if total else f"{source}: {size(done)}"
            )
            left = value.get("seconds_remaining")
            what += f", {int(left)} s left" if left else ""
            return Progress(done=int(percent * 100), total=100 * bool(total), what=what, host=host)
    return None


_WORKING = {
    "before": "running its `before`",
    "manifest": "writing down what the files hold",
    "dump": "dumping",
    "restic": "backing up",
    "locked": "waiting for who holds the repository",
    "again": "once more, after a failure",
}


def text(record: Record) -> str:
    """A record's body."""
    return record.body.decode(errors="replace").strip("\n")


def last_line(said: str) -> str:
    """The line that says why a program ended, at most 500 characters of it: restic's `Fatal`, else the
    last one."""
    lines = [_message(line.strip()) for line in said.splitlines() if line.strip()]
    fatal = [line.removeprefix("Fatal: ") for line in lines if line.startswith("Fatal: ")]
    return (fatal[:1] or lines[-1:] or [""])[0][:500]


def _message(line: str) -> str:
    """What a line of restic's JSON says; any other line as it is."""
    if not line.startswith("{"):
        return line
    try:
        value = json.loads(line)
        found = value.get("message") or value.get("error", {}).get("message") or line
    except (ValueError, AttributeError):
        return line
    return str(found)


def _unescaped(item: str) -> str:
    """A string of JSON without its quotes."""
    try:
        return str(json.loads(f'"{item}"'))
    except ValueError:
        return item
