"""Times and durations as people read them."""

from __future__ import annotations

from datetime import datetime


def clock(when: datetime) -> str:
    """Local date and time, to the second."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def brief(when: datetime) -> str:
    """Local time of day, with the date where it is not today's."""
    local = when.astimezone()
    today = local.date() == datetime.now(local.tzinfo).date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def took(seconds: float) -> str:
    """A duration in the two units that matter.

    >>> took(0.52), took(75), took(7300), took(200_000)
    ('0.5s', '1m15s', '2h1m', '2d7h')
    """
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"


def many(count: int, what: str) -> str:
    """
    >>> many(1, "wave"), many(3, "wave"), many(10_000, "host")
    ('1 wave', '3 waves', '10,000 hosts')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
