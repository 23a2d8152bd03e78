"""Specs of looking for drift: what a fleet should be like, and what follows if it is not.

inventory: hosts.yml
resources:
  - package: nginx
repair:                       # or none, which is the default; or, short: repair: 5%
  max_hosts: 5%
  only: [file, service:nginx]
notify: env://OPS_SLACK
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import FleetState, HostOutcome
from temporal.shared.specs.automation.provisioning import FleetSpec, Shape
from temporal.shared.specs.automation.rollout import Share, share_of

SHOWN = 100
"""Hosts that a report names."""
MOST_REPAIRED = 1000
"""Hosts that one run repairs: it has to remember each."""


class Repair(Spec):
    """What may be brought back to what is declared without anybody being asked.

    Attributes:
        max_hosts: with more drifted hosts than these nothing is repaired at all: so much drift is
            not somebody's hand on one server, and wants to be looked at. At most 1,000.
        only: kinds (`file`) or resources (`service:nginx`, `file:/etc/nginx/*`). A host that
            differs in anything else as well is left as it is. Nothing here: all may be repaired.
    """

    max_hosts: Share = "10%"
    only: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        short = isinstance(value, str | int) and not isinstance(value, bool)
        return {"max_hosts": value} if short else value

    def most(self, total: int) -> int:
        """How many drifted hosts of `total` it takes at the most."""
        return min(MOST_REPAIRED, share_of(self.max_hosts, total))

    def covers(self, resources: tuple[str, ...]) -> bool:
        """Whether all of these may be repaired.

        >>> Repair(only=("file", "service:ng*")).covers(("file:/etc/motd", "service:nginx"))
        True
        >>> Repair(only=("file",)).covers(("file:/etc/motd", "user:eve"))
        False
        """
        patterns = [each if ":" in each else f"{each}:*" for each in self.only]
        return not patterns or all(
            any(fnmatchcase(resource, pattern) for pattern in patterns) for resource in resources
        )


class Drifted(Spec):
    """One host that is not as declared.

    Attributes:
        digest: of what differs; the same drift has the same one.
        changes: the first ten resources that differ, as a plan marks them: `~ file:/etc/motd`.
        more: how many more differ.
        now: `drifted`: seen now; `unseen`: it was so when it was last looked at, and now it could
            not be; `repaired`: it was so, and is as declared now.
    """

    host: str
    digest: str
    changes: tuple[str, ...] = ()
    more: int = 0
    now: Literal["drifted", "unseen", "repaired"] = "drifted"

    def __str__(self) -> str:
        what = ", ".join([*self.changes, *([f"{self.more} more"] if self.more else [])])
        said = {
            "drifted": "",
            "unseen": " (seen before; not reached now)",
            "repaired": " (repaired)",
        }
        return f"{self.host}: {what}{said[self.now]}"


class DriftOutcome(HostOutcome):
    """Result of the activity detect_drift_on.

    Attributes:
        drift: what differs, in short; None if all is as declared.
        digest: beginning of the plan's digest: a repair does that plan or nothing.
    """

    drift: Drifted | None = None
    digest: str = ""

    @property
    def summary(self) -> str:
        """In one line."""
        return str(self.drift) if self.drift else f"{self.host}: as declared"


class DriftState(FleetState):
    """How far the looking is.

    Attributes:
        sum: of all drift, whatever order it was found in.
        hosts: the first hundred with drift.
        may: hosts that may be repaired, with the digests of their drift and of their plan; one over
            a thousand at most.
        before: hosts with drift as the run before this one on the same schedule left them.
        told: the sum of the drift that people know of.
    """

    sum: str = ""
    hosts: tuple[Drifted, ...] = ()
    may: dict[str, tuple[str, str]] = Field(default_factory=dict)
    before: tuple[Drifted, ...] = ()
    told: str = ""

    def with_drift(self, outcome: DriftOutcome, repair: Repair | None) -> DriftState:
        """One more host with drift."""
        drift = outcome.drift
        assert drift is not None
        # Of a hundred and more only the first hundred are known: nobody can say it is all covered.
        all_known = len(outcome.changed) < SHOWN or not (repair and repair.only)
        may = dict(self.may)
        if repair and all_known and repair.covers(outcome.changed) and len(may) <= MOST_REPAIRED:
            may[drift.host] = (drift.digest, outcome.digest)
        return self.model_copy(
            update={
                "sum": added(self.sum, drift.host, drift.digest),
                "hosts": (*self.hosts, drift)[:SHOWN],
                "may": may,
            }
        )

    def with_unseen(self, host: str) -> DriftState:
        """One more host that could not be looked at: what it was like before is still true, as far
        as anybody knows."""
        found = next((each for each in self.before if each.host == host), None)
        if found is None:
            return self
        unseen = found.model_copy(update={"now": "unseen"})
        return self.model_copy(
            update={
                "sum": added(self.sum, host, found.digest),
                "hosts": (*self.hosts, unseen)[:SHOWN],
            }
        )


def added(total: str, host: str, digest: str, sign: int = 1) -> str:
    """The sum of drift with that of one host more, or (`sign` -1) less; empty if there is none.

    A sum and no hash of a list: hosts answer in any order, and ten thousand need not be kept.

    >>> one, two = added("", "a", "1"), added("", "b", "2")
    >>> added(one, "b", "2") == added(two, "a", "1"), added(one, "a", "1", -1)
    (True, '')
    """
    piece = int.from_bytes(hashlib.sha256(f"{host}\0{digest}".encode()).digest()[:16])
    result = (int(total or "0", 16) + sign * piece) % 2**128
    return f"{result:032x}" if result else ""


class Repaired(Spec):
    """What came of the repair.

    Attributes:
        hosts: how many were looked at again, and are as declared now.
        because: why not all of them are, or none.
        run: the run of ProvisionFleet that did it; nothing if none was started.
    """

    hosts: int = 0
    because: str = ""
    run: str = ""


class DriftReport(Spec):
    """Result of DetectDrift.

    Attributes:
        total: hosts of the fleet.
        same: hosts as declared, when they were looked at.
        drifted: hosts that were not.
        unreached: hosts that could not be looked at; what they are like nobody knows.
        hosts: the first hundred with drift.
        failures: the first hundred that could not be looked at, and why.
        digest: of all drift that is left; empty if there is none.
        repair: what came of it, if there was something to repair and it was asked for.
        told: the digest that people have been told of.
        notified: whether this run told somebody.
        untold: who was to be told and was not, and why.
    """

    total: int
    same: int = 0
    drifted: int = 0
    unreached: int = 0
    hosts: tuple[Drifted, ...] = ()
    failures: tuple[HostOutcome, ...] = ()
    digest: str = ""
    repair: Repaired | None = None
    told: str = ""
    notified: bool = False
    untold: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[Drifted, ...]:
        """Hosts that are not as declared now, as far as known."""
        return tuple(each for each in self.hosts if each.now != "repaired")

    @property
    def summary(self) -> str:
        """In one line."""
        whole = self.same == self.total
        differ = f"{self.drifted} of {self.total} hosts differ from what is declared"
        parts = [f"{self.total} hosts, all as declared" if whole else differ]
        if self.repair and self.repair.hosts:
            parts.append(f"{self.repair.hosts} repaired")
        if self.unreached:
            parts.append(f"{self.unreached} could not be looked at")
        return ", ".join(parts)

    def render(self) -> str:
        """For people."""
        marks = {"drifted": "~", "unseen": "?", "repaired": "="}
        lines = [self.summary]
        lines += [f"  {marks[each.now]} {each}" for each in self.hosts]
        unseen = sum(each.now == "unseen" for each in self.hosts)
        more = self.drifted + unseen - len(self.hosts)
        lines += [f"  ... and {more} more"] if more > 0 else []
        lines += [f"  ! {each.host}: {each.reason}" for each in self.failures]
        more = self.unreached - len(self.failures)
        lines += [f"  ... and {more} more that could not be looked at"] if more > 0 else []
        if self.repair:
            run = f" (run {self.repair.run})" if self.repair.run else ""
            why = f": {self.repair.because}" if self.repair.because else ""
            lines.append(f"repaired {self.repair.hosts or 'nothing'}{run}{why}")
        lines += [f"  ? not notified: {each}" for each in self.untold]
        return "\n".join(lines)


class DriftSpec(FleetSpec):
    """A fleet, what each of its servers should be like, and what follows if one is not: the input of
    DetectDrift.

    All hosts are looked at at once, `rollout.parallel` at a time. In what steps they are repaired
    the rest of `rollout` says.
    """

    repair: Repair | None = None
    state: DriftState = DriftState()

    @field_validator("repair", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "none" else value

    def repairing(self, plans: Mapping[str, str]) -> FleetSpec:
        """The fleet of those hosts of it that `plans` names, each to be brought to what is declared
        by just the plan of that digest."""
        members = [
            {**each.model_dump(), "approved": plans[each.host.name]}
            for each in self.members(0, self.total)
            if each.host.name in plans
        ]
        rest = {name: getattr(self, name) for name in (*Shape.model_fields, "rollout")}
        return FleetSpec.model_validate(FleetSpec.of(rest, members))
