"""In what steps something is done to many hosts, and how many of them may fail."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from temporal.shared.specs.automation.health import Check
from temporal.shared.specs.automation.hosts import Spec

BEGUN_IN_A_RUN = 1000
"""Hosts begun before a run goes on as new: about 6,000 events of the 51,200 that end a run."""


_SHARE = r"^(\d+|\d{1,2}(\.\d+)?%|100%)$"


def _share(value: Any) -> Any:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and not re.match(_SHARE, text):
        raise ValueError("must be a number of hosts or a share of them, as 3 or 25%")
    return text


Share = Annotated[str, BeforeValidator(_share), Field(pattern=_SHARE)]
"""So many hosts, or so many in a hundred: `3`, `25%`."""


def share_of(share: str, total: int) -> int:
    """How many of `total` hosts `share` is; parts of a host are rounded up.

    >>> share_of("25%", 10), share_of("3", 10), share_of("30", 10)
    (3, 3, 10)
    """
    if share.endswith("%"):
        return min(total, math.ceil(total * float(share[:-1]) / 100))
    return min(total, int(share))


Point = Literal["plan", "canary"]


def _points(value: Any) -> Any:
    return [] if value in (None, "none") else [value] if isinstance(value, str) else value


Points = Annotated[tuple[Point, ...], BeforeValidator(_points)]
"""At which points somebody must approve: `plan`, `canary`, or a list of both."""


class Rollout(Spec):
    """In what steps a fleet is changed, and when to stop.

    Attributes:
        canary: hosts of the first wave; 0: none of their own.
        wave: hosts of each wave after it.
        parallel: at most so many at a time within a wave.
        max_failures: with more failed hosts than these nothing new is begun. A host that is not
            reached has failed.
        pause: seconds to wait after each wave.
        checks: what must be healthy after each wave, the last one too.
        approve: at which points somebody must approve. `plan`: all hosts are planned first, and
            exactly those plans are approved; `canary`: after the first wave.
        approve_within: seconds for that, after which the run fails; 0: as long as it takes.
    """

    canary: Share = "1"
    wave: Share = "25%"
    parallel: int = Field(50, ge=1, le=500)
    max_failures: Share = "0"
    pause: float = Field(0.0, ge=0, le=7 * 86400)
    checks: tuple[Check, ...] = ()
    approve: Points = ()
    approve_within: float = Field(0.0, ge=0, le=30 * 86400)

    @field_validator("wave")
    @classmethod
    def _goes_on(cls, wave: str) -> str:
        if not float(wave.rstrip("%")):
            raise ValueError("a wave of no hosts never comes to an end; 1 is the least")
        return wave

    @model_validator(mode="after")
    def _canary_to_approve(self) -> Rollout:
        if "canary" in self.approve and not float(self.canary.rstrip("%")):
            raise ValueError("approve: canary needs a canary, and canary is 0")
        return self

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


class Word(Spec):
    """What somebody says to a run: pause, resume, abort."""

    by: str = Field(min_length=1)
    why: str = ""

    def __str__(self) -> str:
        return f"{self.by}: {self.why}" if self.why else self.by


class Approve(Word):
    """What somebody says to a run that waits for approval.

    Attributes:
        plan: digest of what is approved, as the run tells it, or its beginning.
    """

    plan: str = Field(pattern=r"^[0-9a-f]{12,64}$")
