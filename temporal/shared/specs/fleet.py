"""Specs of a fleet: many servers brought to one declared state, wave by wave.

inventory: hosts.yml
limit: web
resources:
  - package: nginx
rollout:
  canary: 1
  wave: 25%
  max_failures: 5%
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter

from converge import AnyResource
from temporal.shared.specs.automation import ConvergeHost, HostSpec, HttpAnswer, Spec
from temporal.shared.specs.reading import Misfit, Reading

PAGE = 500
"""Members in one page: what a workflow has decoded at a time."""


def _share(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Share = Annotated[str, BeforeValidator(_share), Field(pattern=r"^(\d+|\d{1,2}(\.\d+)?%|100%)$")]
"""So many hosts, or so many in a hundred: `3`, `25%`."""


def share_of(share: str, total: int) -> int:
    """How many of `total` hosts `share` is; parts of a host are rounded up.

    >>> share_of("25%", 10), share_of("3", 10), share_of("30", 10)
    (3, 3, 10)
    """
    if share.endswith("%"):
        return min(total, math.ceil(total * float(share[:-1]) / 100))
    return min(total, int(share))


class Rollout(Spec):
    """In what steps a fleet is changed, and when to stop.

    Attributes:
        canary: hosts of the first wave; 0: none of their own.
        wave: hosts of each wave after it.
        parallel: at most so many at a time within a wave.
        max_failures: with more failed hosts than these nothing new is begun. A host that is not
            reached has failed.
        pause: seconds to wait after each wave.
    """

    canary: Share = "1"
    wave: Share = "25%"
    parallel: int = Field(50, ge=1, le=500)
    max_failures: Share = "0"
    pause: float = Field(0.0, ge=0, le=7 * 86400)

    def waves(self, total: int) -> list[tuple[int, int]]:
        """First host and the one after the last of each wave.

        >>> Rollout(canary=1, wave="50%").waves(6)
        [(0, 1), (1, 4), (4, 6)]
        """
        ends = [share_of(self.canary, total)]
        step = max(1, share_of(self.wave, total))
        while ends[-1] < total:
            ends.append(min(total, ends[-1] + step))
        return [(a, b) for a, b in zip([0, *ends], ends, strict=False) if a < b]


class Shape(Spec):
    """What each host of a fleet should be like. The same for all, so it is kept once."""

    resources: tuple[AnyResource, ...] = Field(min_length=1)
    answers: tuple[HttpAnswer, ...] = ()
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)


class Member(Spec):
    """One host of a fleet, and what templates are rendered with there."""

    host: HostSpec
    variables: dict[str, Any] = Field(default_factory=dict)

    def of(self, shape: Shape) -> ConvergeHost:
        """What is wanted of this host."""
        return ConvergeHost(
            host=self.host,
            resources=shape.resources,
            variables={**shape.variables, **self.variables},
            material=shape.material,
        )


Ending = Literal["unchanged", "changed", "failed", "unreachable"]


class HostOutcome(Spec):
    """What came of one host of a fleet."""

    host: str
    ending: Ending
    changed: tuple[str, ...] = ()
    """Ids of the resources that were changed; the first hundred."""
    because: str = ""
    """Why it failed."""


class FleetState(Spec):
    """How far a fleet is: what a run hands to its continuation.

    Attributes:
        next: the first member that was not begun.
        counts: hosts by how they ended.
        failures: the first hundred that failed, and why.
        asked: who asked for what, in their words: pause, resume, abort.
        paused, aborted: by whom it is now; nothing if it is not.
    """

    next: int = 0
    counts: dict[Ending, int] = Field(default_factory=dict)
    failures: tuple[HostOutcome, ...] = ()
    asked: tuple[str, ...] = ()
    paused: str = ""
    aborted: str = ""

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
        failed = outcome.ending in ("failed", "unreachable")
        failures = (*self.failures, outcome)[:100] if failed else self.failures
        return self.model_copy(update={"counts": counts, "failures": failures})


_MEMBERS: TypeAdapter[tuple[Member, ...]] = TypeAdapter(tuple[Member, ...])


class Fleet(Shape):
    """A fleet and what it should be like: the input of ProvisionFleet.

    In a file, `hosts` (a list) or `inventory` (a path beside the file) with `limit` says which hosts.

    Attributes:
        pages: the members, as JSON, a page at a time: ten thousand of them are not all decoded at once.
        total: how many members there are.
        rollout: in what steps.
        state: how far it is, where a run goes on from another; nobody writes that in a file.
    """

    pages: tuple[str, ...]
    total: int = Field(ge=1)
    rollout: Rollout = Rollout()
    state: FleetState = FleetState()

    @classmethod
    def of(cls, shape: dict[str, Any], members: list[dict[str, Any]]) -> dict[str, Any]:
        """The value of a fleet of `members`, each a Member's value."""
        checked = _MEMBERS.validate_python(members)
        parts = [checked[at : at + PAGE] for at in range(0, len(checked), PAGE)]
        pages = [_MEMBERS.dump_json(part, exclude_defaults=True).decode() for part in parts]
        return {**shape, "pages": pages, "total": len(checked)}

    def members(self, start: int, stop: int) -> Iterator[Member]:
        """The members from `start` to before `stop`."""
        for number in range(start // PAGE, math.ceil(stop / PAGE)):
            first = number * PAGE
            page = _MEMBERS.validate_json(self.pages[number])
            yield from page[max(0, start - first) : stop - first]

    @property
    def shape(self) -> Shape:
        """What each of them should be like."""
        return Shape(
            resources=self.resources,
            answers=self.answers,
            variables=self.variables,
            material=self.material,
        )

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this: hosts gathered, roles expanded, files taken in."""
        from temporal.shared.specs.expanding import expand

        if not isinstance(value, dict) or "pages" in value:
            return Reading(value)
        places = ("hosts", "inventory", "limit")
        ready = expand({key: each for key, each in value.items() if key not in places}, folder)
        members = _gathered(value, folder)
        _refuse_twice(members)
        return Reading(cls.of(ready.value, members), ready.origins)


def _gathered(value: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    from temporal.shared.errors import SpecError
    from temporal.shared.specs.selecting import chosen

    hosts, inventory = value.get("hosts"), value.get("inventory")
    if (hosts is None) == (inventory is None):
        raise Misfit(((), "give exactly one of hosts and inventory", None))
    if inventory is None:
        if not isinstance(hosts, list) or not hosts:
            raise Misfit((("hosts",), "must be a list of hosts, with one at least", hosts))
        return [{"host": each} for each in hosts]
    if not isinstance(inventory, str):
        raise Misfit((("inventory",), "must be the path of an inventory", inventory))
    try:
        found = chosen(folder / inventory, value.get("limit"))
    except SpecError as error:
        raise Misfit(
            (("limit" if value.get("limit") else "inventory",), str(error), None)
        ) from None
    return [{"host": each.host, "variables": dict(each.variables)} for each in found]


def _refuse_twice(members: list[dict[str, Any]]) -> None:
    """The same place under two names would be worked on by two at a time."""
    seen: dict[tuple[Any, ...], str] = {}
    for member in members:
        host = TypeAdapter(HostSpec).validate_python(member["host"])
        place = (host.local, host.lab_name, host.lab, host.address, host.port or 22, host.jump)
        if place in seen:
            other = seen[place]
            both = host.name if other == host.name else f"{other} and {host.name}"
            where = host.address or host.lab or "local"
            raise Misfit((("hosts",), f"the same host stands there twice: {both} ({where})", None))
        seen[place] = host.name


class FleetProgress(Spec):
    """How far a fleet is, for whoever looks."""

    total: int
    state: FleetState
    running: tuple[str, ...]
    wave: int
    waves: int


class FleetReport(Spec):
    """Result of ProvisionFleet."""

    total: int
    state: FleetState

    @property
    def summary(self) -> str:
        """In one line."""
        kinds: tuple[Ending, ...] = ("changed", "unchanged", "failed", "unreachable")
        said = [
            f"{self.state.counts[kind]} {kind}" for kind in kinds if self.state.counts.get(kind)
        ]
        left = self.total - self.state.done
        return ", ".join([*said, *([f"{left} not begun"] if left else [])])

    def render(self) -> str:
        """For people: the summary, then what failed."""
        lines = [f"{self.total} hosts: {self.summary}"]
        lines += [f"  ! {each.host}: {each.because}" for each in self.state.failures]
        more = self.state.failed - len(self.state.failures)
        return "\n".join([*lines, *([f"  ... and {more} more"] if more > 0 else [])])


class Word(Spec):
    """What somebody says to a run: pause, resume, abort."""

    by: str = Field(min_length=1)
    why: str = ""

    def __str__(self) -> str:
        return f"{self.by}: {self.why}" if self.why else self.by
