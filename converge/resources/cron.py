"""Entries for cron, each in a file of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import field_validator, model_validator

from converge.names import Text, UserName
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted

# run-parts and cron read no other names: a dot in one and the entry never runs.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,100}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_WORDS = (
    "@reboot",
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
)


def schedule(value: str) -> str:
    """Five fields or @word, as crontab(5) has them. Raises ValueError naming the field."""
    value = " ".join(value.split())
    if value.startswith("@"):
        if value not in _WORDS:
            raise ValueError(
                f"{value!r} is no schedule; one of {', '.join(_WORDS)}, or five fields"
            )
        return value
    fields = value.split(" ")
    if len(fields) != 5:
        raise ValueError(
            f"{value!r} has {len(fields)} fields: write minute, hour, day of month, month and day of"
            " week, such as '30 2 * * mon-fri'"
        )
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            _part(part, name, low, high, names)
    return value


def _part(part: str, name: str, low: int, high: int, names: Sequence[str]) -> None:
    span, slash, step = part.partition("/")
    if slash and not (step.isascii() and step.isdecimal() and 0 < int(step) <= high):
        raise ValueError(f"{name} {part!r}: the step is a number from 1 to {high}")
    if span == "*":
        return
    first, dash, last = span.partition("-")
    ends = [
        _number(end, part, name, low, high, names) for end in ((first, last) if dash else (first,))
    ]
    if ends[0] > ends[-1]:
        raise ValueError(f"{name} {part!r} runs backwards")
    if slash and not dash:
        raise ValueError(f"{name} {part!r}: a step needs a range, such as {span}-{high}/{step}")


def _number(text: str, part: str, name: str, low: int, high: int, names: Sequence[str]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
        raise ValueError(f"{name} {part!r} is not within {low} to {high}")
    return int(text)


class Cron(Owned):
    """A command that cron runs at times.

        Cron("backup", schedule="30 2 * * *", command="/usr/local/bin/backup", user="backup")
        Cron("report", schedule="@weekly", command="report | mail ops", environment={"MAILTO": ""})
        Cron("backup", absent=True)

    In YAML: `- cron: backup` with `schedule: "30 2 * * *"` and `command`. The file is
    /etc/cron.d/NAME. The command is what a shell shall see: a `%`, which cron would take for the
    end of the line, is escaped. Without package cron nothing would ever run, so the plan says so.
    """

    key: ClassVar[str] = "cron"

    cron: str
    schedule: str | None = None
    command: Text | None = None
    user: UserName = "root"
    environment: dict[str, str] | None = None
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            cron: str,
            /,
            *,
            schedule: str | None = None,
            command: str | None = None,
            user: str = "root",
            environment: Mapping[str, str] | None = None,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("cron")
    @classmethod
    def _file(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name cron reads: letters, digits, _ and -, no dots")
        return value

    @field_validator("schedule")
    @classmethod
    def _times(cls, value: str | None) -> str | None:
        return None if value is None else schedule(value)

    @field_validator("command")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and ("\n" in value or not value.strip()):
            raise ValueError("a command for cron is one line that is not empty")
        return value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, text in (value or {}).items():
            if not _VARIABLE.fullmatch(name) or "\n" in text or "\0" in text or '"' in text:
                raise ValueError(f"{name!r} is no variable of one line without double quotes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent and (self.schedule or self.command or self.environment):
            raise ValueError("an entry that is to be absent has nothing else")
        if not self.absent and not (self.schedule and self.command):
            raise ValueError("an entry has a schedule and a command")
        return self

    def requires(self) -> frozenset[str]:
        return frozenset({"package:cron", "package:cronie", f"user:{self.user}"})

    def files(self) -> tuple[Wanted, ...]:
        path = f"/etc/cron.d/{self.cron}"
        if self.absent:
            return (Wanted(path, None),)
        command = (self.command or "").replace("%", "\\%")
        lines = [f'{name}="{text}"' for name, text in (self.environment or {}).items()]
        lines.append(f"{self.schedule} {self.user} {command}")
        return (Wanted(path, "\n".join(lines) + "\n"),)

    def look(self, number: int, context: Context) -> str:
        user = f"^{self.user}:"
        return (
            "command -v cron >/dev/null || command -v crond >/dev/null ||"
            f" echo 'live {number} lacks yes'\n"
            f"{{ getent passwd {self.user} || grep '{user}' /etc/passwd; }} >/dev/null 2>&1 ||"
            f" echo 'live {number} nobody yes'"
        )

    def awaits(self, state: OwnedState, around: Around) -> str:
        if state.get("lacks") and not self.absent and around.packages:
            return f"cron is not there yet, {around.bringers} may bring it"
        return ""

    def trouble(self, state: OwnedState, around: Around) -> str:
        if self.absent:
            return ""
        if state.get("lacks") and not around.packages:
            return (
                "the host has no cron, the entry would never run: declare package cron before this"
            )
        if (
            state.get("nobody")
            and f"user:{self.user}" not in around.provided
            and not around.packages
        ):
            return f"the user {self.user} is neither on the host nor declared"
        return ""
