"""Cron texts as ranges: what a schedule's calendar is made of.

Five fields (minute, hour, day of month, month, day of week) as crontab(5) has them, and `@daily` and
the like. What has two readings is refused: cron takes a day of month *or* a day of week where both
are given, Temporal's calendars take days that are both.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Range(NamedTuple):
    """From `start` to `end`, both included, every `step`."""

    start: int
    end: int
    step: int = 1


Calendar = dict[str, tuple[Range, ...]]
"""Ranges by field: minute, hour, day_of_month, month, day_of_week."""

_NAMES_OF_MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_NAMES_OF_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: number for number, name in enumerate(_NAMES_OF_MONTHS, 1)}
_DAYS = {name: number for number, name in enumerate(_NAMES_OF_DAYS)}
_FIELDS: dict[str, tuple[int, int, dict[str, int]]] = {
    "minute": (0, 59, {}),
    "hour": (0, 23, {}),
    "day_of_month": (1, 31, {}),
    "month": (1, 12, _MONTHS),
    "day_of_week": (0, 7, _DAYS),  # 7 is Sunday as well
}
_SHORT = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ITEM = re.compile(r"(?P<start>\*|\?|\w+)(?:-(?P<end>\w+))?(?:/(?P<step>\d+))?")


def calendar_of(text: str) -> Calendar:
    """The ranges of cron `text`.

    >>> calendar_of("*/15 3 * * mon-fri")["minute"], calendar_of("@daily")["hour"]
    ((Range(start=0, end=59, step=15),), (Range(start=0, end=0, step=1),))

    Raises:
        ValueError: it is none; says which field and what is wrong with it.
    """
    fields = _SHORT.get(text.strip().lower(), text).split()
    if text.strip().startswith("@every"):
        raise ValueError("@every is no calendar: say `every: 1h` in the place of cron")
    if len(fields) != 5:
        raise ValueError(
            f"{text!r} has {len(fields)} fields; cron has five: minute, hour, day of month, month, "
            "day of week"
        )
    found = {name: _ranges(name, field) for name, field in zip(_FIELDS, fields, strict=True)}
    if not _any(fields[2]) and not _any(fields[4]):
        raise ValueError(
            f"{text!r} names a day of month and a day of week: cron takes either, Temporal days that "
            "are both. Say it in two lines, each with * in the place of one"
        )
    return found


def _any(field: str) -> bool:
    return field[0] in "*?"


def _ranges(name: str, field: str) -> tuple[Range, ...]:
    low, high, _ = _FIELDS[name]
    found: set[Range] = set()
    for item in field.split(","):
        matched = _ITEM.fullmatch(item)
        if not matched:
            raise _wrong(
                name, item, "is not *, a number, a range such as 1-5, or a step such as */15"
            )
        step = int(matched["step"] or 1)
        if step < 1:
            raise _wrong(name, item, "steps by nothing")
        if matched["start"] in "*?":
            start, end = low, high
        else:
            start = _number(name, matched["start"])
            open_end = high if matched["step"] else start
            end = _number(name, matched["end"]) if matched["end"] else open_end
        if end < start:
            raise _wrong(name, item, "ends before it begins")
        found |= set(
            _week(start, end, step) if name == "day_of_week" else [Range(start, end, step)]
        )
    return tuple(sorted(found))


def _week(start: int, end: int, step: int) -> list[Range]:
    """Days with Sunday as 0 alone; `*` as one range."""
    if (start, end, step) == (0, 7, 1):
        return [Range(0, 6)]
    if end < 7:
        return [Range(start, end, step)]
    return [Range(day, day) for day in sorted({day % 7 for day in range(start, end + 1, step)})]


def _number(name: str, text: str) -> int:
    low, high, names = _FIELDS[name]
    value = names.get(text.lower())
    if value is None and text.isascii() and text.isdigit():
        value = int(text)
    if value is None or not low <= value <= high:
        raise _wrong(name, text, f"is not within {low} to {high}")
    return value


def _wrong(name: str, item: str, why: str) -> ValueError:
    return ValueError(f"{name.replace('_', ' ')} {item!r} {why}")
