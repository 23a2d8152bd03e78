"""Specs of a fleet of servers that are all brought to one declared state.

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

from pathlib import Path
from typing import Any

from pydantic import Field

from converge import AnyResource
from temporal.shared.specs.automation.fleet import Fleet, Member
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.server import ConvergeHost, HttpAnswer
from temporal.shared.specs.reading import Reading


class Shape(Spec):
    """What each host of a fleet should be like. The same for all, so it is kept once."""

    resources: tuple[AnyResource, ...] = Field(min_length=1)
    answers: tuple[HttpAnswer, ...] = ()
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)

    def at(self, member: Member) -> ConvergeHost:
        """What is wanted of one host."""
        return ConvergeHost(
            host=member.host,
            resources=self.resources,
            variables={**self.variables, **member.variables},
            material=self.material,
        )


class FleetSpec(Shape, Fleet):
    """A fleet and what each of its servers should be like: the input of ProvisionFleet."""

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
    def made_ready(cls, rest: dict[str, Any], folder: Path) -> Reading:
        """Roles expanded, files beside the spec taken in."""
        # Imported late: it needs the roles, and this module is loaded wherever workflows are.
        from temporal.shared.specs.automation.expanding import expand

        return expand(rest, folder)
