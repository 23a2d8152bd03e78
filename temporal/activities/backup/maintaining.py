"""Maintain a repository: choose what is to be done in it, and do just that."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.errors import Locked
from converge.framing import Record
from temporal.activities.backup import forgetting, maintaining_sh, saving
from temporal.activities.backup.checking import Checks
from temporal.activities.backup.inspecting import Seen, see, why
from temporal.activities.backup.maintained import maintained, progress, working
from temporal.activities.backup.saved import text
from temporal.shared import Permanent, Progress, Retryable, options
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.backup.backup import MOST_HOURS, Protection
from temporal.shared.specs.backup.maintaining import MaintainChoice, Maintained

UNREACHED = "it could not be looked into: "


@activity.defn
@options(
    start_to_close=timedelta(minutes=30),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=3),
)
async def choose_maintenance(
    plan: Protection, member: Member, hosts: tuple[str, ...]
) -> MaintainChoice:
    """What is to be done in the repository that `member` sees: which snapshots of `hosts` go, and
    which parts are checked. Changes nothing.

    Raises:
        Retryable: the host was not reached.
    """
    name = member.host.name
    url = plan.repository.at(name)
    forget = "forget" in plan.maintain.steps
    # Not reached, it is tried again by Temporal, or another host is asked.
    seen = await see(plan, member, forget, tries=1)
    if seen.found is None:
        if not seen.records and not seen.permanent:
            raise Retryable(seen.because)
        because = seen.because.removeprefix(f"{name}: ")
        return MaintainChoice(host=name, url=url, because=UNREACHED + because)
    return chosen(plan, name, hosts, seen, datetime.now(UTC))


def chosen(
    plan: Protection, host: str, hosts: Sequence[str], seen: Seen, now: datetime
) -> MaintainChoice:
    """The same, of what was seen."""
    assert seen.found is not None
    checks = Checks(seen.found.until(now).noted("check"), plan.maintain.subsets).due()
    nothing = MaintainChoice(host=host, url=plan.repository.at(host), checks=checks)
    if "forget" not in plan.maintain.steps:
        return nothing
    if plan.keep is None:
        refused = "nothing was forgotten: the spec has no `keep`, so all snapshots stay"
        return nothing.model_copy(update={"refused": refused if plan.maintain.dry_run else ""})
    said: dict[str, dict[str, forgetting.Verdict]] = {}
    for record in seen.records:
        match record.words:
            case ("verdict", source, "ok", _):
                said[source] = forgetting.verdicts(record.body)
            case ("verdict", source, kind, status):
                words = text(record)
                named = forgetting.refused_by_restic(words)
                refused = (
                    f"nothing was forgotten: restic could not judge {source}: "
                    f"{why(kind, int(status), words)}"
                )
                if named is not None:
                    refused = forgetting.nothing_left([f"{named}/{source}"])
                return nothing.model_copy(update={"refused": refused})
    return forgetting.chosen(plan, host, hosts, seen.found, said, now)


@activity.defn
@options(
    start_to_close=timedelta(hours=MOST_HOURS),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=6),
)
async def maintain_on_host(plan: Protection, member: Member, choice: MaintainChoice) -> Maintained:
    """Forgets just what was chosen, prunes, checks, and notes the result in the repository.

    The host does it by itself. An attempt whose predecessor died attaches to what goes on there and
    reads on. That a step failed, or found damage, is a result; so is that another maintenance of the
    same repository goes on there.

    Raises:
        Retryable: the host was not reached.
    """
    name = member.host.name
    what = ""

    def show(record: Record) -> Progress | None:
        nonlocal what
        if record.kind == "working":
            what = working(record.words[1:])
        return progress(record, name, what)

    def script(values: dict[str, bytes]) -> str:
        return maintaining_sh.maintain_script(plan, name, values, choice, int(time.time()))

    lock = hashlib.sha256(plan.repository.at(name).encode()).hexdigest()[:16]
    try:
        records = await saving.on_host(
            member, plan.repository.references, script, f"maintain.{lock}", show
        )
    except Permanent as error:
        return Maintained(host=name, because=error.message.removeprefix(f"{name}: "))
    except Retryable as error:
        if not isinstance(error.__cause__, Locked):
            raise
        busy = f"another maintenance of the repository goes on: {error.__cause__.holder}"
        return Maintained(host=name, because=busy)
    return maintained(name, len(choice.ids), records, datetime.now(UTC))
