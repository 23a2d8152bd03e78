"""An activity that is not done, in a line or two."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from temporal.cli.words import took

if TYPE_CHECKING:
    from rich.text import Text

    from temporal.runs import PendingActivity

_FAILED_ON = re.compile(r"(?:[A-Z]\w+: )?(?P<host>\S+): ")
SILENT_S = 15.0  # twice and a bit what lies between two heartbeats


def plain(text: str) -> str:
    """Without what would move the cursor, or colour what follows.

    >>> plain("web1\\x1b[2J")
    'web1 [2J'
    """
    return "".join(sign if sign.isprintable() else " " for sign in text)


def about(activity: PendingActivity, hosts: Container[str] = ()) -> str:
    """The host that an activity is about, if it has said so: by a heartbeat, or by how its try before
    failed, which may have been too soon for one; then it is one of `hosts`."""
    if activity.progress:
        return activity.progress.host
    found = _FAILED_ON.match(activity.last_failure or "")
    return found["host"] if found and found["host"] in hosts else ""


def activity_rows(
    activity: PendingActivity, *, ticking: bool, now: datetime, named: bool = True
) -> Iterator[Text]:
    """What it does, and then why the try before failed, if one did.

    Args:
        ticking: with the times that change by themselves.
        named: with its own name and its host's; else what stands behind those.
    """
    from rich.text import Text

    line = Text("  ").append(activity.name, style="bold") if named else Text()
    gap = " " if named else ""
    if activity.state == "waiting":
        if activity.attempt > 1:
            line.append(f"{gap}try {activity.attempt}{_of(activity)}", style="yellow")
            left = (activity.due - now).total_seconds() if activity.due else 0
            if ticking and left > 0:
                # Tenths of seconds in many lines at once would be nothing but unrest.
                line.append(
                    f" in {took(left) if named or left > 59 else f'{left:.0f}s'}", style="yellow"
                )
        else:
            line.append(f"{gap}waiting for a worker", style="dim")
    else:
        text = activity.text if named else activity.text.removeprefix(about(activity)).lstrip()
        if text:
            line.append(f"{gap}{plain(text)}")
        if activity.state != "running":
            line.append(f" {activity.state}", style="yellow")
        if activity.attempt > 1:
            line.append(f" (try {activity.attempt}{_of(activity)})", style="yellow")
        silent = (now - activity.heard).total_seconds() if activity.heard else 0
        if ticking and silent > SILENT_S:
            line.append(f" silent for {took(silent)}", style="yellow")
    yield line
    if activity.last_failure:
        first = plain(activity.last_failure.splitlines()[0])
        yield Text(f"    the try before failed: {first}", style="yellow")


def _of(activity: PendingActivity) -> str:
    return f" of {activity.attempts}" if activity.attempts else ""
