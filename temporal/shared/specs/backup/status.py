"""What is known of backups, by host and source: what is there, how old it is, and what was proved of it.

A source is protected when its newest snapshot is no older than was promised, and a restore of it was
proved no longer ago than was promised. Nothing else is called so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal, get_args

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import SCREEN
from temporal.shared.specs.backup.backup import BackupSpec, Protection

State = Literal["missing", "overdue", "wrong", "unknown", "unproved", "stale", "protected"]
"""missing: it has no snapshot. overdue: its newest snapshot is older than was promised. wrong: what was
restored of it last was not what had been backed up, or its newest snapshot is hit by damage. unknown:
nobody could look. unproved: no restore of it was ever proved. stale: the last proof is too old."""
STATES: tuple[State, ...] = get_args(State)
"""The worst first."""
FUTURE = timedelta(hours=1)
"""A snapshot that is further ahead of the clock than this was made by a clock that was wrong."""
STALE_LOCK = timedelta(minutes=30)
"""restic writes its lock anew every five minutes while it works; one that is older is nobody's."""
SHOWN = 500
"""Rows that a status has; how many there are of each state is told always."""
NAMED = 50
LISTED = 3000
"""Snapshots that a list has, the newest."""


class Row(Spec):
    """What is known of one source of one host.

    Attributes:
        because: why it is not protected.
        wrong: what was restored of it last was not what had been backed up, or it is damaged.
        late: it is worse than was promised. A source that is so new that it need not be proved yet is
            not protected, but nobody is told.
        newest, oldest: when its snapshots were made; snapshots from the future do not count.
        id: the newest snapshot's id.
        size: bytes in it, where restic tells (from 0.17).
        proof: when its restore was last proved; proof_of: of which snapshot; took: seconds that it was
            until all was there again.
        result: what the last drill of it said: proved, wrong, or failed, which proves nothing.
        tried: when that was.
    """

    host: str
    source: str
    state: State
    because: str = ""
    wrong: bool = False
    late: bool = False
    newest: datetime | None = None
    oldest: datetime | None = None
    snapshots: int = 0
    id: str = ""
    size: int | None = None
    proof: datetime | None = None
    proof_of: str = ""
    took: float | None = None
    result: str = ""
    tried: datetime | None = None

    @property
    def name(self) -> str:
        """Which one it is."""
        return f"{self.host}/{self.source}"


class Lock(Spec):
    """A lock in a repository.

    Attributes:
        here: the machine that made it is the one that looked.
    """

    id: str
    machine: str
    pid: int
    user: str = ""
    time: datetime
    exclusive: bool = False
    here: bool = False

    def stale(self, now: datetime) -> bool:
        """Whether nobody can be at work under it."""
        return now - self.time > STALE_LOCK

    def said(self, now: datetime) -> str:
        """Whose it is, how old, and what to do."""
        what = "exclusive lock" if self.exclusive else "lock"
        whose = f"{self.machine} (process {self.pid}{', ' + self.user if self.user else ''})"
        head = f"{what} {self.id[:8]} of {whose}, {age(now - self.time)} old"
        if not self.stale(now):
            return f"{head}: restic is at work there"
        return (
            f"{head}: restic would have renewed it, so it looks dead. See on {self.machine} that no"
            " restic runs, and remove it there: `restic unlock`"
        )


class Undeclared(Spec):
    """Snapshots of a host and source that the spec does not name. They are left alone."""

    host: str
    source: str
    snapshots: int
    newest: datetime

    def __str__(self) -> str:
        return f"{self.host}/{self.source} ({self.snapshots}, newest {self.newest:%Y-%m-%d})"


class RepositoryStatus(Spec):
    """What is known of one repository.

    Attributes:
        url: where it is, as the hosts reach it.
        by: the host that looked.
        because: why it could not be looked at.
        checked: when part of it was last checked; None if never.
        result: what that said: ok, damaged, or failed, which says nothing.
        damaged: parts that were damaged when they were last checked, as 3/12.
        packs: ids of damaged packs, the first of them.
        hit: ids of snapshots that the damage hits, the first of them; hits: how many there are, None if
            nobody could find out.
        unreadable: snapshots that are there and cannot be read.
        size: bytes that it takes, when it was last pruned.
        locks: whose locks are in the way of all others, and what to do.
        future: snapshots that were made by a clock that was ahead.
        undeclared: what is in it and no more in the spec; the first of them.
    """

    url: str
    by: str = ""
    because: str = ""
    checked: datetime | None = None
    result: str = ""
    damaged: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    hit: tuple[str, ...] = ()
    hits: int | None = 0
    unreadable: tuple[str, ...] = ()
    size: int | None = None
    locks: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    undeclared: tuple[Undeclared, ...] = ()

    @property
    def name(self) -> str:
        """Which one it is: a folder is one on each host."""
        return f"{self.by}:{self.url}" if self.url.startswith("/") else self.url

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, each in a sentence."""
        found = [f"could not be looked at: {self.because}"] if self.because else []
        if self.damaged:
            hit = ", ".join(each[:8] for each in self.hit)
            more = (self.hits or 0) - len(self.hit)
            which = {
                None: "which snapshots it hits could not be found out",
                0: "no snapshot is hit",
            }.get(self.hits, f"it hits {hit}" + (f" and {more} more" if more > 0 else ""))
            packs = f" (pack {', '.join(each[:8] for each in self.packs)})" if self.packs else ""
            found.append(f"is damaged in {', '.join(self.damaged)}{packs}: {which}")
        if self.unreadable:
            named = ", ".join(each[:8] for each in self.unreadable)
            found.append(f"has snapshots that cannot be read: {named}")
        return (*found, *(f"is locked: {each}" for each in self.locks))


class Look(Spec):
    """Input of the activity look_at_backups.

    Attributes:
        members: hosts to ask: each of its own repository; or, with
        hosts: of the one that all share, in this order until one has answered: what is there of these
            hosts.
        whole: these are all hosts that there are, so what is there of others is not declared.
    """

    plan: Protection
    members: tuple[Member, ...]
    hosts: tuple[str, ...] = ()
    whole: bool = True


ROWS = 2000
"""Rows that one activity gives at most: they have to fit a payload."""
HOSTS = 50
"""Hosts with repositories of their own that one activity asks."""
CANDIDATES = 5
"""Hosts that are asked of a shared repository until one has answered."""


def looks(spec: BackupSpec) -> Iterator[Look]:
    """What is to be looked at to have seen all of it."""
    members = tuple(spec.members(0, spec.total))
    plan = spec.each
    if not plan.repository.shared:
        for start in range(0, len(members), HOSTS):
            yield Look(plan=plan, members=members[start : start + HOSTS])
        return
    names = tuple(member.host.name for member in members)
    most = max(1, ROWS // len(plan.sources))
    for start in range(0, len(names), most):
        yield Look(
            plan=plan,
            members=members[:CANDIDATES],
            hosts=names[start : start + most],
            whole=len(names) <= most,
        )


class Looked(Spec):
    """Result of the activity look_at_backups."""

    rows: tuple[Row, ...] = ()
    repositories: tuple[RepositoryStatus, ...] = ()


class Kept(Spec):
    """A snapshot of a source, as it lies in a repository.

    Attributes:
        size: bytes in it, where restic tells (from 0.17).
        proof: what the last drill of just this one said: proved, wrong, failed; nothing: none was.
        damaged: a check found that something it needs is damaged.
        declared: the spec names its host and source.
    """

    host: str
    source: str
    id: str
    time: datetime
    size: int | None = None
    proof: str = ""
    damaged: bool = False
    declared: bool = True


class Snapshots(Spec):
    """Result of the activity list_snapshots, and of ListSnapshots.

    Attributes:
        total: how many there are; snapshots: the newest of them, the newest first.
        problems: what could not be looked at, and why.
    """

    total: int = 0
    snapshots: tuple[Kept, ...] = ()
    problems: tuple[str, ...] = ()

    def render(self) -> str:
        """For people."""
        lines = [
            f"{each.time:%Y-%m-%d %H:%M:%S} {each.id[:8]} {each.host}/{each.source}"
            + (f" {each.proof}" if each.proof else "")
            for each in self.snapshots
        ]
        more = self.total - len(self.snapshots)
        lines += [f"... and {more} older ones"] if more > 0 else []
        return "\n".join([*lines, *(f"! {each}" for each in self.problems)])


def together(found: Iterable[Snapshots]) -> Snapshots:
    """Of several repositories."""
    every = tuple(found)
    kept = sorted((each for one in every for each in one.snapshots), key=lambda each: each.time)
    return Snapshots(
        total=sum(one.total for one in every),
        snapshots=tuple(reversed(kept[-LISTED:])),
        problems=tuple(problem for one in every for problem in one.problems)[:NAMED],
    )


class BackupStatus(Spec):
    """How backups are: result of InspectBackups.

    Attributes:
        name: of the backup.
        at: when it was looked.
        rpo, proof: what is promised, in seconds.
        counts: sources by state.
        late: how many are worse than was promised.
        rows: the worst five hundred, the worst first.
        repositories: those with problems first; the first fifty.
        digest: of all that is wrong; empty if nothing is.
        told: the digest that people have been told of.
        untold: who was to be told and was not, and why.
    """

    name: str
    at: datetime
    rpo: float
    proof: float
    counts: dict[State, int]
    late: int = 0
    rows: tuple[Row, ...] = ()
    repositories: tuple[RepositoryStatus, ...] = ()
    digest: str = ""
    told: str = ""
    untold: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All sources of all hosts."""
        return sum(self.counts.values())

    @property
    def protected(self) -> bool:
        """Whether all are, and nothing is wrong with what they are kept in."""
        return self.counts.get("protected", 0) == self.total and not self.digest

    @property
    def summary(self) -> str:
        """In one line."""
        said = [f"{self.counts[state]} {state}" for state in STATES if self.counts.get(state)]
        bad = sum(1 for each in self.repositories if each.problems)
        said += (
            [f"{bad} {'repositories' if bad > 1 else 'repository'} with problems"] if bad else []
        )
        what = "source" if self.total == 1 else "sources"
        return f"{self.name}: {self.total} {what}: {', '.join(said)}"

    def render(self) -> str:
        """For people."""
        lines = [self.summary]
        worse = [each for each in self.rows if each.state != "protected"]
        lines += [f"  ! {each.name} {each.state}: {each.because}" for each in worse]
        more = self.total - self.counts.get("protected", 0) - len(worse)
        lines += [f"  ... and {more} more"] if more > 0 else []
        for each in self.repositories:
            lines += [f"  ! {each.name} {problem}" for problem in each.problems]
            lines += [f"  ? {each.name}: {one}" for one in each.future]
            if each.undeclared:
                named = ", ".join(map(str, each.undeclared[:5]))
                left = len(each.undeclared) - 5
                named += f" and {left} more" if left > 0 else ""
                lines.append(
                    f"  ? {each.name} also has snapshots that the spec does not name: {named}"
                )
        lines += [f"  ? not notified: {each}" for each in self.untold]
        return "\n".join([*lines, *([self.summary] if len(lines) > SCREEN else [])])


def status_of(
    plan: Protection, rows: Iterable[Row], repositories: Iterable[RepositoryStatus], at: datetime
) -> BackupStatus:
    """All that was seen, as one."""
    ordered = sorted(rows, key=worst_first)
    places = sorted(repositories, key=lambda each: (not each.problems, each.name))
    bad = [f"{each.name} {each.state}" for each in ordered if each.late]
    bad += [f"{each.name} {_kinds(each)}" for each in places if each.problems]
    digest = hashlib.sha256("\n".join(sorted(bad)).encode()).hexdigest()[:32] if bad else ""
    return BackupStatus(
        name=plan.name,
        at=at,
        rpo=plan.rpo.total_seconds(),
        proof=plan.proof.total_seconds(),
        counts=dict(Counter(each.state for each in ordered)),
        late=sum(each.late for each in ordered),
        rows=tuple(ordered[:SHOWN]),
        repositories=tuple(places[:NAMED]),
        digest=digest,
    )


def _kinds(found: RepositoryStatus) -> str:
    """What is wrong with it, without what changes from look to look, such as ages."""
    parts = ["unseen"] if found.because else []
    parts += [*found.damaged, *(each[:8] for each in found.unreadable)]
    return " ".join([*parts, *(["locked"] if found.locks else [])])


def worst_first(row: Row) -> tuple[int, bool, float, str, str]:
    """The order of rows: by state, of these the late ones first, the oldest first."""
    newest = row.newest.timestamp() if row.newest else 0.0
    return STATES.index(row.state), not row.late, newest, row.host, row.source


def age(value: timedelta) -> str:
    """How long ago, in the two units that matter.

    >>> age(timedelta(days=3, hours=2, minutes=5)), age(timedelta(minutes=75)), age(timedelta(seconds=8))
    ('3d2h', '1h15m', '8s')
    """
    seconds = int(value.total_seconds())
    if seconds < 0:
        return f"-{age(-value)}"
    for size, unit, smaller, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            count, rest = divmod(seconds, size)
            more = rest // smaller
            return f"{count}{unit}" + (f"{more}{part}" if more else "")
    return f"{seconds}s"
