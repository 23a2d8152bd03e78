"""Runs, as a person asks about them: which there are, how far each is, what it did.

Plain functions over a connection; the command line is one face of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from temporalio.api.enums.v1 import EventType, PendingActivityState, TaskQueueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal.client import STARTED_BY, Ops, explain_rpc
from temporal.shared.errors import OpsError
from temporal.shared.progress import Progress

_POLL_S = (0.15, 1.0)  # first and longest pause between two looks at a run
_STATES = {
    PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED: "waiting",
    PendingActivityState.PENDING_ACTIVITY_STATE_STARTED: "running",
    PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED: "cancelling",
    PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED: "paused",
    PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED: "pausing",
}


class NoSuchRun(OpsError):
    """There is no run with this id."""


class PendingActivity(BaseModel):
    """An activity that is not done.

    Attributes:
        state: waiting (for a worker or its next try), running, cancelling, paused.
        attempt: 1 for the first.
        attempts: the most there will be; 0 is without bound.
        progress: its last heartbeat, if it says how far it is.
        last_failure: why the attempt before failed.
        next_try: when it is tried again, UTC.
    """

    name: str
    id: str
    state: str
    attempt: int
    attempts: int
    progress: Progress | None = None
    last_failure: str | None = None
    next_try: datetime | None = None


class Run(BaseModel):
    """One run of a workflow.

    Attributes:
        status: running, completed, failed, cancelled, terminated, timed out, continued as new.
        started_by: who started it; empty where nobody noted it.
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
    stuck: str | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return ((self.closed or datetime.now(UTC)) - self.started).total_seconds()


class Step(BaseModel):
    """One activity, child workflow or timer in a run's history.

    Attributes:
        status: scheduled, running, completed, failed, timed out, cancelled.
        detail: its result, or why it failed; cut at 2,000 characters.
    """

    kind: str
    name: str
    status: str
    started: datetime
    ended: datetime | None = None
    attempts: int = 1
    detail: str = ""


class RunReport(BaseModel):
    """A run with its steps and its outcome."""

    run: Run
    steps: list[Step]
    input: list[Any]
    result: Any = None
    failure: str | None = None


async def list_runs(ops: Ops, query: str = "", limit: int = 20) -> list[Run]:
    """The newest runs first.

    Args:
        query: a Temporal visibility query, as in `WorkflowType = "ProvisionServer"`.
    """
    try:
        found = ops.client.list_workflows(query or None, limit=limit)
        return [await _from_execution(execution) async for execution in found]
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise OpsError(f"the query {query!r} is not understood: {error.message}") from None
        raise explain_rpc(error, ops.settings) from error


async def look(handle: WorkflowHandle[Any, Any], ops: Ops) -> Run:
    """How far a run is now. Raises NoSuchRun."""
    try:
        description = await handle.describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            raise NoSuchRun(
                f"there is no run {handle.id!r} in namespace {ops.settings.namespace!r}. "
                "`temporal-ops runs list` shows those there are."
            ) from None
        raise explain_rpc(error, ops.settings) from error
    run = await _from_execution(description)
    raw = description.raw_description
    run.activities = [await _pending(info, ops) for info in raw.pending_activities]
    if raw.HasField("pending_workflow_task") and raw.pending_workflow_task.attempt > 1:
        run.stuck = await _why_stuck(handle)
    return run


async def follow(handle: WorkflowHandle[Any, Any], ops: Ops) -> AsyncIterator[Run]:
    """Yields the run whenever it looks different from before; ends with its last state."""
    pause, last = _POLL_S[0], ""
    while True:
        run = await look(handle, ops)
        seen = run.model_dump_json(exclude={"events"})
        if seen != last:
            yield run
            last, pause = seen, _POLL_S[0]
        if run.closed:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _POLL_S[1])


async def pollers(ops: Ops, queue: str) -> int:
    """How many workers poll `queue` for workflow tasks, of late (the server remembers 5 minutes)."""
    found = await ops.client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=ops.client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    return len(found.pollers)


async def report(ops: Ops, workflow_id: str, run_id: str | None = None) -> RunReport:
    """A run with its steps, input and outcome. Raises NoSuchRun."""
    handle = ops.client.get_workflow_handle(workflow_id, run_id=run_id)
    run = await look(handle, ops)
    handle = ops.client.get_workflow_handle(workflow_id, run_id=run.run_id)
    steps: dict[int, Step] = {}
    found = RunReport(run=run, steps=[], input=[])
    async for event in handle.fetch_history_events():
        await _read_event(event, steps, found, ops)
    found.steps = list(steps.values())
    return found


async def cancel(ops: Ops, workflow_id: str) -> None:
    """Ask a run to end; it may clean up first. Raises NoSuchRun."""
    await _act(ops, workflow_id, ops.client.get_workflow_handle(workflow_id).cancel)


async def terminate(ops: Ops, workflow_id: str, reason: str) -> None:
    """End a run at once; its code does not run again. Raises NoSuchRun."""
    handle = ops.client.get_workflow_handle(workflow_id)
    await _act(ops, workflow_id, lambda: handle.terminate(reason=reason))


async def _act(ops: Ops, workflow_id: str, call: Any) -> None:
    try:
        await call()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise NoSuchRun(
                f"no run {workflow_id!r} is in progress. "
                "`temporal-ops runs list` shows those there are."
            ) from None
        raise explain_rpc(error, ops.settings) from error


def _status(status: WorkflowExecutionStatus | None) -> str:
    if status is None:
        return "unknown"
    name = status.name.lower().replace("_", " ")
    return {"canceled": "cancelled", "timed out": "timed out"}.get(name, name)


async def _from_execution(execution: WorkflowExecution) -> Run:
    who = execution.typed_search_attributes.get(STARTED_BY) or ""
    if not who:
        who = str((await execution.memo()).get("started_by", ""))
    summary = ""
    if isinstance(execution, WorkflowExecutionDescription):
        summary = await execution.static_summary() or ""
    return Run(
        id=execution.id,
        run_id=execution.run_id,
        workflow=execution.workflow_type,
        status=_status(execution.status),
        queue=execution.task_queue,
        started=execution.start_time,
        closed=execution.close_time,
        started_by=who,
        summary=summary,
        events=execution.history_length,
    )


async def _pending(info: PendingActivityInfo, ops: Ops) -> PendingActivity:
    progress = None
    if info.HasField("heartbeat_details"):
        details = info.heartbeat_details.payloads
        try:
            [progress] = await ops.client.data_converter.decode(details, [Progress])
        except Exception:  # a foreign activity beats with what it likes
            progress = None
    again = info.scheduled_time.ToDatetime(UTC) if info.HasField("scheduled_time") else None
    waits = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return PendingActivity(
        name=info.activity_type.name,
        id=info.activity_id,
        state=_STATES.get(info.state, "unknown"),
        attempt=info.attempt,
        attempts=info.maximum_attempts,
        progress=progress,
        last_failure=failure_text(info.last_failure) if info.HasField("last_failure") else None,
        next_try=again if waits and info.attempt > 1 else None,
    )


async def _why_stuck(handle: WorkflowHandle[Any, Any]) -> str:
    why = "its workflow task fails"
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_failed_event_attributes"):
            why = failure_text(event.workflow_task_failed_event_attributes.failure)
        elif event.HasField("workflow_task_timed_out_event_attributes"):
            why = "its workflow task timed out: the worker died, or its code blocks"
    return why


def failure_text(failure: Failure) -> str:
    """A failure with its causes, each on a line of its own, without stack traces."""
    lines = []
    inner: Failure | None = failure
    while inner is not None:
        text = inner.message or inner.WhichOneof("failure_info") or "failed"
        kind = inner.application_failure_info.type
        if kind and kind not in ("Permanent", "Retryable"):
            text = f"{kind}: {text}"
        # What Temporal wraps around an activity's failure says nothing that the step does not.
        wrapper = inner.HasField("activity_failure_info") and inner.HasField("cause")
        if not wrapper:
            lines.append(text)
        inner = inner.cause if inner.HasField("cause") else None
    return "\ncaused by ".join(lines)


_STEP_ENDS = {
    "activity_task_completed": "completed",
    "activity_task_failed": "failed",
    "activity_task_timed_out": "timed out",
    "activity_task_canceled": "cancelled",
    "child_workflow_execution_completed": "completed",
    "child_workflow_execution_failed": "failed",
    "child_workflow_execution_timed_out": "timed out",
    "child_workflow_execution_canceled": "cancelled",
    "child_workflow_execution_terminated": "terminated",
    "timer_fired": "completed",
    "timer_canceled": "cancelled",
}


async def _read_event(event: Any, steps: dict[int, Step], found: RunReport, ops: Ops) -> None:
    """Folds one history event into the steps and the outcome."""
    which = event.WhichOneof("attributes") or ""
    name = which.removesuffix("_event_attributes")
    body: Any = getattr(event, which) if which else None
    when = event.event_time.ToDatetime(UTC)
    if name == "workflow_execution_started":
        found.input = await _values(body.input.payloads, ops)
    elif name == "activity_task_scheduled":
        steps[event.event_id] = Step(
            kind="activity", name=body.activity_type.name, status="scheduled", started=when
        )
    elif name == "activity_task_started":
        step = steps[body.scheduled_event_id]
        step.status, step.attempts = "running", body.attempt
    elif name == "start_child_workflow_execution_initiated":
        steps[event.event_id] = Step(
            kind="workflow", name=body.workflow_type.name, status="scheduled", started=when
        )
    elif name == "timer_started":
        seconds = body.start_to_fire_timeout.ToTimedelta()
        steps[event.event_id] = Step(
            kind="timer", name=str(seconds), status="running", started=when
        )
    elif name in _STEP_ENDS:
        first = next(
            getattr(body, field)
            for field in ("scheduled_event_id", "initiated_event_id", "started_event_id")
            if hasattr(body, field)
        )
        step = steps[first]
        step.status, step.ended = _STEP_ENDS[name], when
        step.detail = await _detail(body, ops)
    elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        values = await _values(body.result.payloads, ops)
        found.result = values[0] if values else None
    elif name in ("workflow_execution_failed", "workflow_execution_terminated"):
        found.failure = failure_text(body.failure) if hasattr(body, "failure") else body.reason


async def _detail(body: Any, ops: Ops) -> str:
    if hasattr(body, "failure") and body.HasField("failure"):
        return failure_text(body.failure)[:2000]
    if hasattr(body, "result") and body.HasField("result"):
        values = await _values(body.result.payloads, ops)
        return ", ".join(str(value) for value in values)[:2000]
    return ""


async def _values(payloads: Any, ops: Ops) -> list[Any]:
    return await ops.client.data_converter.decode(payloads) if payloads else []
