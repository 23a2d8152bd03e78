"""How a repository is maintained: what goes, what is reclaimed, what is checked; and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from temporal.shared.amounts import size
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import HostOutcome

Step = Literal["forget", "prune", "check"]
Bytes = Annotated[str, StringConstraints(pattern=r"^\d+[KMGT]?$")]
MOST_FORGOTTEN = 1000
"""Snapshots that go in one run, the oldest first; the rest goes in the next."""


class Maintain(Spec):
    """How a repository is maintained.

    Attributes:
        steps: which of them a run does. Each can have a schedule of its own.
        dry_run: say which snapshots would go, and do nothing.
        max_repack: bytes that one prune rewrites at most, as 2G.
        max_unused: what may stay unused: bytes, or a share of the repository.
        subsets: the content is checked in so many parts, one a run, the one that is longest ago; 0:
            only the structure is.
    """

    steps: tuple[Step, ...] = Field(("forget", "prune", "check"), min_length=1)
    dry_run: bool = False
    max_repack: Bytes = "4G"
    max_unused: Annotated[
        str, StringConstraints(pattern=r"^(\d+[KMGT]?|\d{1,2}(\.\d+)?%|unlimited)$")
    ] = "5%"
    subsets: int = Field(12, ge=0, le=255)


class Going(Spec):
    """A snapshot that goes."""

    id: str
    time: datetime


class Group(Spec):
    """The snapshots of one source of one host, and what becomes of them.

    Attributes:
        kept: how many stay.
        going: those that go, the oldest first.
        proved: the newest one that was proved, where only that keeps it.
        left: why none goes, though some would.
    """

    host: str
    source: str
    kept: int
    going: tuple[Going, ...] = ()
    proved: str = ""
    left: str = ""

    @property
    def name(self) -> str:
        """Which one it is."""
        return f"{self.host}/{self.source}"


class MaintainChoice(Spec):
    """Result of the activity choose_maintenance: what is to be done in a repository. Just that is done.

    Attributes:
        groups: those of which something goes, or should and does not.
        going, kept: how many snapshots go and stay in all; more go in the next run.
        more: how many.
        notes: ids of notes that go with them, because they are many and old.
        refused: why nothing is forgotten.
        checks: which parts are to be checked: 3/12, or structure.
        undeclared: hosts and sources that are in the repository and not in the spec: left alone.
        because: why nothing at all can be done.
    """

    host: str
    url: str = ""
    groups: tuple[Group, ...] = ()
    going: int = 0
    kept: int = 0
    more: int = 0
    notes: tuple[str, ...] = ()
    refused: str = ""
    checks: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    because: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """All that is forgotten."""
        return (*(each.id for group in self.groups for each in group.going), *self.notes)

    @property
    def left(self) -> tuple[Group, ...]:
        """Groups that are left alone, though something should go."""
        return tuple(group for group in self.groups if group.left)

    @property
    def would(self) -> HostOutcome:
        """What a dry run ends with."""
        if self.because or self.refused:
            return HostOutcome(
                host=self.host, ending="failed", because=self.because or self.refused
            )
        named = [
            f"{group.name}: {len(group.going)} of {group.kept + len(group.going)} snapshots"
            for group in self.groups
            if group.going
        ]
        ending = HostOutcome(host=self.host, ending="done", changed=tuple(named[:100]))
        why = "; ".join(f"{group.name}: {group.left}" for group in self.left)
        return ending.model_copy(update={"ending": "incomplete", "because": why}) if why else ending


class Checked(Spec):
    """What a check of a part of the repository found.

    Attributes:
        part: 3/12, or structure.
        result: ok; damaged; failed: it could not be done, and says nothing.
        packs: ids of the packs that are damaged, the first twenty.
        hit: ids of the snapshots that need what is in them, the first twenty; hits: how many, None if
            that could not be found out.
        because: what restic said, or why it could not be done.
        seconds: how long it took.
        noted: whether the result is written down in the repository.
    """

    part: str
    result: Literal["ok", "damaged", "failed"]
    packs: tuple[str, ...] = ()
    hit: tuple[str, ...] = ()
    hits: int | None = 0
    because: str = ""
    seconds: float = 0.0
    noted: bool = False

    @property
    def reason(self) -> str:
        """Why it is not as it should be, in a line; nothing if it is."""
        if self.result == "failed":
            return f"check of {self.part}: {self.because}"
        if self.result == "ok":
            return "" if self.noted else f"check of {self.part}: well, but {self.because}"
        hit = ", ".join(each[:8] for each in self.hit)
        more = (self.hits or 0) - len(self.hit)
        which = {
            None: "which snapshots it hits could not be found out",
            0: "it hits no snapshot",
        }.get(self.hits, f"it hits snapshot {hit}" + (f" and {more} more" if more > 0 else ""))
        packs = ", ".join(each[:8] for each in self.packs)
        where = (
            f"pack {packs} is damaged" if packs else f"the repository is damaged ({self.because})"
        )
        return f"check of {self.part}: {where}; {which}"


class Maintained(Spec):
    """What came of the maintenance of a repository. Kept as the activity's result.

    Attributes:
        host: the one that did it.
        forgotten: how many snapshots and notes are gone; remain: how many of those that were to go
            are still there.
        freed: bytes that pruning freed; size: that the repository takes since; None: not pruned.
        checks: what was checked.
        problems: what could not be done, and what to do.
        unlocked: locks of our own dead that were removed.
        because: why nothing at all was begun.
    """

    host: str
    forgotten: int = 0
    remain: int = 0
    freed: int | None = None
    size: int | None = None
    checks: tuple[Checked, ...] = ()
    problems: tuple[str, ...] = ()
    unlocked: int = 0
    because: str = ""

    def outcome(self, chosen: MaintainChoice) -> HostOutcome:
        """The part of it that a fleet's report is made of."""
        if self.because:
            return HostOutcome(host=self.host, ending="failed", because=self.because)
        done = [f"forgot {self.forgotten} snapshots"] if self.forgotten else []
        done += [f"freed {size(self.freed)}"] if self.freed else []
        done += [f"checked {each.part}: {each.result}" for each in self.checks]
        wrong = [chosen.refused] if chosen.refused else []
        wrong += [*self.problems, *(each.reason for each in self.checks if each.result != "ok")]
        left = [f"{group.name}: {group.left}" for group in chosen.left]
        left += [each.reason for each in self.checks if each.result == "ok" and each.reason]
        because = "; ".join([*wrong, *left])
        ending = HostOutcome(host=self.host, ending="done", changed=tuple(done))
        if wrong:
            return ending.model_copy(update={"ending": "failed", "because": because})
        return (
            ending.model_copy(update={"ending": "incomplete", "because": because})
            if left
            else ending
        )
