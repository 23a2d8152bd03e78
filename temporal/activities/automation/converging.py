"""Bring a host to its declared state, and see what it answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
import urllib.error
import urllib.request
from datetime import timedelta
from functools import partial

from temporalio import activity
from temporalio.common import RetryPolicy

import converge
from converge import Host
from converge.errors import ConvergeError
from converge.graph import arrange
from converge.material import Loader
from converge.plans import Plan
from converge.reports import Report
from temporal.activities.automation.hosts import open_host
from temporal.shared import HostFailed, Permanent, Progress, Retryable, options
from temporal.shared.progress import Pulse
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation import (
    Answered,
    CheckAnswers,
    ConvergeHost,
    HostSpec,
    HttpAnswer,
    Planned,
)
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.provisioning import Shape

_BODY = 2000
_HTTP_TIMEOUT_S = 10.0


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

    Raises:
        Retryable: the host was not reached, or another run holds it.
    """
    name = member.host.name
    try:
        report = await _converged(shape.at(member))
        if report.ok and shape.answers:
            await check_answers(CheckAnswers(host=member.host, answers=shape.answers))
    except Permanent as error:
        return HostOutcome(host=name, ending="failed", because=str(error))
    if not report.ok:
        return HostOutcome(host=name, ending="failed", because=_failed(report)[:4000])
    changed = tuple(outcome.resource for outcome in report.of("changed"))
    return HostOutcome(
        host=name, ending="changed" if changed else "unchanged", changed=changed[:100]
    )


async def _converged(request: ConvergeHost) -> Report:
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
            )
        except ConvergeError as error:
            raise _explained(error, name) from error
        except asyncio.CancelledError:
            await _abort_if_asked(host, run_id)
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
            raise _explained(error, name) from error
    return Planned(
        host=name,
        target=plan.host,
        changes=plan.changes,
        unchanged=plan.unchanged,
        digest=plan.digest,
    )


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


def _explained(error: ConvergeError, name: str) -> Retryable | Permanent:
    """The error under the name that the spec gives the host."""
    text = str(error)
    kind = Retryable if error.retryable else Permanent
    return kind(text if name in text else f"{name}: {text}")


def _failed(report: Report) -> str:
    """The summary first: where there is room for one line only, that one is shown."""
    details = report.render().partition("\n")[2].removesuffix(f"{report.summary}\n")
    return f"{report.summary}\n{details.rstrip()}"


async def _abort_if_asked(host: Host, run_id: str) -> None:
    """A cancelled run stops its work on the host; a worker that merely stops leaves it alone."""
    details = activity.cancellation_details()
    if details is not None and details.cancel_requested:
        with contextlib.suppress(ConvergeError):
            await asyncio.shield(converge.abort(host, run_id))


@activity.defn
@options(start_to_close=timedelta(hours=2), heartbeat=timedelta(seconds=30))
async def check_answers(request: CheckAnswers) -> tuple[Answered, ...]:
    """What the server answers over HTTP, each asked until it is as expected or its time is over.

    Raises:
        Permanent: an answer did not become what it should be; says what came instead.
    """
    async with Pulse(Progress(host=request.host.name, total=len(request.answers))) as pulse:
        found = []
        for done, wanted in enumerate(request.answers):
            url = await _url(wanted, request.host)
            pulse.beat(
                Progress(done=done, total=len(request.answers), what=url, host=request.host.name)
            )
            found.append(await _until_as_wanted(url, wanted))
    return tuple(found)


async def _url(wanted: HttpAnswer, spec: HostSpec) -> str:
    if not wanted.http.startswith("/"):
        return wanted.http
    host = await open_host(spec)
    address = "127.0.0.1" if spec.local else host.address
    bracketed = f"[{address}]" if ":" in address else address
    port = "" if wanted.port == 80 else f":{wanted.port}"
    return f"http://{bracketed}{port}{wanted.http}"


async def _until_as_wanted(url: str, wanted: HttpAnswer) -> Answered:
    deadline = time.monotonic() + wanted.within
    pause = 0.1
    while True:
        came, problem = await asyncio.to_thread(partial(_ask, url, wanted))
        if came is not None and not problem:
            return came
        if time.monotonic() + pause > deadline:
            raise Permanent(f"{url}: {problem}, and it stayed so for {wanted.within:.0f} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _ask(url: str, wanted: HttpAnswer) -> tuple[Answered | None, str]:
    """The answer and what is wrong with it (nothing: an empty text)."""
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT_S) as answer:
            status, body = answer.status, answer.read(1 << 20).decode(errors="replace")
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(1 << 20).decode(errors="replace")
    except OSError as error:
        return None, f"no answer ({getattr(error, 'reason', error)})"
    came = Answered(url=url, status=status, body=body[:_BODY])
    if status != wanted.status:
        return came, f"answers {status}, not {wanted.status}"
    if wanted.contains is not None and wanted.contains not in body:
        return came, f"the answer does not contain {wanted.contains!r}"
    return came, ""
