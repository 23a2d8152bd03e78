"""Back up a host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.errors import ConvergeError
from converge.framing import Record
from converge.tasks import run_task
from temporal.activities.automation.converging import abort_if_asked, explained
from temporal.activities.automation.hosts import open_host
from temporal.activities.backup import restic_sh, saved, saving_sh
from temporal.shared import Permanent, Progress, options
from temporal.shared.progress import Pulse
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.backup.backup import MOST_HOURS, HostBackup, Protection

Script = Callable[[dict[str, bytes]], str]
Show = Callable[[Record], Progress | None]


@activity.defn
@options(
    start_to_close=timedelta(hours=MOST_HOURS),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=60), maximum_attempts=6),
)
async def back_up_host(plan: Protection, member: Member) -> HostBackup:
    """Backs up every source of the host, one after the other.

    The host does it by itself. An attempt whose predecessor died attaches to what goes on there and
    reads on; nothing is begun twice. That a source could not be backed up is a result.

    Raises:
        Retryable: the host was not reached, or another backup of the same name goes on there.
    """
    name = member.host.name
    source = ""

    def show(record: Record) -> Progress | None:
        nonlocal source
        if record.kind == "source":
            source = record.words[1]
        return saved.progress(record, name, source)

    def script(values: dict[str, bytes]) -> str:
        return saving_sh.save_script(plan, name, values, int(time.time()))

    try:
        records = await on_host(member, plan.references, script, f"backup.{plan.name}", show)
    except Permanent as error:
        return HostBackup(host=name, because=error.message.removeprefix(f"{name}: "))
    return saved.host_backup(name, plan.sources, records, manifest=plan.manifest)


async def on_host(
    member: Member, references: Iterable[str], script: Script, lock: str, show: Show
) -> list[Record]:
    """Runs a task on the host, under a run id that outlives this attempt; it is ended gently.

    Args:
        references: secret references.
        script: makes the script; given what they stand for. Asked anew whenever the task is begun anew.
        lock: who holds it keeps others of this name out.
        show: what a record means for who watches.

    Raises:
        Permanent: a secret is not there, or the host refuses us.
        Retryable: the host was not reached, or the lock is held.
    """
    info = activity.info()
    run_id = f"{info.workflow_run_id}-{info.activity_id}"
    name = member.host.name
    async with Pulse(Progress(what="connecting", host=name)) as pulse:

        def heard(record: Record) -> None:
            said = show(record)
            if said is not None:
                pulse.beat(said)

        values = {ref: await asyncio.to_thread(resolve, ref) for ref in references}
        host = await open_host(member.host)
        try:
            return await run_task(
                *(host, run_id, lambda: script(values)),
                secrets=resolve,
                on_record=heard,
                lock=lock,
                gently=restic_sh.GENTLY,
            )
        except ConvergeError as error:
            raise explained(error, name) from error
        except asyncio.CancelledError:
            await abort_if_asked(host, run_id)
            raise
