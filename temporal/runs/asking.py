"""What can be asked of runs: list, look, follow, cancel, terminate."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal.client import STARTED_BY, Ops, explain_rpc
from temporal.runs.failures import failure_text
from temporal.runs.state import NoSuchRun, Run, RunRefused, from_execution
from temporal.shared.errors import OpsError

_POLL_S = (0.15, 1.0)  # first and longest pause between two looks at a run
_POLL_MORE_S = 0.01  # more for each activity that is not done: each makes a look cost more
# A poll lasts a minute at the longest; the server goes on naming whoever polled within five.
_POLLED_LATELY = timedelta(seconds=75)


async def list_runs(
    ops: Ops,
    query: str = "",
    limit: int = 20,
    *,
    workflow: str | None = None,
    by: str | None = None,
) -> list[Run]:
    """The newest runs first.

    Args:
        query: a Temporal visibility query, as in `ExecutionStatus = "Failed"`.
        workflow: only of this workflow.
        by: only started by this person.

    Raises:
        OpsError: the query is not understood.
    """
    parts = [f"({query})" if workflow or by else query] if query else []
    if workflow:
        parts.append(f"WorkflowType = {_quoted(workflow)}")
    if by:
        parts += _by(by)
    converter = ops.client.data_converter
    runs: list[Run] = []
    try:
        async for execution in ops.client.list_workflows(" AND ".join(parts) or None):
            run = await from_execution(execution, converter)
            if by is None or run.started_by == by:
                runs.append(run)
            if len(runs) == limit:
                break
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise OpsError(f"the query {query} is not understood: {error.message}") from None
        raise explain_rpc(error, ops.settings) from error
    return runs


def _by(name: str) -> list[str]:
    """Asks for what the server can compare; the rest is compared here. It escapes backslashes and
    double quotes once more than it undoes, so that a text with one equals nothing there."""
    plain = re.split(r'["\\]', name)[0]
    if plain == name:
        return [f"{STARTED_BY.name} = {_quoted(name)}"]
    return [f"{STARTED_BY.name} STARTS_WITH {_quoted(plain)}"] if plain else []


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def look(handle: WorkflowHandle[Any, Any], ops: Ops) -> Run:
    """How far a run is now. Raises NoSuchRun, ConnectError."""
    try:
        description = await handle.describe()
        run = await from_execution(description, ops.client.data_converter)
        raw = description.raw_description
        if raw.HasField("pending_workflow_task") and raw.pending_workflow_task.attempt > 1:
            run.stuck = await _why_stuck(handle)
        return run
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            raise NoSuchRun(
                f"there is no run {handle.id!r} in namespace {ops.settings.namespace!r}. "
                "`temporal-ops runs list` shows those there are."
            ) from None
        raise explain_rpc(error, ops.settings) from error


async def follow(handle: WorkflowHandle[Any, Any], ops: Ops) -> AsyncIterator[Run]:
    """Yields the run whenever it looks different from before; ends with its last state."""
    pause, last = _POLL_S[0], ""
    # Looking is for what happens on the way; of its end the server tells at once.
    ended = asyncio.create_task(_end(handle))
    try:
        while True:
            run = await look(handle, ops)
            seen = run.model_dump_json()
            if seen != last:
                yield run
                last = seen
                pause = min(_POLL_S[0] + _POLL_MORE_S * len(run.activities), _POLL_S[1])
            if run.closed:
                return
            if ended.done():  # and yet it goes on: as a new run, or the server was away
                await asyncio.sleep(pause)
                ended = asyncio.create_task(_end(handle))
            else:
                await asyncio.wait([ended], timeout=pause)
            pause = min(pause * 1.3, _POLL_S[1])
    finally:
        ended.cancel()


async def _end(handle: WorkflowHandle[Any, Any]) -> None:
    """Returns when the run has ended, or when nothing can be heard of it now."""
    with contextlib.suppress(RPCError):
        async for _ in handle.fetch_history_events(
            wait_new_event=True,
            event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT,
            skip_archival=True,
        ):
            return


async def pollers(ops: Ops, queue: str) -> int:
    """How many workers have asked for workflow tasks on `queue` within the last minute or so."""
    found = await ops.client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=ops.client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    since = datetime.now(UTC) - _POLLED_LATELY
    return sum(1 for each in found.pollers if each.last_access_time.ToDatetime(UTC) > since)


async def cancel(ops: Ops, workflow_id: str) -> None:
    """Ask a run to end; it may clean up first. Raises NoSuchRun."""
    await _act(ops, workflow_id, ops.client.get_workflow_handle(workflow_id).cancel)


async def terminate(ops: Ops, workflow_id: str, reason: str) -> None:
    """End a run at once; its code does not run again. Raises NoSuchRun."""
    handle = ops.client.get_workflow_handle(workflow_id)
    await _act(ops, workflow_id, lambda: handle.terminate(reason=reason))


async def tell(ops: Ops, workflow_id: str, what: str, by: str, why: str = "", **more: str) -> None:
    """Say `what` (pause, resume, abort, approve) to a run that listens to it; returns when it has
    heard. `more` is what belongs to it, as the plan does to an approval.

    Raises:
        NoSuchRun: it is not in progress.
        RunRefused: it does not listen to that, or not now; says why.
    """
    handle = ops.client.get_workflow_handle(workflow_id)

    async def say() -> None:
        await handle.execute_update(what, {"by": by, "why": why, **more})

    try:
        await _act(ops, workflow_id, say)
    except WorkflowUpdateFailedError as error:
        said = getattr(error.cause, "message", error.cause)  # without the name of its type
        raise RunRefused(f"{workflow_id} refuses to {what}: {said}") from None


async def _act(ops: Ops, workflow_id: str, call: Callable[[], Awaitable[None]]) -> None:
    try:
        await call()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            raise NoSuchRun(
                f"no run {workflow_id!r} is in progress. "
                "`temporal-ops runs list` shows those there are."
            ) from None
        raise explain_rpc(error, ops.settings) from error


async def _why_stuck(handle: WorkflowHandle[Any, Any]) -> str:
    why = "its workflow task fails"
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_failed_event_attributes"):
            why = failure_text(event.workflow_task_failed_event_attributes.failure)
        elif event.HasField("workflow_task_timed_out_event_attributes"):
            why = "its workflow task timed out: the worker died, or its code blocks"
    return why
