"""Restore a source of a host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.framing import Record
from temporal.activities.backup import proving, restoring_sh, saving
from temporal.activities.backup.listing import Listing
from temporal.activities.backup.looking import looked, snapshots
from temporal.shared import Permanent, Progress, options
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.backup.backup import MOST_HOURS
from temporal.shared.specs.backup.proofs import Chosen
from temporal.shared.specs.backup.restoring import LATEST, Restored, RestoreSpec
from temporal.shared.specs.backup.sources import (
    FilesSource,
    MariadbSource,
    PostgresqlSource,
    RedisSource,
    SqliteSource,
)
from temporal.shared.specs.backup.status import FUTURE

_KEPT = re.compile(r"kept as (.+?)[.;]?$", re.MULTILINE)


@activity.defn
@options(
    start_to_close=timedelta(minutes=20),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=4),
)
async def find_snapshot(spec: RestoreSpec) -> Chosen:
    """The snapshot that is meant: the newest one that fits.

    Raises:
        Permanent: there is none, or an id begins several; the message names what there is.
        Retryable: the host was not reached.
    """
    found = await snapshots(spec.backup, spec.host, spec.onto, spec.source)
    return meant(spec, found, datetime.now(UTC))


def meant(spec: RestoreSpec, found: Listing, now: datetime) -> Chosen:
    """The same, of what is in the repository."""
    every = found.of(spec.host, spec.source)
    fitting = [each for each in every if spec.fits(each.id, each.time, each.tags)]
    if spec.at == LATEST:
        # By a clock that was wrong; it can be had by its id.
        fitting = [each for each in fitting if each.time <= now + FUTURE] or fitting
    what = f"{spec.host}/{spec.source}"
    if not fitting:
        if not every:
            raise Permanent(f"there is no snapshot of {what} in the repository")
        asked = [] if spec.at == LATEST else [f"at {spec.at}"]
        asked += [f"with the tags {', '.join(spec.tags)}"] if spec.tags else []
        raise Permanent(
            f"there is no snapshot of {what} {' '.join(asked)}: there are {len(every)}, from"
            f" {_said(every[0].time)} ({every[0].id[:8]}) to {_said(every[-1].time)}"
            f" ({every[-1].id[:8]})"
        )
    if spec.by_id and len(fitting) > 1:
        long = max(8, len(spec.at) + 4)
        names = " and ".join(f"{each.id[:long]} ({_said(each.time)})" for each in fitting[:2])
        raise Permanent(
            f"at: {spec.at} begins the ids of {len(fitting)} snapshots of {what}: {names}"
        )
    chosen = proving.chosen(fitting[-1], spec.backup.name, spec.what.kind)
    if isinstance(chosen, str):
        raise Permanent(f"{what}: {chosen}")
    return chosen


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


@activity.defn
@options(
    start_to_close=timedelta(hours=MOST_HOURS),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=6),
)
async def restore_on_host(spec: RestoreSpec, chosen: Chosen) -> Restored:
    """Restores the snapshot on the host that it is to go onto, and proves what came of it.

    The host does it by itself. An attempt whose predecessor died attaches to what goes on there and
    reads on. That it failed, or is wrong, is a result. A dry run only looks.

    Raises:
        Retryable: the host was not reached, or another restore of the same backup goes on there; over
            what is live also while that is being backed up.
    """
    name = spec.onto.name
    to = place(spec, chosen, activity.info().scheduled_time)
    fresh = f"{spec.backup.name}-{spec.source}-{chosen.time:%Y%m%dT%H%M%SZ}"

    def show(record: Record) -> Progress | None:
        return proving.progress(record, name, spec.source)

    def script(values: dict[str, bytes]) -> str:
        return restoring_sh.restore_script(spec, chosen, values, to, fresh)

    try:
        if spec.dry_run:
            records = await looked(spec.onto, spec.references, script)
        else:
            records = await saving.on_host(
                *(Member(host=spec.onto), spec.references, script),
                f"{'backup' if spec.over_live else 'restore'}.{spec.backup.name}",
                show,
            )
    except Permanent as error:
        because = error.message.removeprefix(f"{name}: ")
        return Restored(**_of(spec, chosen), ending="failed", because=because)
    return restored(spec, chosen, records)


def place(spec: RestoreSpec, chosen: Chosen, now: datetime) -> str:
    """Where it goes to. Nothing, for files without a place of their own."""
    if spec.to is not None:
        return spec.to
    stamp = f"{(now if spec.over_live else chosen.time).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    new = f"/var/restore/{spec.backup.name}-{spec.source}-{stamp}"
    match spec.what:
        case FilesSource():
            return ""
        case PostgresqlSource(postgresql=database) | MariadbSource(mariadb=database):
            return f"{database[:36]}_restored_{stamp}"
        case SqliteSource(sqlite=path):
            # It is to take the place of the live one by a rename.
            return (
                f"{path}.restored-{stamp}"
                if spec.over_live
                else f"{new}/{PurePosixPath(path).name}"
            )
        case RedisSource():
            return f"{new}/dump.rdb"


def restored(spec: RestoreSpec, chosen: Chosen, records: Iterable[Record]) -> Restored:
    """What came of it, from the records of `restoring_sh.restore_script`."""
    told = proving.Told()
    values: dict[str, Any] = {"ending": "failed", "because": "the host said nothing of it"}
    places: list[str] = []
    aside: list[str] = []
    note = ""
    for record in records:
        said = proving.text(record)
        match record.words:
            case ("to",):
                places.append(said)
            case ("aside",):
                aside += filter(None, said.split("\n"))
            case ("beside",):
                note = f"what was restored is at {said}; what was live is untouched"
            case ("result", _, ending, why, status):
                because = told.because(why, int(status), said)
                values = {"ending": ending, "because": because}
                if ending in ("restored", "planned"):
                    # A database says in its last words what became of the old one.
                    aside += _KEPT.findall(said) if spec.over_live else []
                    note, values["because"] = "; ".join(filter(None, (note, because))), ""
                elif ending == "wrong":
                    what = f"{told.values['wrong']} of its files are not as they were backed up"
                    values["because"] = "; ".join(filter(None, (told.unrestored, what)))
            case _:
                told.take(record)
    return Restored(
        **_of(spec, chosen),
        **told.values,
        **values,
        to=tuple(places),
        files=told.files,
        size=told.size,
        seconds=told.seconds,
        # Of a name that was written down before a power cut it is told once more after that.
        kept_aside=tuple(dict.fromkeys(aside)),
        note=note,
    )


def _of(spec: RestoreSpec, chosen: Chosen) -> dict[str, Any]:
    return {
        "host": spec.onto.name,
        "source": spec.source,
        "kind": chosen.kind,
        "snapshot": chosen.snapshot,
        "time": chosen.time,
    }
