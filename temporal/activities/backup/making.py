"""Make a repository that several hosts share, before they all come to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.framing import Record
from temporal.activities.backup import restic_sh, saved
from temporal.activities.backup.saving import on_host
from temporal.shared import Permanent, Progress, options
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.backup.backup import Protection

_MAKE = r"""
: >"$T/err"
if r cat config --no-lock -q >/dev/null 2>&1; then rec made already
elif make_repository; then rec made
else rec failed; tail -c 3000 "$T/err"; fi
"""


@activity.defn
@options(
    start_to_close=timedelta(minutes=30),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=3),
)
async def make_repository(plan: Protection, member: Member) -> str:
    """Makes the repository, unless it is there; why it could not be, nothing if it is there now.

    Of two hosts that make one at the same time both are told that it went well, and it may be one that
    nobody can open.

    Raises:
        Retryable: the host was not reached.
    """
    name = member.host.name

    def script(values: dict[str, bytes]) -> str:
        return f"{restic_sh.library(plan.repository, name, values, plan.tries)}\n{_MAKE}"

    def show(record: Record) -> Progress | None:
        return None

    try:
        records = await on_host(
            *(member, plan.repository.references, script, f"backup.{plan.name}", show)
        )
    except Permanent as error:
        return error.message
    return _why(records)


def _why(records: Iterable[Record]) -> str:
    for record in records:
        match record.words:
            case ("made", *_):
                return ""
            case ("failed",):
                return saved.last_line(saved.text(record))
    return "the host said nothing of it"
