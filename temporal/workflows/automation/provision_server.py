"""ProvisionServer: has a server made if need be, brings it to its declared state, and looks at what
it answers."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from converge.reports import Report
from temporal.shared.specs.automation import (
    Answered,
    CheckAnswers,
    ConvergeHost,
    HostSpec,
    Provisioned,
    ServerSpec,
)
from temporal.shared.specs.automation.creating import (
    AwaitLogin,
    Create,
    Created,
    CreateServer,
    RegisterHost,
)
from temporal.shared.specs.automation.decommissioning import Discard
from temporal.workflows.automation.cancelled import stop_if_cancelled
from temporal.workflows.automation.telling import ended_well, recovering, tell

SETTLE_S = 10.0
"""How long a server is looked for whose making was cut off: clouds list what is new after seconds."""


@workflow.defn
class ProvisionServer:
    """Has a server made if need be, brings it to its declared state, and looks at what it answers."""

    @workflow.run
    async def run(self, spec: ServerSpec) -> Provisioned:
        """Fails if a resource is not as wanted afterwards, or an answer does not come. A server that
        was made for this run is destroyed then, unless it is to be kept."""
        try:
            done = await self._provisioned(spec)
        except (ActivityError, ApplicationError) as error:
            if not is_cancelled_exception(error):
                why = _said(error) if isinstance(error, ActivityError) else error.message
                await tell(spec.notify, "failed", f"failed: {spec.name}", why)
            raise
        occasion = ended_well(spec.notify, recovering())
        what = f"{occasion}: {spec.name}: {done.summary}"
        untold = await tell(spec.notify, occasion, what, done.render())
        return done.model_copy(update={"untold": untold}) if untold else done

    async def _provisioned(self, spec: ServerSpec) -> Provisioned:
        if spec.create is None:
            assert spec.host is not None
            return await _settled(spec, spec.host)
        token = _token()
        created: Created | None = None
        try:
            created = await workflow.execute_activity(
                "create_server",
                CreateServer(order=spec.create, token=token),
                # What it was doing decides what there is to destroy.
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
            stop_if_cancelled()
            await workflow.execute_activity(
                "wait_for_login", AwaitLogin(host=created.host, within=spec.create.wait)
            )
            done = await _settled(spec, created.host)
        except (ActivityError, asyncio.CancelledError) as error:
            if created is not None and not created.fresh:
                raise
            refused = (
                isinstance(error.__cause__, ApplicationError) and error.__cause__.non_retryable
            )
            settle = 0 if created is not None or refused else SETTLE_S
            after = await _given_up(spec.create, created, token, settle)
            if is_cancelled_exception(error):
                workflow.set_current_details(after)
                raise
            raise _with(error, after) from None
        return done.model_copy(update={"created": created})


def _token() -> str:
    """The same for each attempt at this run, also after a reset; another one for a retry of the whole,
    whose predecessor has destroyed what it made."""
    info = workflow.info()
    return f"ops-{info.first_execution_run_id}-{info.attempt}"


def _with(error: BaseException, after: str) -> ApplicationError:
    """What failed, and what became of the server, as one failure."""
    cause = error.__cause__
    kind = cause.type if isinstance(cause, ApplicationError) else type(cause).__name__
    return ApplicationError(f"{_said(error)}\n{after}", type=kind, non_retryable=True)


def _said(error: BaseException) -> str:
    """What an activity that failed said itself."""
    cause = error.__cause__
    return cause.message if isinstance(cause, FailureError) else str(cause or error)


async def _settled(spec: ServerSpec, host: HostSpec) -> Provisioned:
    report: Report = await workflow.execute_activity(
        "converge_host",
        ConvergeHost.of(spec, host),
        # A cancelled run has ended only when nothing of it goes on at the host.
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
    stop_if_cancelled()
    answers: tuple[Answered, ...] = ()
    if spec.answers:
        answers = await workflow.execute_activity(
            "check_answers", CheckAnswers(host=host, answers=spec.answers)
        )
    registered: str | None = None
    if spec.register_in is not None:
        registered = await workflow.execute_activity(
            "register_host",
            RegisterHost(
                inventory=spec.register_in.inventory,
                name=spec.name,
                groups=spec.register_in.groups,
                host=host,
            ),
        )
    return Provisioned(report=report, answers=answers, registered=registered)


async def _given_up(create: Create, created: Created | None, token: str, settle: float) -> str:
    """Destroys what was made, unless it is to be kept; says what there is now.

    Runs to its end also in a cancelled run: only what was waited for then is cancelled.
    """
    what = created.summary if created else f"{create.name} ({create.provider})"
    if create.keep_on_failure:
        return (
            f"{what} is kept, as keep_on_failure says; it bears the token {token}"
            if created
            else f"{what}: if it was made, it is kept; it bears the token {token}"
        )
    discarding: workflow.ActivityHandle[tuple[str, ...]] = workflow.start_activity(
        "discard_server", Discard(place=create.place, token=token, settle=settle)
    )
    try:
        try:
            ids = await asyncio.shield(discarding)
        except asyncio.CancelledError:
            ids = await discarding  # cancelled meanwhile: it would stay, and cost
    except ActivityError as error:
        return (
            f"{what} may still be there, and cost: destroying it failed ({_said(error)}). Look for the"
            f" token {token}, and run DecommissionServer"
        )
    if not ids:
        return f"{what}: nothing was made, or it is gone"
    return f"{what} was made by this run, and is destroyed"
