"""Who is told what about a run.

notify:                       # or, short: notify: env://OPS_SLACK
  targets: [env://OPS_SLACK, file:///etc/ops/mail]
  on: [failed, waiting]
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from temporal.shared.secrets import HIDDEN_INPUT, SecretRef, check_reference
from temporal.shared.specs.automation.hosts import Spec

Occasion = Literal["failed", "waiting", "recovered", "finished"]
Kind = Literal["info", "success", "warning", "failure"]

KINDS: dict[Occasion, Kind] = {
    "failed": "failure",
    "waiting": "warning",
    "recovered": "success",
    "finished": "success",
}
MOST_TITLE = 200
MOST_BODY = 4000
"""Characters. A notification says what to look at; it is not where one looks."""


class Notice(Spec):
    """Input of the activity notify.

    Attributes:
        targets: references to secrets, each of which is one Apprise URL.
        title: one line; line breaks become spaces, and it is cut at 200 characters.
        body: plain text; cut at 4,000 characters.
        kind: what a service colours or marks it by.
    """

    targets: tuple[SecretRef, ...] = Field(min_length=1)
    title: str
    body: str
    kind: Kind = "info"

    @field_validator("title")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return _cut(" ".join(value.split()), MOST_TITLE)

    @field_validator("body")
    @classmethod
    def _no_longer_than_read(cls, value: str) -> str:
        return _cut(value, MOST_BODY)


class Notified(Spec):
    """Result of the activity notify.

    Attributes:
        sent: how many targets took it.
        failed: for each other one its reference and why; never what the reference stands for.
    """

    sent: int = 0
    failed: tuple[str, ...] = ()


class Notify(Spec):
    """Who is told, and when. Written short as one reference, or a list of them.

    Attributes:
        targets: references to secrets, each of which is one Apprise URL (mail, chat, webhook, ...).
        on: `failed`: it ended as failed; `waiting`: it waits for somebody's approval; `recovered`:
            the run before it failed, and this one did not; `finished`: it ended well.
    """

    targets: tuple[SecretRef, ...] = Field(min_length=1)
    on: tuple[Occasion, ...] = Field(("failed", "waiting", "recovered"), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"targets": [check_reference(value)]}  # refused here, it is refused at its line
        return {"targets": value} if isinstance(value, list) else value

    @field_validator("targets")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            # What stands there passed as references, but a list is shown as it was typed.
            raise PydanticCustomError(HIDDEN_INPUT, "the same target stands there twice")
        return value

    def notice(self, occasion: Occasion, title: str, body: str) -> Notice | None:
        """What is to be sent on `occasion`; nothing if nobody wants to hear of it."""
        if occasion not in self.on:
            return None
        return Notice(targets=self.targets, title=title, body=body, kind=KINDS[occasion])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
