"""How far a run is, as a value, and how to read it from what the server answers."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.converter import DataConverter

from temporal.client import STARTED_BY
from temporal.runs.failures import failure_text
from temporal.shared.errors import OpsError
from temporal.shared.progress import Progress

_STATES = {
    PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED: "waiting",
    PendingActivityState.PENDING_ACTIVITY_STATE_STARTED: "running",
    PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED: "cancelling",
    PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED: "paused",
    PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED: "pausing",
}


class NoSuchRun(OpsError):
    """There is no run with this id."""


class RunRefused(OpsError):
    """A run does not take what it is told; the message says why."""


class PendingActivity(BaseModel):
    """An activity that is not done.

    Attributes:
        state: waiting (for a worker or its next try), running, cancelling, paused.
        attempt: 1 for the first.
        attempts: the most there will be; 0 is without bound.
        progress: its last heartbeat, if it says how far it is.
        heard: when that came, UTC.
        last_failure: why the attempt before failed.
        due: since or from when it may be taken by a worker, UTC; None once one has it.
    """

    name: str
    id: str
    state: str
    attempt: int
    attempts: int
    progress: Progress | None = None
    heard: datetime | None = None
    last_failure: str | None = None
    due: datetime | None = None

    @property
    def text(self) -> str:
        """Its progress in a line, as in `web1 2/5 package:nginx`; empty if it says nothing."""
        now = self.progress
        if now is None:
            return ""
        count = f"{now.done}/{now.total}" if now.total else ""
        return " ".join(part for part in (now.host, count, now.what) if part)


class Run(BaseModel):
    """One run of a workflow.

    Attributes:
        status: running, completed, failed, cancelled, terminated, timed out, continued as new.
        started_by: who started it; empty where nobody noted it.
        due: since when its own code waits for a worker, UTC; None while it does not.
        stuck: why the workflow's own code cannot go on, if it cannot.
        events: length of its history.
    """

    id: str
    run_id: str
    workflow: str
    status: str
    queue: str
    started: datetime
    closed: datetime | None = None
    started_by: str = ""
    summary: str = ""
    events: int = 0
    activities: list[PendingActivity] = []
    due: datetime | None = None
    stuck: str | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return ((self.closed or datetime.now(UTC)) - self.started).total_seconds()

    @property
    def waiting(self) -> float:
        """For how many seconds something of it could have been taken by a worker, and was not."""
        since = [self.due, *(activity.due for activity in self.activities)]
        now = datetime.now(UTC)
        return max([(now - when).total_seconds() for when in since if when], default=0.0)


def status_name(status: WorkflowExecutionStatus | None) -> str:
    """The status in the words of this project."""
    if status is None:
        return "unknown"
    name = status.name.lower().replace("_", " ")
    return "cancelled" if name == "canceled" else name


async def from_execution(execution: WorkflowExecution, converter: DataConverter) -> Run:
    """A run from its entry in a list, or from its description, which says more."""
    who = execution.typed_search_attributes.get(STARTED_BY) or ""
    if not who:
        who = str((await execution.memo()).get("started_by", ""))
    run = Run(
        id=execution.id,
        run_id=execution.run_id,
        workflow=execution.workflow_type,
        status=status_name(execution.status),
        queue=execution.task_queue,
        started=execution.start_time,
        closed=execution.close_time,
        started_by=who,
        events=execution.history_length,
    )
    if isinstance(execution, WorkflowExecutionDescription):
        run.summary = await execution.static_summary() or ""
        raw = execution.raw_description
        run.activities = [await pending(info, converter) for info in raw.pending_activities]
        task = raw.pending_workflow_task
        scheduled = PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
        if raw.HasField("pending_workflow_task") and task.state == scheduled and task.attempt <= 1:
            run.due = task.original_scheduled_time.ToDatetime(UTC)
    return run


async def pending(info: PendingActivityInfo, converter: DataConverter) -> PendingActivity:
    """An activity that is not done, from what the server says of it."""
    progress = None
    if info.HasField("heartbeat_details"):
        try:
            [progress] = await converter.decode(info.heartbeat_details.payloads, [Progress])
        except Exception:  # a foreign activity beats with what it likes
            progress = None
    waits = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    heard = max(
        (
            getattr(info, name).ToDatetime(UTC)
            for name in ("last_heartbeat_time", "last_started_time")
            if info.HasField(name)
        ),
        default=None,
    )
    return PendingActivity(
        name=info.activity_type.name,
        id=info.activity_id,
        state=_STATES.get(info.state, "unknown"),
        attempt=info.attempt,
        attempts=info.maximum_attempts,
        progress=progress,
        heard=heard if progress else None,
        last_failure=failure_text(info.last_failure) if info.HasField("last_failure") else None,
        due=info.scheduled_time.ToDatetime(UTC)
        if waits and info.HasField("scheduled_time")
        else None,
    )
