"""Bring a host to its declared state."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

import converge
from converge import Host
from converge.errors import ConvergeError, PlanOutdated
from converge.graph import arrange
from converge.material import Loader
from converge.plans import Plan
from converge.reports import Report
from temporal.activities.automation.answers import check_answers
from temporal.activities.automation.hosts import open_host
from temporal.shared import HostFailed, Permanent, Progress, Retryable, options
from temporal.shared.progress import Pulse
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation import (
    CheckAnswers,
    ConvergeHost,
    Planned,
)
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import Ending, HostOutcome
from temporal.shared.specs.automation.provisioning import MemberPlan, Shape


@activity.defn
@options(
    start_to_close=timedelta(hours=2),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=12),
)
async def converge_host(request: ConvergeHost) -> Report:
    """Probe, apply what differs, and probe again, under a run id that outlives this attempt.

    The host does the work by itself. An attempt whose predecessor died attaches to what goes on
    there and reads on; nothing is sent twice.

    Raises:
        HostFailed: a resource is not as wanted afterwards.
        Retryable: the host was not reached, or another run holds it.
        Permanent: it refused us, or the resources contradict each other.
    """
    report = await _converged(request)
    if not report.ok:
        raise HostFailed(_failed(report))
    return report


@activity.defn
@options(
    start_to_close=timedelta(hours=2),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=4),
)
async def converge_member(shape: Shape, member: Member) -> HostOutcome:
    """The same for one host of a fleet, answers too; a failure of the host is a result as well.

    With a plan that was approved for it nothing is done at a host that looks otherwise by now.

    Raises:
        Retryable: the host was not reached, or another run holds it.
    """
    name = member.host.name
    try:
        report = await _converged(shape.at(member), member.approved)
        if report.ok and shape.answers:
            await check_answers(CheckAnswers(host=member.host, answers=shape.answers))
    except Permanent as error:
        ending: Ending = "outdated" if isinstance(error.__cause__, PlanOutdated) else "failed"
        return HostOutcome(host=name, ending=ending, because=error.message)
    if not report.ok:
        return HostOutcome(host=name, ending="failed", because=_failed(report)[:4000])
    changed = tuple(outcome.resource for outcome in report.of("changed"))
    return HostOutcome(
        host=name, ending="changed" if changed else "unchanged", changed=changed[:100]
    )


async def _converged(request: ConvergeHost, expect: str | None = None) -> Report:
    info = activity.info()
    run_id = f"{info.workflow_run_id}-{info.activity_id}"
    name = request.host.name
    async with Pulse(Progress(what="connecting", host=name)) as pulse:
        host = await open_host(request.host)

        def show(progress: converge.Progress) -> None:
            pulse.beat(
                Progress(
                    done=progress.done, total=progress.total, what=progress.resource, host=name
                )
            )

        try:
            report = await converge.apply(
                host,
                _approved(request) or list(request.resources),
                run_id=run_id,
                secrets=resolve,
                load=_loader(request),
                variables=request.variables,
                on_progress=show,
                expect=expect,
            )
        except ConvergeError as error:
            raise explained(error, name) from error
        except asyncio.CancelledError:
            await abort_if_asked(host, run_id)
            raise
    return report.model_copy(update={"host": name})  # as the spec calls it, not where it is


@activity.defn
@options(
    start_to_close=timedelta(minutes=10),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=5), maximum_attempts=3),
)
async def plan_host(request: ConvergeHost) -> Planned:
    """What would change on the host. One round trip; changes nothing there.

    Raises:
        Retryable: the host was not reached.
        Permanent: it refused us, or the resources contradict each other.
    """
    name = request.host.name
    async with Pulse(Progress(what="looking", host=name)):
        host = await open_host(request.host)
        try:
            plan = await converge.plan(
                host,
                list(request.resources),
                secrets=resolve,
                load=_loader(request),
                variables=request.variables,
            )
        except ConvergeError as error:
            raise explained(error, name) from error
    return Planned(
        host=name,
        target=plan.host,
        changes=plan.changes,
        unchanged=plan.unchanged,
        digest=plan.digest,
    )


@activity.defn
@options(
    start_to_close=timedelta(minutes=10),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=4),
)
async def plan_member(shape: Shape, member: Member) -> MemberPlan:
    """The same for one host of a fleet; that there can be no plan for it is a result as well.

    Raises:
        Retryable: the host was not reached.
    """
    name = member.host.name
    try:
        return MemberPlan(host=name, planned=await plan_host(shape.at(member)))
    except Permanent as error:
        return MemberPlan(host=name, because=error.message)


def _approved(request: ConvergeHost) -> Plan | None:
    """The plan that somebody has seen, whole again; nothing if there is none."""
    seen = request.approved
    if seen is None:
        return None
    try:
        ordered = arrange(request.resources).resources
        return Plan.model_validate(
            {
                "host": seen.target,
                "resources": ordered,
                "changes": seen.changes,
                "digest": seen.digest,
            }
        )
    except (ValueError, ConvergeError) as error:
        raise Permanent(
            f"{request.host.name}: the approved plan is not of this spec: {error}"
        ) from None


def _loader(request: ConvergeHost) -> Loader:
    """The files that came with the spec."""

    def load(name: str) -> bytes:
        if name not in request.material:
            raise ValueError(f"{name} did not come with the spec")
        return base64.b64decode(request.material[name])

    return load


def explained(error: ConvergeError, name: str) -> Retryable | Permanent:
    """The error under the name that the spec gives the host."""
    text = str(error)
    kind = Retryable if error.retryable else Permanent
    return kind(text if name in text else f"{name}: {text}")


def _failed(report: Report) -> str:
    """The summary first: where there is room for one line only, that one is shown."""
    details = report.render().partition("\n")[2].removesuffix(f"{report.summary}\n")
    return f"{report.summary}\n{details.rstrip()}"


async def abort_if_asked(host: Host, run_id: str) -> None:
    """A cancelled run stops its work on the host; a worker that merely stops leaves it alone."""
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        try:
            await asyncio.shield(converge.abort(host, run_id, secrets=resolve))
        except ConvergeError as error:
            activity.logger.warning(
                "%s: cancelled, and its work there could not be stopped: %s", host.name, error
            )
