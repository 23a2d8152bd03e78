"""Specs of one server and what it should be like.

host: admin@web1.example.org
resources:
  - package: nginx
  - service: nginx
    running: true
answers:
  - http: /
    contains: Welcome

In the place of `host`, `create` says how the server is made (see creating.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from converge import AnyResource, Change
from converge.plans import summary
from converge.render import render_plan
from converge.reports import Report
from temporal.shared.errors import Permanent
from temporal.shared.specs.automation.creating import Create, Created, Register, named
from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.automation.notices import Notify
from temporal.shared.specs.automation.wanted import Wanted
from temporal.shared.specs.reading import Reading

NOT_THERE = (
    "{name} is not there yet: the spec says how it is created, so all of it is known only after"
    " that. ProvisionServer creates it and brings it to what is declared; to look at one that is"
    " there, say which by --host or --inventory"
)


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
        host: where it is; or
        create: how it is made, for ProvisionServer.
        register_in: where it is written down when it is as declared.
        resources: what it should have, in the order in which it is to be made.
        answers: what it should answer afterwards.
        variables: what templates are rendered with, besides their own.
        material: files beside the spec that resources take, by their path from there, as base64.
            Filled in where the spec is read: the run needs nothing of that machine.
        approved: a plan that somebody has seen; without its digest nothing is applied.
        notify: who is told how ProvisionServer ended.
    """

    host: HostSpec | None = None
    create: Create | None = None
    register_in: Register | None = None
    resources: Wanted = Field(min_length=1)
    answers: tuple[HttpAnswer, ...] = ()
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)
    approved: Planned | None = None
    notify: Notify | None = None

    @model_validator(mode="after")
    def _there_or_to_be_made(self) -> ServerSpec:
        if (self.host is None) == (self.create is None):
            raise ValueError("give exactly one of host and create")
        if self.create is not None and self.approved is not None:
            raise ValueError("a server that is not there yet has no plan to be approved")
        if self.register_in is not None:
            try:
                named(self.name)  # it is a file's name there
            except ValueError as error:
                raise ValueError(f"register_in: {self.name!r} {error}: give an alias") from None
        return self

    @property
    def name(self) -> str:
        """What the server is called."""
        if self.create is not None:
            return self.create.name
        assert self.host is not None
        return self.host.name

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this: roles expanded, files beside it taken in."""
        # Imported late: it needs the roles, and this module is loaded wherever workflows are.
        from temporal.shared.specs.automation.expanding import expand

        register = value.get("register_in") if isinstance(value, Mapping) else None
        if isinstance(register, Mapping) and isinstance(register.get("inventory"), str):
            place = str((folder / register["inventory"]).absolute())
            value = {**value, "register_in": {**register, "inventory": place}}
        return expand(value, folder)


class ConvergeHost(Spec):
    """Input of the activities converge_host and plan_host."""

    host: HostSpec
    resources: tuple[AnyResource, ...]
    variables: dict[str, Any] = Field(default_factory=dict)
    material: dict[str, str] = Field(default_factory=dict)
    approved: Planned | None = None

    @classmethod
    def of(cls, spec: ServerSpec, host: HostSpec | None = None) -> ConvergeHost:
        """The part of `spec` that the host is brought to; `host` if it was made just now."""
        there = host or spec.host
        if there is None:
            raise Permanent(NOT_THERE.format(name=spec.name))
        return cls(
            host=there,
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
    """Result of ProvisionServer: what changed, and what the server answers now.

    Attributes:
        created: the server, if it was to be made.
        registered: the file on the worker's machine in which it stands now.
    """

    report: Report
    answers: tuple[Answered, ...] = ()
    created: Created | None = None
    registered: str | None = None
    untold: tuple[str, ...] = ()
    """Which targets of notifications were not told, and why."""

    @property
    def summary(self) -> str:
        """In one line."""
        return self.report.summary

    def render(self) -> str:
        """For people: changes as a plan shows them, the summary, then the answers."""
        lines = []
        if self.created:
            what = "created" if self.created.fresh else "was there already"
            lines += [f"{self.created.summary} {what}", ""]
        lines += [self.report.render().rstrip()]
        if not self.report.changed and self.report.ok:
            lines.append("nothing changed: it already was as wanted")
        for answer in self.answers:
            lines += ["", f"{answer.summary}:", _indented(answer.body)]
        if self.registered:
            lines += ["", f"registered in {self.registered}"]
        lines += [f"not notified: {each}" for each in self.untold]
        return "\n".join(lines)


def _indented(text: str, lines: int = 12) -> str:
    rows = text.strip().splitlines()
    more = [f"... {len(rows) - lines} more lines"] if len(rows) > lines else []
    return "\n".join(f"    {row}" for row in rows[:lines] + more)
