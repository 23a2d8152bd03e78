"""Schedules as they stand in a file.

owner: web-team
schedules:
  nightly-drift:
    workflow: DetectDrift
    file: drift.yml
    cron: "0 3 * * *"
    timezone: Europe/Berlin
  look-often:
    workflow: PlanServer
    input: {host: admin@web1, resources: [{package: nginx}]}
    every: 1h
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from temporal.shared.specs.cron import calendar_of

Overlap = Literal[
    "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"
]
SHORTEST_CATCHUP = timedelta(seconds=10)  # the server takes no shorter one
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def duration(value: Any) -> timedelta:
    """A duration as people write it.

    >>> duration("1h30m"), duration("7d")
    (datetime.timedelta(seconds=5400), datetime.timedelta(days=7))
    """
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise ValueError("must be a duration with its units, as in 90s, 15m, 1h30m or 7d")
    numbers = zip(found.groups(), _UNITS.values(), strict=True)
    return timedelta(seconds=sum(int(number or 0) * unit for number, unit in numbers))


def said(value: timedelta) -> str:
    """The same back as text.

    >>> said(timedelta(minutes=90)), said(timedelta(0))
    ('1h30m', '0s')
    """
    left, parts = int(value.total_seconds()), []
    for name, unit in _UNITS.items():
        count, left = divmod(left, unit)
        parts += [f"{count}{name}"] if count else []
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta, BeforeValidator(duration), PlainSerializer(said, str, when_used="json")
]
"""As people write it, in JSON too."""


class Entry(BaseModel):
    """One schedule.

    Attributes:
        workflow: which workflow it starts.
        input: its input, as the workflow takes it; or
        file: where that stands, beside this file.
        cron: when: one cron text or several; or
        every: how often, counted from 1970-01-01 00:00 UTC,
        offset: and how long after that.
        timezone: of cron; default: UTC.
        jitter: starts are spread over this long.
        overlap: what happens when it is time and the run before still goes on.
        catchup: what was missed, while the server was down, is made up for if it is no older.
        pause_on_failure: no further runs after one that failed.
        paused: whether it rests. Not said: that is left to whoever pauses it.
        note: a line for people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workflow: str
    input: Any = None
    file: str | None = None
    cron: tuple[str, ...] = ()
    every: Duration | None = None
    offset: Duration = timedelta(0)
    timezone: str = "UTC"
    jitter: Duration = timedelta(0)
    overlap: Overlap = "skip"
    catchup: Duration = timedelta(hours=1)
    pause_on_failure: bool = False
    paused: bool | None = None
    note: str = ""

    @field_validator("cron", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            calendar_of(each)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        known = zoneinfo.available_timezones()
        if known and value not in known:
            raise ValueError("is no time zone, as Europe/Berlin or UTC are")
        return value

    @field_validator("every")
    @classmethod
    def _not_at_once(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(seconds=1):
            raise ValueError("must be a second at least")
        return value

    @field_validator("catchup")
    @classmethod
    def _as_the_server_takes_it(cls, value: timedelta) -> timedelta:
        if value < SHORTEST_CATCHUP:
            raise ValueError("must be 10s at least")
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> Entry:
        if bool(self.cron) == (self.every is not None):
            raise ValueError("give exactly one of cron and every")
        if self.every is None and self.offset:
            raise ValueError("offset goes with every")
        if self.every is not None and self.offset >= self.every:
            raise ValueError("offset must be shorter than every")
        if self.every is not None and self.timezone != "UTC":
            raise ValueError("timezone goes with cron: every counts from 1970-01-01 00:00 UTC")
        if self.input is not None and self.file is not None:
            raise ValueError("give input or file, not both")
        return self


_WORD = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Schedules(BaseModel):
    """A file of schedules.

    Attributes:
        owner: whose these are: a word that no other file uses. What bears it and stands here no
            more is removed, so there is no default.
        schedules: by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: str = Field(pattern=_WORD)
    schedules: dict[Annotated[str, Field(pattern=_WORD)], Entry]
