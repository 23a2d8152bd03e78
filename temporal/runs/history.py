"""What a run did, step by step, read from its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload

from temporal.client import Ops
from temporal.payloads import BadPayload
from temporal.runs.asking import look
from temporal.runs.failures import failure_text
from temporal.runs.state import PendingActivity, Run

_LONGEST = 2000


class Step(BaseModel):
    """One activity, child workflow or timer in a run's history.

    Attributes:
        status: waiting, running, completed, failed, timed out, cancelled, terminated.
        detail: its result or progress in a line, or why it failed; at most 2,000 characters.
    """

    kind: str
    name: str
    status: str
    started: datetime
    ended: datetime | None = None
    attempts: int = 1
    detail: str = ""


class RunReport(BaseModel):
    """A run with its steps and its outcome.

    Attributes:
        input, result: as the types that the registry knows for them, else plain data.
        failure: why it failed or was ended, with the causes.
    """

    run: Run
    steps: list[Step]
    input: list[Any]
    result: Any = None
    failure: str | None = None


async def report(ops: Ops, workflow_id: str, run_id: str | None = None) -> RunReport:
    """A run with its steps, input and outcome. Raises NoSuchRun."""
    handle = ops.client.get_workflow_handle(workflow_id, run_id=run_id)
    run = await look(handle, ops)
    handle = ops.client.get_workflow_handle(workflow_id, run_id=run.run_id)
    found = RunReport(run=run, steps=[], input=[])
    reader = _Reader(ops, found)
    async for event in handle.fetch_history_events():
        await reader.take(event)
    reader.add_pending(run.activities)
    found.steps = list(reader.steps.values())
    return found


def gist(value: Any, limit: int = 2000) -> str:
    """A value in one line: its own `summary` if it has one, a text as it is, else what is in it.

    >>> gist(["a", "b"]), gist({"count": 2, "rows": [1, 2]}), gist(None)
    ('a; b', 'count 2, rows (2)', '')
    """
    summary = getattr(value, "summary", None)
    if value is None:
        text = ""
    elif isinstance(summary, str):
        text = summary
    elif isinstance(value, BaseModel):
        text = gist({name: getattr(value, name) for name in type(value).model_fields}, limit)
    elif isinstance(value, Mapping):
        text = ", ".join(
            f"{key} ({len(part)})" if isinstance(part, list | tuple | dict) else f"{key} {part}"
            for key, part in value.items()
        )
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        text = "; ".join(gist(part, limit) for part in value[:20])
        text += f"; and {len(value) - 20} more" if len(value) > 20 else ""
    else:
        text = str(value)
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


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


class _Reader:
    """Folds the events of one history into steps and outcome."""

    def __init__(self, ops: Ops, found: RunReport) -> None:
        self.steps: dict[int, Step] = {}
        self._ops = ops
        self._found = found
        self._of_activity: dict[str, Step] = {}

    async def take(self, event: Any) -> None:
        """The next event."""
        which = event.WhichOneof("attributes") or ""
        name = which.removesuffix("_event_attributes")
        body: Any = getattr(event, which) if which else None
        when = event.event_time.ToDatetime(UTC)
        if name == "workflow_execution_started":
            entry = self._ops.registry.workflows.get(body.workflow_type.name)
            self._found.input = await self._values(
                body.input.payloads, entry.arg_types if entry else None
            )
        elif name == "activity_task_scheduled":
            self._begin(event.event_id, "activity", body.activity_type.name, when)
            self._of_activity[body.activity_id] = self.steps[event.event_id]
        elif name == "activity_task_started":
            step = self.steps[body.scheduled_event_id]
            step.status, step.attempts = "running", body.attempt
        elif name == "start_child_workflow_execution_initiated":
            self._begin(event.event_id, "workflow", body.workflow_type.name, when)
        elif name == "child_workflow_execution_started":
            self.steps[body.initiated_event_id].status = "running"
        elif name == "timer_started":
            length = str(body.start_to_fire_timeout.ToTimedelta())
            self._begin(event.event_id, "timer", f"timer {length}", when)
        elif name in _STEP_ENDS:
            first = next(
                getattr(body, field)
                for field in ("scheduled_event_id", "initiated_event_id", "started_event_id")
                if hasattr(body, field)
            )
            step = self.steps[first]
            step.status, step.ended = _STEP_ENDS[name], when
            step.detail = await self._detail(body, step)
        elif name == "workflow_execution_completed":
            values = await self._values(
                body.result.payloads, self._ret_type("workflow", self._found.run.workflow)
            )
            self._found.result = values[0] if values else None
        elif name == "workflow_execution_failed":
            self._found.failure = failure_text(body.failure)
        elif name == "workflow_execution_terminated":
            self._found.failure = body.reason

    def add_pending(self, activities: Sequence[PendingActivity]) -> None:
        """What the history does not say before it is over: tries, progress, the last failure."""
        for activity in activities:
            step = self._of_activity.get(activity.id)
            if step and step.ended is None:
                step.status, step.attempts = activity.state, activity.attempt
                step.detail = activity.last_failure or activity.text

    def _begin(self, number: int, kind: str, name: str, when: datetime) -> None:
        status = "running" if kind == "timer" else "waiting"
        self.steps[number] = Step(kind=kind, name=name, status=status, started=when)

    async def _detail(self, body: Any, step: Step) -> str:
        if hasattr(body, "failure") and body.HasField("failure"):
            return failure_text(body.failure)[:_LONGEST]
        if hasattr(body, "result") and body.HasField("result"):
            values = await self._values(body.result.payloads, self._ret_type(step.kind, step.name))
            return gist(values, _LONGEST)
        return ""

    def _ret_type(self, kind: str, name: str) -> list[Any] | None:
        registry = self._ops.registry
        entry = (registry.workflows if kind == "workflow" else registry.activities).get(name)
        return [entry.ret_type] if entry and entry.ret_type is not None else None

    async def _values(self, payloads: Sequence[Payload], types: list[Any] | None) -> list[Any]:
        """Typed where they fit; a run of older code may have left what no longer does."""
        if not payloads:
            return []
        converter = self._ops.client.data_converter
        if types is not None and len(types) >= len(payloads):
            try:
                return await converter.decode(payloads, types[: len(payloads)])
            except (BadPayload, RuntimeError, TypeError, ValueError):
                pass
        return await converter.decode(payloads)
