"""Look at what backups there are, and make it known to whoever scrapes the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.framing import Record
from temporal.activities.backup import inspecting_sh, judging, metrics
from temporal.activities.backup.checking import Checks
from temporal.activities.backup.listing import Listing, listing
from temporal.activities.backup.looking import looked
from temporal.activities.backup.saved import explained, text
from temporal.shared import Permanent, Retryable, options
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.status import (
    BackupStatus,
    Lock,
    Look,
    Looked,
    RepositoryStatus,
    Row,
    Snapshots,
    together,
)

AT_A_TIME = 10
"""Hosts that one activity asks at a time."""
TRIES = 2
PAUSE_S = 5.0
"""Between two tries to reach a host: that one packet was lost is no news."""


@dataclass(frozen=True)
class Seen:
    """What a host saw of a repository.

    Attributes:
        found: what is in it; None: nothing can be said of it, and because says why.
        sizes: bytes in snapshots, by id, where that is known.
        beside: what restic said besides.
        records: all the host said; nothing if it was not reached.
        permanent: another try would end the same way.
    """

    found: Listing | None = None
    sizes: dict[str, int] | None = None
    beside: str = ""
    locks: tuple[Lock, ...] = ()
    because: str = ""
    records: tuple[Record, ...] = ()
    permanent: bool = False


@activity.defn
@options(
    start_to_close=timedelta(hours=1),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=3),
)
async def look_at_backups(look: Look) -> Looked:
    """What is known of the sources of some hosts. Changes nothing; a host that is not reached is a
    result: of its sources nothing is known."""
    if look.hosts:
        return await _shared(look)
    room = asyncio.Semaphore(AT_A_TIME)

    async def one(member: Member) -> Looked:
        async with room:
            return await _own(look.plan, member)

    each = await asyncio.gather(*(one(member) for member in look.members))
    return Looked(
        rows=tuple(row for one in each for row in one.rows),
        repositories=tuple(place for one in each for place in one.repositories),
    )


async def _own(plan: Protection, member: Member) -> Looked:
    seen = await see(plan, member)
    return judged(plan, member.host.name, [member.host.name], True, seen, _now())


async def _shared(look: Look) -> Looked:
    """Of the repository that all share: as the first host sees it that sees anything."""
    reasons = []
    for member in look.members:
        seen = await see(look.plan, member)
        if seen.found is not None:
            return judged(look.plan, member.host.name, look.hosts, look.whole, seen, _now())
        reasons.append(seen.because)
    nobody = Seen(because="; ".join(reasons))
    return judged(look.plan, look.members[0].host.name, look.hosts, look.whole, nobody, _now())


async def see(plan: Protection, member: Member, forget: bool = False, tries: int = TRIES) -> Seen:
    """What a host sees of its repository; with `forget` also what restic's rules say."""
    name = member.host.name

    def script(values: dict[str, bytes]) -> str:
        return inspecting_sh.look_script(plan, name, values, forget)

    for left in reversed(range(tries)):
        try:
            records = await looked(member.host, plan.repository.references, script)
        except Retryable as error:
            because = error.message
            if left:
                await asyncio.sleep(PAUSE_S)
        except Permanent as error:
            return Seen(because=error.message, permanent=True)
        except Exception as error:  # whatever is wrong with one host, of the others is told
            because = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
        else:
            return seen(plan, name, records)
    return Seen(because=because)


def seen(plan: Protection, host: str, records: Sequence[Record]) -> Seen:
    """The same, of what the host said."""
    found: Listing | None = None
    sizes: dict[str, int] = {}
    beside = because = machine = ""
    locks: list[Lock] = []
    for record in records:
        match record.words:
            case ("snapshots", "ok", _):
                try:
                    found = listing(record.body, plan.name)
                    sizes = judging.sizes(record.body)
                except (ValueError, KeyError) as error:
                    because = f"{host}: what restic listed cannot be read: {error}"
            case ("snapshots", kind, status):
                because = f"{host}: {' '.join(why(kind, int(status), text(record)).split())}"
            case ("beside",):
                beside = text(record)
            case ("machine", name):
                machine = name
            case ("lock", id):
                one = inspecting_sh.lock(id, record.body, machine)
                locks += [one] if one else []
    if found is None and not because:
        because = f"{host}: it said nothing of its snapshots"
    return Seen(found, sizes, beside, tuple(locks), because, tuple(records))


def why(kind: str, status: int, said: str) -> str:
    """Why restic could not say what it was asked, with what to do."""
    if kind == "late":
        return judging.late_said(inspecting_sh.LOOK_S, said)
    return explained(kind, status, said)


def judged(
    plan: Protection, by: str, hosts: Sequence[str], whole: bool, seen: Seen, now: datetime
) -> Looked:
    """What that means for each source of `hosts`, and for the repository."""
    url = plan.repository.at(by)
    pairs = [(host, source) for host in hosts for source in plan.sources]
    if seen.found is None:
        # All of it stands once, at the repository: with thousands of rows it would fit no payload.
        short = f"{seen.because[:200]}..." if len(seen.because) > 203 else seen.because
        rows = [judging.unknown(host, source, short) for host, source in pairs]
        nothing = RepositoryStatus(url=url, by=by, because=seen.because)
        return Looked(rows=tuple(rows), repositories=(nothing,))
    place = judging.repository(
        plan, url, by, seen.found, hosts if whole else None, seen.beside, seen.locks, now
    )
    blind = Checks(seen.found.until(now).noted("check"), plan.maintain.subsets).blind
    return Looked(
        rows=tuple(
            judging.row(plan, host, source, seen.found, place.hit, seen.sizes or {}, now, blind)
            for host, source in pairs
        ),
        repositories=(place,),
    )


@activity.defn
@options(
    start_to_close=timedelta(hours=1),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=3),
)
async def list_snapshots(look: Look) -> Snapshots:
    """The snapshots in the repositories of some hosts, or in the one that all share. That one could
    not be looked into is a result."""
    if look.hosts:
        problems = []
        for member in look.members:
            seen = await see(look.plan, member)
            if seen.found is not None:
                return judging.kept(look.plan, seen.found, look.hosts, seen.sizes or {})
            problems.append(seen.because)
        return Snapshots(problems=tuple(problems))
    room = asyncio.Semaphore(AT_A_TIME)

    async def one(member: Member) -> Snapshots:
        async with room:
            seen = await see(look.plan, member)
        if seen.found is None:
            return Snapshots(problems=(seen.because,))
        return judging.kept(look.plan, seen.found, [member.host.name], seen.sizes or {})

    return together(await asyncio.gather(*(one(member) for member in look.members)))


@activity.defn
@options(start_to_close=timedelta(minutes=1), retry=RetryPolicy(maximum_attempts=3))
async def publish_status(status: BackupStatus, rows: tuple[Row, ...]) -> None:
    """Has the worker's /metrics say how backups are, of all `rows`; what is no more among them is no
    more said there."""
    metrics.publish(status, rows)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
