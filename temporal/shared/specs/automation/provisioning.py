"""Specs of a fleet of servers that are all brought to one declared state.

inventory: hosts.yml
limit: web
resources:
  - package: nginx
rollout:
  canary: 1
  wave: 25%
  max_failures: 5%
  approve: plan
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from temporal.shared.specs.automation.fleet import Fleet, Member
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.rollout import Point
from temporal.shared.specs.automation.server import ConvergeHost, HttpAnswer, Planned
from temporal.shared.specs.automation.wanted import Wanted
from temporal.shared.specs.reading import Reading


class Shape(Spec):
    """What each host of a fleet should be like. The same for all, so it is kept once.

    Attributes:
        variants: where roles and variables make something else of `resources` for some hosts: what
            those get. A member says which by its number, from 1; 0 is `resources`.
    """

    resources: Wanted = Field(min_length=1)
    answers: tuple[HttpAnswer, ...] = ()
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)
    variants: tuple[Wanted, ...] = ()

    def at(self, member: Member) -> ConvergeHost:
        """What is wanted of one host."""
        several = self.variants and member.variant
        return ConvergeHost(
            host=member.host,
            resources=self.variants[member.variant - 1] if several else self.resources,
            variables={**self.variables, **member.variables},
            material=self.material,
        )


class MemberPlan(Spec):
    """What would change on one host of a fleet, or why that cannot be told."""

    host: str
    planned: Planned | None = None
    because: str = ""

    @property
    def summary(self) -> str:
        """In one line."""
        return f"{self.host}: {self.because if self.planned is None else self.planned.summary}"


DIGITS = 32
"""Of a host's digest so many are kept: no other plan has the same, and ten thousand fit an input."""


class Preview(Spec):
    """What was planned so far, as digests: what a run that plans first hands to its continuation.

    Attributes:
        places: of which members this is; None: of all of them.
        plans: beginning of the digest of each of these, in their order; empty: no plan can be made.
        changing: how many of these would change.
        again: members that had changed when their turn came; they are planned again.
    """

    places: tuple[int, ...] | None = None
    plans: tuple[str, ...] = ()
    changing: int = 0
    again: tuple[int, ...] = ()


class FleetSpec(Shape, Fleet):
    """A fleet and what each of its servers should be like: the input of ProvisionFleet.

    Attributes:
        preview: how far planning is, where a run goes on from another; nobody writes that in a file.
    """

    points: ClassVar[frozenset[Point]] = frozenset({"plan", "canary"})

    preview: Preview | None = None

    @property
    def shape(self) -> Shape:
        """What each of them should be like."""
        return Shape(
            resources=self.resources,
            answers=self.answers,
            variables=self.variables,
            material=self.material,
            variants=self.variants,
        )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The same by the member's `variant`: each without the others, which a host does not need."""
        shape = self.shape
        return tuple(
            shape.model_copy(update={"resources": resources, "variants": ()})
            for resources in (self.resources, *self.variants)
        )

    @classmethod
    def made_ready_for(
        cls, rest: dict[str, Any], folder: Path, members: list[dict[str, Any]]
    ) -> Reading:
        """Roles expanded, files beside the spec taken in; for each host if need be."""
        # Imported late: it needs the roles, and this module is loaded wherever workflows are.
        from temporal.shared.specs.automation.varying import expanded_for

        return expanded_for(rest, folder, members)
