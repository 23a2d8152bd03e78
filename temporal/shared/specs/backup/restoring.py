"""Specs of a restore: which snapshot of what, and where it is to go.

backup: shop.yml
host: web1
source: uploads
at: 2026-11-24 18:00
to: /srv/look
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.backup.backup import BackupSpec, Name, Protection
from temporal.shared.specs.backup.proofs import Proving
from temporal.shared.specs.backup.sources import (
    AbsolutePath,
    FilesSource,
    Kind,
    Source,
    SqliteSource,
)
from temporal.shared.specs.reading import Misfit, Reading, read

LATEST = "latest"
_ID = re.compile(r"[0-9a-f]{4,64}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")
SCRATCH = ("/var/tmp", "/tmp", "/var/restore")
"""Whoever backs up all of what these are in means none of them."""


class RestoreSpec(Spec):
    """What is restored where: the input of RestoreBackup.

    In a file `backup` is the path of the backup's own file, beside it, and `host` a name from there.

    Attributes:
        backup: what it is a backup of, and where it is kept.
        host: whose backup, by its name in the inventory; default: the only one there is.
        onto: where it is restored: a name from there, or as hosts are written; default: the same.
        source: which of its sources; default: the only one there is.
        at: which snapshot: `latest`; a time, for the newest that is not after it (in UTC, if it names no
            offset; a day counts to its end); or the beginning of a snapshot's id.
        tags: only snapshots that bear all of these.
        paths: of files, only these and what is below them.
        to: where it goes: a folder that is empty or not there; for a database a name that no other
            has. Default: a new place.
        over_live: in the place of what is live now, which is kept beside it. Not unless
        sure: says the same again: HOST/SOURCE, where HOST is the one that it is restored onto.
        dry_run: say what would be done, and whether there is room for it.
    """

    backup: Protection
    host: str = Field(min_length=1)
    onto: HostSpec
    source: Name
    at: str = LATEST
    tags: tuple[str, ...] = ()
    paths: tuple[AbsolutePath, ...] = ()
    to: str | None = None
    over_live: bool = False
    sure: str | None = None
    dry_run: bool = False

    @field_validator("at", mode="before")
    @classmethod
    def _known_at(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError("must stand in quotes: YAML takes it for a number")
        if isinstance(value, str) and value != LATEST and not _ID.fullmatch(value):
            moment_of(value)
        return value

    @field_validator("paths", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("paths")
    @classmethod
    def _plain_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # As the paths of a source: plain ones, none of which is within another.
        return FilesSource(files=value).files if value else value

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str, info: Any) -> str:
        plan = info.data.get("backup")
        if plan is not None and value not in plan.sources:
            raise ValueError(f"is no source of it: it has {', '.join(plan.sources)}")
        return value

    @field_validator("to")
    @classmethod
    def _fits_kind(cls, value: str | None, info: Any) -> str | None:
        plan, source = info.data.get("backup"), info.data.get("source")
        if value is None or plan is None or source is None:
            return value
        what = plan.sources[source]
        if what.kind in ("postgresql", "mariadb"):
            if not _DATABASE.fullmatch(value):
                raise ValueError("must be the name of a new database")
            return value
        plain = value.startswith("/") and not {"", ".", ".."} & set(value[1:].split("/"))
        if not plain or "\n" in value or "\0" in value:
            raise ValueError("must be an absolute path, without //, . and .. (not / itself)")
        problem = live_problem(value, live_paths(plan))
        if problem:
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _told_twice(self) -> Self:
        if self.paths and not isinstance(self.what, FilesSource):
            raise ValueError(f"paths: {self.source} is no files, so there are none to choose")
        if self.over_live and self.to is not None:
            raise ValueError("give to, or over_live, and not both")
        if self.over_live and self.sure != self.word:
            raise ValueError(
                f"over_live takes what is live there now out of use: add `sure: {self.word}` if that is"
                " what you mean"
            )
        if self.sure is not None and not self.over_live:
            raise ValueError("sure is for over_live: true, and that is not there")
        return self

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this: the backup's file read, and its host found there."""
        if not isinstance(value, dict) or not isinstance(value.get("backup"), str):
            return Reading(value)
        try:
            plan = read(folder / value["backup"], BackupSpec)
        except SpecError as error:
            raise Misfit((("backup",), str(error), None)) from None
        hosts = {each.host.name: each.host for each in plan.members(0, plan.total)}
        ready = {
            "host": _only(hosts, "hosts", "host", value),
            "source": _only(plan.sources, "sources", "source", value),
            **value,
            "backup": plan.each,
        }
        onto = value.get("onto", ready["host"])
        if "onto" not in value and onto not in hosts:
            why = f"is no host of it ({_some(hosts)}): for one that is gone, say onto which other"
            raise Misfit((("host",), why, onto))
        return Reading({**ready, "onto": hosts.get(onto, onto) if isinstance(onto, str) else onto})

    @property
    def what(self) -> Source:
        """The source."""
        return self.backup.sources[self.source]

    @property
    def word(self) -> str:
        """What `sure` has to say."""
        return f"{self.onto.name}/{self.source}"

    def fits(self, id: str, made: datetime, tags: Iterable[str]) -> bool:
        """Whether a snapshot may be the one that is meant."""
        if not set(self.tags) <= set(tags):
            return False
        if self.at == LATEST:
            return True
        if _ID.fullmatch(self.at):
            return id.startswith(self.at)
        return made <= moment_of(self.at)

    @property
    def by_id(self) -> bool:
        """Whether it is asked for by its id."""
        return _ID.fullmatch(self.at) is not None

    @property
    def references(self) -> tuple[str, ...]:
        """All secret references that it needs on a host."""
        found = (*self.backup.repository.references, getattr(self.what, "password", None))
        return tuple(dict.fromkeys(each for each in found if each is not None))


def moment_of(at: str) -> datetime:
    """The time that `at` names, in UTC; of a day alone its last moment.

    >>> moment_of("2026-11-25 04:00+01:00").isoformat(), moment_of("2026-11-25").isoformat()
    ('2026-11-25T03:00:00+00:00', '2026-11-25T23:59:59.999999+00:00')
    """
    try:
        found = datetime.fromisoformat(at.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(
            "must be latest, a time as 2026-11-25, 2026-11-25 04:00 or 2026-11-25T04:00:00+01:00, or"
            " the beginning of a snapshot's id (four characters at least)"
        ) from None
    if _DAY.fullmatch(at):
        found = datetime.combine(found, time.max)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def live_paths(plan: Protection) -> tuple[str, ...]:
    """What no restore may touch by accident: all that the plan backs up, and where it is kept."""
    found: list[str] = []
    for source in plan.sources.values():
        if isinstance(source, FilesSource):
            found += source.files
        elif isinstance(source, SqliteSource):
            found.append(source.sqlite)
    if plan.repository.kind == "local":
        found.append(plan.repository.url.partition("{")[0].rstrip("/") or "/")
    return tuple(dict.fromkeys(found))


def live_problem(place: str, live: Iterable[str]) -> str | None:
    """Why nothing may be restored to `place`; None if it may.

    Who backs up all of / or /var means no scratch: below a usual place for that it is allowed.
    """
    for each in live:
        if place == each or within(each, place):
            return f"is or contains {each}, which is live: only over_live touches that"
        scratch = any(within(place, s) and not within(each, s) for s in SCRATCH)
        if within(place, each) and each != "/" and not scratch:
            return f"lies in {each}, which is live: give a place apart from it"
    return None


def within(path: str, folder: str) -> bool:
    """Whether `path` lies below `folder`."""
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _only(known: Iterable[str], what: str, field: str, value: dict[str, Any]) -> Any:
    names = tuple(known)
    if field in value or len(names) == 1:
        return value.get(field, names[0])
    raise Misfit(((field,), f"says nothing, and there are several {what}: {_some(names)}", None))


def _some(names: Iterable[str]) -> str:
    every = tuple(names)
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "")


class Restored(Proving):
    """Result of RestoreBackup, and of its activity restore_on_host.

    Attributes:
        host: the one that it was restored onto.
        ending: restored; planned: it was a dry run; wrong: it is there, and is not what was backed up;
            failed: it is not there, or not whole.
        to: where it is now, or would be.
        files, size: in the snapshot, folders too; bytes.
        seconds: how long it took, without the comparison.
        kept_aside: what was live before, and where it is now.
        because: why it failed, and what to do.
        note: what else is worth knowing.
    """

    host: str
    source: str
    kind: Kind
    ending: Literal["restored", "planned", "wrong", "failed"]
    snapshot: str
    time: datetime
    to: tuple[str, ...] = ()
    files: int = 0
    size: int = 0
    seconds: float = 0.0
    kept_aside: tuple[str, ...] = ()
    because: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.ending in ("restored", "planned")

    @property
    def summary(self) -> str:
        """In one line."""
        of = f"snapshot {self.snapshot[:8]} of {self.time:%Y-%m-%d %H:%M:%S} UTC"
        where = f"{self.host}:{', '.join(self.to)}" if self.to else self.host
        match self.ending:
            case "planned":
                return f"{self.source} would be restored to {where}, from {of}"
            case "restored":
                return (
                    f"{self.source} is restored to {where}, from {of}, in {self.seconds:.1f} s:"
                    f" {self.found}"
                )
            case "wrong":
                return f"{self.source} at {where} is not what {of} was made of: {self.because}"
            case "failed":
                return f"{self.source} is not restored to {where}, from {of}: {self.because}"

    def render(self) -> str:
        """For people."""
        lines = [self.summary, *(f"  ! {each}" for each in self.differences)]
        more = self.wrong - len(self.differences)
        lines += [f"  ... and {more} more"] if self.differences and more > 0 else []
        lines += [f"  what was there before: {each}" for each in self.kept_aside]
        lines += [f"  {self.note}"] if self.note else []
        return "\n".join(lines)
