"""DecommissionServer: takes a server out of use, has it destroyed, and forgets it."""

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from converge.resources.command import Command
from temporal.shared.specs.automation import ConvergeHost, HostSpec
from temporal.shared.specs.automation.creating import RegisterHost
from temporal.shared.specs.automation.decommissioning import (
    Decommissioned,
    DecommissionSpec,
    Discard,
    Drained,
    Hook,
    Located,
)
from temporal.workflows.automation.cancelled import stop_if_cancelled


@workflow.defn
class DecommissionServer:
    """Takes a server out of use, has it destroyed, and forgets it. One that is gone is no failure."""

    @workflow.run
    async def run(self, spec: DecommissionSpec) -> Decommissioned:
        """Fails if a hook does, unless it is forced; or if the server does not bear our mark."""
        one = spec.server
        located: Located = await workflow.execute_activity("locate_server", one)
        drained = await _drained(spec, located)
        destroyed: tuple[str, ...] = ()
        if located.found is not None:
            destroyed = await workflow.execute_activity(
                "discard_server",
                # By its mark as well: another server may have the id by now, as in a lab.
                Discard(
                    place=one.place,
                    token=located.found.token,
                    id=located.found.id,
                    unmarked=one.unmarked,
                ),
            )
        forgotten: str | None = None
        if spec.forget is not None:
            forgotten = await workflow.execute_activity(
                "forget_host", RegisterHost(inventory=spec.forget, name=one.name)
            )
        return Decommissioned(
            name=one.name,
            id=located.found.id if located.found else one.id,
            destroyed=bool(destroyed),
            drained=drained,
            forgotten=forgotten,
        )


async def _drained(spec: DecommissionSpec, located: Located) -> tuple[Drained, ...]:
    """The hooks, one after the other; what is gone has no need of its own."""
    done: list[Drained] = []
    for number, hook in enumerate(spec.drain):
        host = hook.host or located.host
        if host is None:
            if located.found is None:
                continue
            failure = f"{spec.server.name} has no address, so nothing can be run there"
        else:
            failure = await _ran(hook, host, number)
        where = host.name if host else spec.server.name
        if failure and not spec.force:
            raise ApplicationError(
                f"{where}: the hook `{hook.run}` failed, so {spec.server.name} is left as it is"
                f" (`force: true` destroys it all the same): {failure}",
                type="HookFailed",
                non_retryable=True,
            )
        done.append(Drained(run=hook.run, host=where, failure=failure))
    return tuple(done)


async def _ran(hook: Hook, host: HostSpec, number: int) -> str:
    """Runs it as the one resource of the host, once however often it is tried; why it failed."""
    # The host remembers by this folder that it ran; it lies where those go by themselves.
    done = f"/tmp/temporal-ops-drained-{workflow.info().run_id}-{number}"
    command = Command(
        f"drain {number + 1}",
        run=f"(\n{hook.run}\n) && mkdir {done}",
        creates=done,
        timeout=hook.timeout,
    )
    try:
        await workflow.execute_activity(
            "converge_host",
            ConvergeHost(host=host, resources=(command,)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return error.cause.message if isinstance(error.cause, FailureError) else error.message
    stop_if_cancelled()
    return ""
