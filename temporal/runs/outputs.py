"""What a command said on each host of a run of RunCommand."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from temporal.client import Ops
from temporal.runs.asking import look
from temporal.runs.outcomes import results
from temporal.runs.state import Run, RunRefused
from temporal.shared.specs.automation.command import CommandResult
from temporal.shared.specs.automation.outcome import FleetReport

WORKFLOW = "RunCommand"


async def command_run(ops: Ops, workflow_id: str) -> Run:
    """A run of RunCommand. Raises NoSuchRun; RunRefused: it is one of another workflow."""
    run = await look(ops.client.get_workflow_handle(workflow_id), ops)
    if run.workflow != WORKFLOW:
        raise RunRefused(
            f"{workflow_id} is a run of {run.workflow}, and only {WORKFLOW} collects outputs; "
            f"`temporal-ops runs show {workflow_id}` shows what it did"
        )
    return run


async def outputs(ops: Ops, workflow_id: str) -> AsyncGenerator[CommandResult, None]:
    """What came of the command, host by host, as they ended; of a run in progress, so far.

    Hosts that were not reached are not among them: see `report_of`.
    """
    async for result in results(ops, workflow_id, "run_on_host"):
        if isinstance(result, CommandResult):
            yield result


async def report_of(ops: Ops, run: Run) -> FleetReport | None:
    """The report of a fleet's run that has ended, also with a failure; None where there is none."""
    if run.closed is None:
        return None
    handle = ops.client.get_workflow_handle(run.id, result_type=FleetReport)
    try:
        report: FleetReport = await handle.result()
    except WorkflowFailureError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == "FleetFailed" and cause.details:
            return FleetReport.model_validate(cause.details[0])
        return None
    return report
