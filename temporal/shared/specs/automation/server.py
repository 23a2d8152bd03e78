"""Specs of one server and what it should be like.

host: admin@web1.example.org
resources:
  - package: nginx
  - service: nginx
    running: true
answers:
  - http: /
    contains: Welcome
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from converge import AnyResource, Change
from converge.plans import summary
from converge.render import render_plan
from converge.reports import Report
from temporal.shared.secrets import HIDDEN_INPUT, check_reference
from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.reading import Reading


class HttpAnswer(Spec):
    """What the server should answer over HTTP, seen from the worker.

    Attributes:
        http: path (on the server's own address) or whole URL.
        port: port of the path form.
        status: expected status code.
        contains: text that the body must have.
        within: seconds to wait for it.
    """

    http: str
    port: int = Field(80, ge=1, le=65535)
    status: int = Field(200, ge=100, le=599)
    contains: str | None = None
    within: float = Field(30.0, gt=0, le=3600)

    @field_validator("http")
    @classmethod
    def _path_or_url(cls, value: str) -> str:
        if not value.startswith(("/", "http://", "https://")):
            raise ValueError("must be a path, as in /health, or a whole http(s) URL")
        return value


class Planned(Spec):
    """What would change on a server: the result of PlanServer.

    Attributes:
        host: what the spec calls it.
        target: where it is, as the plan's digest has it.
        changes: in the order in which they are made.
        unchanged: how many resources are as declared.
        digest: of wanted state and changes; the same plan has the same one.
    """

    host: str
    target: str
    changes: tuple[Change, ...]
    unchanged: int
    digest: str

    @property
    def empty(self) -> bool:
        """Is the server as declared?"""
        return not self.changes

    @property
    def summary(self) -> str:
        """In one line."""
        return summary(self.changes, self.unchanged)

    def render(self) -> str:
        """For people, as a plan is known from Terraform."""
        return render_plan(self.host, self.changes, self.summary)


class ServerSpec(Spec):
    """One server and what it should be like: the input of ProvisionServer and PlanServer.

    Attributes:
        host: where it is.
        resources: what it should have, in the order in which it is to be made.
        answers: what it should answer afterwards.
        variables: what templates are rendered with, besides their own.
        material: files beside the spec that resources take, by their path from there, as base64.
            Filled in where the spec is read: the run needs nothing of that machine.
        approved: a plan that somebody has seen; without its digest nothing is applied.
    """

    host: HostSpec
    resources: tuple[AnyResource, ...] = Field(min_length=1)
    answers: tuple[HttpAnswer, ...] = ()
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)
    approved: Planned | None = None

    @field_validator("resources")
    @classmethod
    def _references_are_references(
        cls, resources: tuple[AnyResource, ...]
    ) -> tuple[AnyResource, ...]:
        # converge takes any text for a reference; a secret typed in its place must not travel.
        for resource in resources:
            for reference in resource.secrets():
                try:
                    check_reference(reference)
                except ValueError as error:
                    raise PydanticCustomError(
                        HIDDEN_INPUT,
                        "{id}: a secret of it {why}",
                        {"id": resource.id, "why": str(error)},
                    ) from None
        return resources

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this: roles expanded, files beside it taken in."""
        # Imported late: it needs the roles, and this module is loaded wherever workflows are.
        from temporal.shared.specs.automation.expanding import expand

        return expand(value, folder)


class ConvergeHost(Spec):
    """Input of the activities converge_host and plan_host."""

    host: HostSpec
    resources: tuple[AnyResource, ...]
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)
    approved: Planned | None = None

    @classmethod
    def of(cls, spec: ServerSpec) -> ConvergeHost:
        """The part of `spec` that the host is brought to."""
        return cls(
            host=spec.host,
            resources=spec.resources,
            variables=spec.variables,
            material=spec.material,
            approved=spec.approved,
        )


class CheckAnswers(Spec):
    """Input of the activity check_answers."""

    host: HostSpec
    answers: tuple[HttpAnswer, ...]


class Answered(Spec):
    """What came over HTTP.

    Attributes:
        url: what was asked.
        status: the status code.
        body: beginning of the body, at most 2,000 characters.
    """

    url: str
    status: int
    body: str

    @property
    def summary(self) -> str:
        """In one line."""
        return f"{self.url} answers {self.status}"


class Provisioned(Spec):
    """Result of ProvisionServer: what changed, and what the server answers now."""

    report: Report
    answers: tuple[Answered, ...] = ()

    @property
    def summary(self) -> str:
        """In one line."""
        return self.report.summary

    def render(self) -> str:
        """For people: changes as a plan shows them, the summary, then the answers."""
        lines = [self.report.render().rstrip()]
        if not self.report.changed and self.report.ok:
            lines.append("nothing changed: it already was as wanted")
        for answer in self.answers:
            lines += ["", f"{answer.summary}:", _indented(answer.body)]
        return "\n".join(lines)


def _indented(text: str, lines: int = 12) -> str:
    rows = text.strip().splitlines()
    more = [f"... {len(rows) - lines} more lines"] if len(rows) > lines else []
    return "\n".join(f"    {row}" for row in rows[:lines] + more)
