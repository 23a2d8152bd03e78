"""What a run of the backup workflows found, also one that has failed for it."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from temporal.client import Ops
from temporal.runs.outcomes import results
from temporal.runs.state import Run

M = TypeVar("M", bound=BaseModel)


async def found_by(ops: Ops, run: Run, kind: type[M]) -> M | None:
    """The result of a run that has ended, or what it failed with; None where there is neither."""
    handle = ops.client.get_workflow_handle(run.id, result_type=kind)
    try:
        found: M = await handle.result()
    except WorkflowFailureError as error:
        cause = error.cause
        if not isinstance(cause, ApplicationError) or not cause.details:
            return None
        try:
            return kind.model_validate(cause.details[0])
        except ValidationError:
            return None
    return found


async def gathered(ops: Ops, run: Run, activity: str, kind: type[M]) -> list[M]:
    """All that the activities of that name gave; what does not fit any more is left out."""
    return [each async for each in results(ops, run.id, activity) if isinstance(each, kind)]
