"""What the activities of a run gave, read from its history one after the other.

A workflow that goes over ten thousand hosts keeps counts, not outputs: those are results of its
activities, and are read here when somebody wants to see them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from temporal.client import Ops, explain_rpc
from temporal.payloads import BadPayload
from temporal.runs.asking import look

PAGE = 500
"""Events asked for at a time."""


async def results(ops: Ops, workflow_id: str, activity: str) -> AsyncGenerator[Any, None]:
    """The results of the completed activities of that name, in the order in which they completed.

    Over all runs of the workflow that went on as new, from the first that the server still keeps;
    of one in progress, those that are there by now. Each is of the type that the registry knows, or
    plain data where it does not fit that any more. Read a page at a time: what is not asked for is
    not fetched.

    Raises NoSuchRun, ConnectError.
    """
    entry = ops.registry.activities.get(activity)
    kind = entry.ret_type if entry else None
    latest = await look(ops.client.get_workflow_handle(workflow_id), ops)
    try:
        run: str | None = await _first(ops, workflow_id, latest.run_id)
        while run is not None:
            mine: set[int] = set()
            handle = ops.client.get_workflow_handle(workflow_id, run_id=run)
            run = None
            async for event in handle.fetch_history_events(page_size=PAGE):
                which = event.WhichOneof("attributes")
                if which == "activity_task_scheduled_event_attributes":
                    if (
                        event.activity_task_scheduled_event_attributes.activity_type.name
                        == activity
                    ):
                        mine.add(event.event_id)
                elif which == "activity_task_completed_event_attributes":
                    done = event.activity_task_completed_event_attributes
                    if done.scheduled_event_id in mine:
                        mine.discard(done.scheduled_event_id)
                        yield await _value(ops, done.result.payloads, kind)
                elif which == "workflow_execution_continued_as_new_event_attributes":
                    on = event.workflow_execution_continued_as_new_event_attributes
                    run = on.new_execution_run_id
    except RPCError as error:
        raise explain_rpc(error, ops.settings) from error


async def _first(ops: Ops, workflow_id: str, run: str) -> str:
    """The first run that led to `run` by going on as new and is still kept."""
    before = await _before(ops.client.get_workflow_handle(workflow_id, run_id=run))
    while before:
        try:
            earlier = await _before(ops.client.get_workflow_handle(workflow_id, run_id=before))
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return run
            raise
        run, before = before, earlier
    return run


async def _before(handle: WorkflowHandle[Any, Any]) -> str:
    """The run that went on as this one; nothing if it is the first."""
    async for event in handle.fetch_history_events(page_size=1):
        begun = event.workflow_execution_started_event_attributes
        return str(begun.continued_execution_run_id)
    return ""


async def _value(ops: Ops, payloads: Sequence[Payload], kind: Any) -> Any:
    if not payloads:
        return None
    converter = ops.client.data_converter
    if kind is not None:
        try:
            return (await converter.decode(payloads, [kind]))[0]
        except (BadPayload, RuntimeError, TypeError, ValueError):
            pass  # a run of older code left what no longer fits
    return (await converter.decode(payloads))[0]
