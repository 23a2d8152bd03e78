"""What tells whether all is well: asked between the waves of a fleet.

checks:
  - http: https://shop.example.org/health
    contains: ok
  - command: [pg_isready, -q]
    on: admin@db1.example.org
  - prometheus: http://prometheus.example.org:9090
    query: sum(rate(http_requests_total{code=~"5.."}[5m]))
    max: 0.5
    within: 300
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from temporal.shared.secrets import HIDDEN_INPUT, SecretRef
from temporal.shared.specs.automation.hosts import HostSpec, Spec

KINDS = ("http", "command", "prometheus")


class _Asked(Spec):
    """What all checks have.

    Attributes:
        within: seconds it has to become healthy; it is asked again until then.
        steady: seconds it must stay healthy from then on.
    """

    within: float = Field(60.0, gt=0, le=3600)
    steady: float = Field(0.0, ge=0, le=3600)


class HttpCheck(_Asked):
    """A URL that answers, seen from the worker. Redirects are followed.

    Attributes:
        http: the whole URL.
        status: expected status code.
        contains: text that the body must have.
        token: secret reference of a bearer token.
    """

    http: str
    status: int = Field(200, ge=100, le=599)
    contains: str | None = None
    token: SecretRef | None = None

    @field_validator("http")
    @classmethod
    def _url(cls, value: str) -> str:
        return check_url(value)

    def __str__(self) -> str:
        return self.http


class CommandCheck(_Asked):
    """A command that exits 0.

    Attributes:
        command: program and arguments; or a text, for sh.
        on: the host on which it runs; default: the worker's own machine.
    """

    command: str | tuple[str, ...]
    on: HostSpec | None = None

    @field_validator("command")
    @classmethod
    def _something(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        words = (value,) if isinstance(value, str) else value
        if not words or not words[0].strip():
            raise ValueError("must be a command: a text, or a list of program and arguments")
        if any("\0" in word for word in words):
            raise ValueError("must not contain a NUL character")
        return value

    def __str__(self) -> str:
        said = self.command if isinstance(self.command, str) else " ".join(self.command)
        short = " ".join(said.split())
        where = f" on {self.on.name}" if self.on else ""
        return f"`{short if len(short) <= 80 else short[:79] + '…'}`{where}"


class PrometheusCheck(_Asked):
    """A query of which every value is as it should be.

    Attributes:
        prometheus: URL of the server.
        query: in PromQL; an instant vector or a scalar must come of it.
        min, max: bounds that every value keeps.
        equals: what every value is.
        empty: what it means that no series came. A series that is not there cannot be told from one
            that was misspelt, so it is unhealthy unless you say otherwise, as for `ALERTS`.
        token: secret reference of a bearer token.
    """

    prometheus: str
    query: str = Field(min_length=1)
    min: float | None = None
    max: float | None = None
    equals: float | None = None
    empty: Literal["unhealthy", "healthy"] = "unhealthy"
    token: SecretRef | None = None

    @field_validator("prometheus")
    @classmethod
    def _url(cls, value: str) -> str:
        if urlsplit(check_url(value)).query:
            raise ValueError("must be the server's URL alone; the query stands in `query`")
        return value.rstrip("/")

    @field_validator("min", "max", "equals")
    @classmethod
    def _a_number(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @model_validator(mode="after")
    def _one_condition(self) -> PrometheusCheck:
        bounds = self.min is not None or self.max is not None
        if bounds == (self.equals is not None):
            raise ValueError("say what is healthy: min, max or both; or equals alone")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is over max {self.max:g}: nothing is healthy")
        return self

    def wrong(self, value: float) -> str:
        """What is wrong with `value`; nothing if it is healthy. NaN never is."""
        if math.isnan(value):
            return "is NaN"
        if self.equals is not None and value != self.equals:
            return f"is {value:g}, not {self.equals:g}"
        if self.min is not None and value < self.min:
            return f"is {value:g}, under {self.min:g}"
        if self.max is not None and value > self.max:
            return f"is {value:g}, over {self.max:g}"
        return ""

    def __str__(self) -> str:
        short = " ".join(self.query.split())
        return f"`{short if len(short) <= 80 else short[:79] + '…'}` at {self.prometheus}"


def check_url(value: str) -> str:
    """`value` if it is a whole http(s) URL without a password. Raises ValueError."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits, parts = False, None
    if parts is not None and "@" in parts.netloc:
        # It would stand in every history.
        raise PydanticCustomError(
            HIDDEN_INPUT, "must not hold a password; give `token: env://...`, or a URL without"
        )
    if not fits or any(ord(character) <= 32 for character in value):
        raise ValueError("must be a whole http(s) URL, as in https://shop.example.org/health")
    return value


def _kind(value: Any) -> str:
    # Not the field's own name: that is a place in the file, and errors would point there.
    has = value.__contains__ if isinstance(value, dict) else partial(hasattr, value)
    found = [kind for kind in KINDS if has(kind)]
    return f"{found[0]}-check" if len(found) == 1 else ""


Check = Annotated[
    Annotated[HttpCheck, Tag("http-check")]
    | Annotated[CommandCheck, Tag("command-check")]
    | Annotated[PrometheusCheck, Tag("prometheus-check")],
    Discriminator(
        _kind,
        custom_error_type="health_check",
        custom_error_message="must be a mapping with exactly one of http, command and prometheus",
    ),
]
"""One of the three."""


class CheckHealth(Spec):
    """Input of the activity check_health."""

    checks: tuple[Check, ...]


class Checked(Spec):
    """What one check saw last.

    Attributes:
        check: which one.
        problem: why it is unhealthy; nothing if it is healthy.
    """

    check: str
    problem: str = ""


class Health(Spec):
    """Result of the activity check_health."""

    checked: tuple[Checked, ...]

    @property
    def problem(self) -> str:
        """What is not well, and what was seen of it; nothing if all is."""
        return "; ".join(f"{each.check}: {each.problem}" for each in self.checked if each.problem)
