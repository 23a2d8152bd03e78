"""Upgrade a host, and reboot it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.errors import ConvergeError, HostKeyChanged, HostKeyUnknown, PermissionDenied
from converge.framing import Record
from converge.tasks import ask, run_task
from temporal.activities.automation import patch_sh
from temporal.activities.automation.answers import check_answers
from temporal.activities.automation.converging import abort_if_asked, explained
from temporal.activities.automation.hosts import open_host
from temporal.shared import Permanent, Progress, Retryable, options
from temporal.shared.progress import Pulse
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation import CheckAnswers
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.patching import Health, Patch, Patched

_SAYS = {
    "mending": "mending what an earlier dpkg left",
    "lists": "fetching the lists of packages",
    "upgrade": "upgrading {} packages",
    "services": "waiting for services",
}
_LOOK_S = 30.0
"""For one look at a host that is on its way down or up: more is no answer."""
_LEAST_S = 30.0
"""A reboot is waited for at least so long by whoever takes over, however late that is."""


@activity.defn
@options(
    start_to_close=timedelta(hours=4),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=5),
)
async def patch_host(patch: Patch, member: Member) -> Patched:
    """Upgrades the host, and says whether it is to be rebooted; if not, that it is well.

    The host does the work by itself. An attempt whose predecessor died attaches to what goes on
    there and reads on; nothing is run twice. A failure of the host is a result.

    Raises:
        Retryable: the host was not reached, or another run holds it.
    """
    name = member.host.name
    try:
        records = await _task(member, patch_sh.patch_script(patch))
        found = _patched(name, records)
        if found.outcome.ending not in ("failed", "unreachable") and not found.reboot:
            await _answers(patch, member)
    except Permanent as error:
        return Patched(outcome=HostOutcome(host=name, ending="failed", because=error.message))
    return found


@activity.defn
@options(
    start_to_close=timedelta(hours=4),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=8),
)
async def reboot_host(patch: Patch, member: Member, patched: Patched) -> HostOutcome:
    """Ends the boot `patched.boot`, waits for another, and sees that the host is well in it.

    The order names the boot that it ends, so it can be given again: there is one reboot, however
    often this is tried. That the host does not come back is a result, with what was last seen.

    Raises:
        Retryable: another run holds the host, or the connection broke when it was back.
    """
    name, done = member.host.name, patched.outcome
    try:
        seen = await _rebooted(patch, member, patched.boot)
        if isinstance(seen, HostOutcome):
            return seen.model_copy(update={"changed": done.changed})
        changed = (*done.changed[:98], f"rebooted: {patched.reboot} (boot {seen})")
        done = HostOutcome(host=name, ending="changed", changed=changed)
        records = await _task(member, patch_sh.settle_script(patch, patched.health))
        why = patch_sh.failure(records)
        if why is not None:
            return done.model_copy(
                update={"ending": "failed", "because": f"after its reboot: {why}"}
            )
        await _answers(patch, member)
    except Permanent as error:
        return done.model_copy(update={"ending": "failed", "because": str(error)})
    return done


def _patched(name: str, records: Sequence[Record]) -> Patched:
    told, said = patch_sh.told, patch_sh.said
    changed = patch_sh.changes(said(records, "versions") or "")
    restarted = [each.words[1] for each in records if each.words[0] == "restarted"]
    changed += [f"restarted {unit}, which used replaced files" for unit in restarted]
    changed += [
        f"{each.words[1]} uses replaced files and could not be restarted"
        for each in records
        if each.words[0] == "unrestarted"
    ]
    needed = said(records, "needed")
    why = patch_sh.failure(records)
    # That a reboot is needed is worth a line, but nothing that was changed.
    outcome = HostOutcome(host=name, ending="changed" if changed else "unchanged")
    if needed:
        changed.append(f"not rebooted, though it should be: {needed}")
    outcome = outcome.model_copy(update={"changed": tuple(changed[:100])})
    if why is not None:
        outcome = outcome.model_copy(update={"ending": "failed", "because": why})
    return Patched(
        outcome=outcome,
        boot=" ".join(told(records, "boot")),
        reboot=said(records, "due") or "" if why is None else "",
        health=Health(
            active=told(records, "health", "active"), failed=told(records, "health", "failed")
        ),
    )


async def _task(member: Member, script: str) -> list[Record]:
    """Runs it on the host under a run id that outlives this attempt."""
    info = activity.info()
    run_id = f"{info.workflow_run_id}-{info.activity_id}"
    name = member.host.name
    async with Pulse(Progress(what="connecting", host=name)) as pulse:
        host = await open_host(member.host)
        try:
            return await run_task(
                host, run_id, script, secrets=resolve, on_record=_showing(pulse, name)
            )
        except ConvergeError as error:
            raise explained(error, name) from error
        except asyncio.CancelledError:
            await abort_if_asked(host, run_id)
            raise


def _showing(pulse: Pulse, name: str) -> Callable[[Record], None]:
    def show(record: Record) -> None:
        if record.kind == "working":
            what = record.words[1]
            more = " ".join(record.words[2:])
            pulse.beat(Progress(what=_SAYS.get(what, f"running {what}").format(more), host=name))

    return show


@dataclass
class _Seen:
    """What was last seen of a host that is to come back."""

    boot: str
    state: str = ""
    jobs: str = ""
    refused: str = ""
    since: float = 0.0
    trouble: str = ""

    def render(self, now: float) -> str:
        parts = []
        if not self.state:
            parts.append(f"it ran boot {self.boot[:8]} when it was patched")
        else:
            ago = f"{max(0.0, now - self.since):.0f} s ago"
            parts.append(f"{ago} it ran boot {self.boot[:8]}, and systemd said {self.state}")
        parts += [f"it refused: {self.refused}"] if self.refused else []
        parts += [f"busy with: {' '.join(self.jobs.split())}"] if self.jobs else []
        parts += [f"since then: {self.trouble}"] if self.trouble else []
        return "; ".join(parts)


async def _rebooted(patch: Patch, member: Member, boot: str) -> str | HostOutcome:
    """The new boot's id, or the outcome of a host that has none."""
    name = member.host.name
    seen, pause = _Seen(boot), 0.5
    host = await open_host(member.host)
    info = activity.info()
    within = patch.reboot_within
    if info.attempt > 1:
        passed = time.time() - info.scheduled_time.timestamp()
        within = max(min(_LEAST_S, within), within - passed)
    async with Pulse(Progress(what="rebooting", host=name)) as pulse:
        deadline = time.monotonic() + within
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    records = await ask(host, patch_sh.reboot_script(boot, 20), secrets=resolve)
            except TimeoutError:
                seen.trouble = f"no answer within {_LOOK_S:.0f} s"
            except (HostKeyChanged, HostKeyUnknown) as error:
                raise Permanent(f"after the order to reboot: {error}") from error
            except ConvergeError as error:
                seen.trouble = str(error)
                # A host that boots may refuse all but root; often would look like an attack.
                pause = 15.0 if isinstance(error, PermissionDenied) else pause
            else:
                now = patch_sh.told(records, "seen")
                if patch_sh.said(records, "holder") is not None:
                    raise Retryable(
                        f"{name}: not rebooted, since another run holds the host: "
                        f"{patch_sh.said(records, 'holder')}"
                    )
                if now and now[0] != boot:
                    return now[0]
                if now:
                    seen = _Seen(
                        now[0],
                        " ".join(now[1:]),
                        patch_sh.said(records, "seen") or "",
                        patch_sh.said(records, "refused") or "",
                        time.monotonic(),
                    )
            if time.monotonic() > deadline:
                break
            pulse.beat(Progress(what=f"rebooting; {seen.trouble or seen.state}"[:200], host=name))
            await asyncio.sleep(min(pause, max(0.1, deadline - time.monotonic())))
            pause = min(pause * 1.5, 5.0) if pause < 15 else pause
    why = (
        f"it did not come back from its reboot within {patch.reboot_within:g} s"
        f" (boot before: {boot[:8]}); last seen: {seen.render(time.monotonic())}"
    )
    ending = "unreachable" if seen.trouble else "failed"
    return HostOutcome.model_validate({"host": name, "ending": ending, "because": why})


async def _answers(patch: Patch, member: Member) -> None:
    if patch.answers:
        await check_answers(CheckAnswers(host=member.host, answers=patch.answers))
