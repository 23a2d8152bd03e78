"""How long backups are kept: restic's rules, of each host and source on its own.

keep:
  last: 3
  daily: 7
  weekly: 5
  within_monthly: 2y
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from temporal.shared.specs.automation.hosts import Spec

_SPAN = re.compile(r"(?:\d+y)?(?:\d+m)?(?:\d+d)?(?:\d+h)?")


def _span(value: Any) -> Any:
    if not isinstance(value, str) or not value or not _SPAN.fullmatch(value):
        raise ValueError("must be years, months, days and hours, as in 2y5m7d3h or 30d")
    return value


Span = Annotated[str, BeforeValidator(_span)]
"""A span as restic takes it: 2y5m7d3h; months are `m`."""
Count = Annotated[int, Field(ge=0, le=100_000)]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,60}$")]


class Keep(Spec):
    """Which snapshots of a host's source stay. What no rule names goes.

    Attributes:
        last: so many, the newest.
        hourly, daily, weekly, monthly, yearly: the last one of so many such periods.
        within: all that are no older than this, counted from the newest.
        within_hourly, within_daily, within_weekly, within_monthly, within_yearly: the last one of each
            such period within it.
        tags: those that bear one of them.
    """

    last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0
    within: Span | None = None
    within_hourly: Span | None = None
    within_daily: Span | None = None
    within_weekly: Span | None = None
    within_monthly: Span | None = None
    within_yearly: Span | None = None
    tags: tuple[Tag, ...] = ()

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.arguments:
            raise ValueError("would keep nothing: give one rule at least, as last: 7")
        return self

    @property
    def arguments(self) -> tuple[str, ...]:
        """As arguments of `restic forget`."""
        found = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name != "tags" and value:
                found.append(f"--keep-{name.replace('_', '-')}={value}")
        return (*found, *(f"--keep-tag={tag}" for tag in self.tags))
