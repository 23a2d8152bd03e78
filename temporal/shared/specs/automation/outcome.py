"""What came of the hosts of a fleet, and how far it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.rollout import Point

Ending = Literal[
    "unchanged", "changed", "drifted", "done", "incomplete", "failed", "unreachable", "outdated"
]
"""done: a command ended with 0; whether it changed something is not known. incomplete: it is done but
for what is named, as a backup without what could not be read. outdated: the host no longer looks as the
approved plan had it, and nothing was done there."""


SCREEN = 20
"""Lines after which the first ones may be out of sight."""


class HostOutcome(Spec):
    """What came of one host of a fleet."""

    host: str
    ending: Ending
    changed: tuple[str, ...] = ()
    """Ids of the resources that were changed; the first hundred."""
    because: str = ""
    """Why it failed."""
    plan: str = ""
    """Beginning of its plan's digest, where it was only planned: then it would be `changed`."""

    @property
    def summary(self) -> str:
        """In one line."""
        why = f": {self.reason}" if self.because else ""
        return f"{self.host} {self.ending}{why}"

    @property
    def reason(self) -> str:
        """Why it failed, without the host's name, which stands before it wherever it is shown."""
        return self.because.removeprefix(f"{self.host}: ")


class Waiting(Spec):
    """What somebody is asked to approve.

    Attributes:
        at: `plan`: what would be done; `canary`: that it goes on after the first wave.
        plan: digest of all plans, in the order of the hosts; for a canary, of what came of it.
        hosts: how many the approval is for.
        changing: how many of them would change, if that is known.
    """

    at: Point
    plan: str
    hosts: int
    changing: int = 0

    @property
    def summary(self) -> str:
        """In one line."""
        if self.at == "canary":
            return f"approval of the canary {self.plan[:12]}, before {self.hosts} more hosts"
        return f"approval of plan {self.plan[:12]}, which changes {self.changing} of {self.hosts} hosts"


def whole(parts: Iterable[str]) -> str:
    """One digest of many, in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Approval(Spec):
    """Who approved what: `by` is the person and why, in their words."""

    at: Point
    plan: str
    hosts: int
    by: str


MOST_BECAUSE = 2000
"""Characters of why a host failed that a fleet carries along: a hundred of them fit any payload."""


class FleetState(Spec):
    """How far a fleet is: what a run hands to its continuation.

    Attributes:
        next: the first member that was not begun.
        counts: hosts by how they ended.
        failures: the first hundred that failed or are incomplete, and why.
        asked: who asked for what, in their words: pause, resume, abort.
        paused, aborted: by whom it is now; nothing if it is not.
        unhealthy: what a health check found wrong, and after which wave; nothing ends that.
        recovering: the run before this one failed.
        planning: the hosts are planned, nothing is done to them yet.
        waiting: what somebody must approve before it goes on.
        lapsed: what nobody approved in time.
        approvals: what was approved, and by whom; the last hundred.
        untold: which targets of notifications were not told, and why; the last ten.
    """

    next: int = 0
    counts: dict[Ending, int] = Field(default_factory=dict)
    failures: tuple[HostOutcome, ...] = ()
    asked: tuple[str, ...] = ()
    paused: str = ""
    aborted: str = ""
    unhealthy: str = ""
    recovering: bool = False
    untold: tuple[str, ...] = ()
    planning: bool = False
    waiting: Waiting | None = None
    lapsed: str = ""
    approvals: tuple[Approval, ...] = ()

    @property
    def done(self) -> int:
        """Hosts that have ended."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Hosts that are not as declared."""
        return self.counts.get("failed", 0) + self.counts.get("unreachable", 0)

    def with_outcome(self, outcome: HostOutcome) -> FleetState:
        """One host more."""
        counts = {**self.counts, outcome.ending: self.counts.get(outcome.ending, 0) + 1}
        failed = outcome.ending in ("failed", "unreachable", "incomplete")
        short = outcome.model_copy(update={"because": outcome.because[:MOST_BECAUSE]})
        failures = (*self.failures, short)[:100] if failed else self.failures
        return self.model_copy(update={"counts": counts, "failures": failures})

    def without(self, ending: Ending) -> FleetState:
        """As if no host had ended so, and the first of those there are now were next."""
        counts = {kind: count for kind, count in self.counts.items() if kind != ending}
        return self.model_copy(update={"counts": counts, "next": 0})


class FleetProgress(Spec):
    """How far a fleet is, for whoever looks."""

    total: int
    state: FleetState
    running: tuple[str, ...]
    wave: int
    waves: int


class FleetReport(Spec):
    """Result of a workflow that goes over a fleet."""

    total: int
    state: FleetState

    @property
    def summary(self) -> str:
        """In one line."""
        kinds: tuple[Ending, ...] = (
            "done",
            "changed",
            "drifted",
            "unchanged",
            "incomplete",
            "outdated",
            "failed",
            "unreachable",
        )
        said = [
            f"{self.state.counts[kind]} {kind}" for kind in kinds if self.state.counts.get(kind)
        ]
        left = self.total - self.state.done
        return ", ".join([*said, *([f"{left} not begun"] if left else [])])

    def render(self) -> str:
        """For people: the summary, then what failed; after more than a screen the summary again."""
        head = f"{self.total} host{'s' * (self.total != 1)}: {self.summary}"
        lines = [head, *(f"  ! {each.host}: {each.reason}" for each in self.state.failures)]
        told = self.state.failed + self.state.counts.get("incomplete", 0)
        more = told - len(self.state.failures)
        lines += [f"  ... and {more} more"] if more > 0 else []
        lines += [
            f"  {each.at} {each.plan[:12]} of {each.hosts} hosts approved by {each.by}"
            for each in self.state.approvals
        ]
        lines += [f"  ? not notified: {each}" for each in self.state.untold]
        return "\n".join([*lines, *([head] if len(lines) > SCREEN else [])])
