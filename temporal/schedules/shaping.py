"""A schedule as Temporal takes it, and as it is compared: the same form for what a file declares and
for what the server hands back.

Cron texts are sent as calendars, since that is what the server would make of them and hand back: with
its text as comment, so that people and this comparison find it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from temporal.client import DOMAIN, STARTED_BY, Ops
from temporal.schedules.declared import Declared
from temporal.shared.specs.cron import Calendar, Range, calendar_of
from temporal.shared.specs.schedules import said

OWNER = "schedule_owner"
DIGEST = "schedule_digest"
"""Keys of a run's memo: whose schedule started it, and what was declared for it. They stand in the
schedule's action, the part that can be changed later; the schedule's own memo cannot."""

View = dict[str, Any]
"""A schedule as it is compared and shown: what a person would have written."""


def schedule_of(ops: Ops, owner: str, declared: Declared) -> Schedule:
    """What is to be on the server. Its runs carry what runs that a person starts carry."""
    entry, workflow = declared.entry, declared.workflow
    by = f"schedule:{declared.name}"
    attributes = [SearchAttributePair(STARTED_BY, by)]
    if workflow.domain:
        attributes.append(SearchAttributePair(DOMAIN, workflow.domain))
    action = ScheduleActionStartWorkflow(
        workflow.name,
        args=declared.values,
        id=declared.name,
        task_queue=workflow.queue,
        memo={"started_by": by, OWNER: owner, DIGEST: ""},
        typed_search_attributes=TypedSearchAttributes(attributes if ops.searchable else []),
        static_summary=workflow.summary or None,
    )
    every = [] if entry.every is None else [ScheduleIntervalSpec(entry.every, entry.offset or None)]
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(
            calendars=[_calendar(text) for text in entry.cron],
            intervals=every,
            jitter=entry.jitter or None,
            time_zone_name=entry.timezone,
        ),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy[entry.overlap.upper()],
            catchup_window=entry.catchup,
            pause_on_failure=entry.pause_on_failure,
        ),
        state=ScheduleState(note=entry.note or None, paused=bool(entry.paused)),
    )
    view = view_of(schedule, arguments(ops, declared))
    action.memo = {**(action.memo or {}), DIGEST: _digest([view, entry.paused, by])}
    return schedule


def digest_in(schedule: Schedule) -> str:
    """The digest of what `schedule_of` made it of."""
    assert isinstance(schedule.action, ScheduleActionStartWorkflow)
    return str((schedule.action.memo or {})[DIGEST])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def arguments(ops: Ops, declared: Declared) -> list[Any]:
    """What is declared as it would travel, secrets replaced and limits kept, as plain values."""
    payloads = ops.client.data_converter.payload_converter.to_payloads(declared.values)
    return written(declared.workflow.arg_types, [plain(payload) for payload in payloads])


def written(types: Sequence[Any] | None, values: list[Any]) -> list[Any]:
    """Plain values as a person would have written them, without what is left at its default; as
    they are where they do not fit their types."""
    if types is None or len(types) != len(values):
        return values
    try:
        return [
            TypeAdapter(kind).dump_python(
                TypeAdapter(kind).validate_python(value), mode="json", exclude_defaults=True
            )
            for kind, value in zip(types, values, strict=True)
        ]
    except ValidationError:
        return values


def plain(payload: Payload) -> Any:
    """What a payload holds; of what is no JSON its kind and size."""
    kind = payload.metadata.get("encoding", b"").decode()
    if kind == "binary/null":
        return None
    if kind.startswith("json/"):
        return json.loads(payload.data)
    return f"({kind}, {len(payload.data)} bytes)"


def view_of(schedule: Schedule, values: list[Any]) -> View:
    """`schedule` as it is compared; `values` are its action's arguments."""
    action, spec, policy, state = (
        schedule.action,
        schedule.spec,
        schedule.policy,
        schedule.state,
    )
    assert isinstance(action, ScheduleActionStartWorkflow)
    when = sorted(_when(each) for each in spec.calendars)
    when += sorted(f"cron {each}" for each in spec.cron_expressions)
    every = [
        f"every {said(each.every)}" + (f" offset {said(each.offset)}" if each.offset else "")
        for each in spec.intervals
    ]
    view: View = {
        "workflow": action.workflow,
        "queue": action.task_queue,
        "runs": action.id,
        "when": when + sorted(every),
        "timezone": spec.time_zone_name or "UTC",
        "jitter": said(spec.jitter) if spec.jitter else "0s",
        "overlap": ScheduleOverlapPolicy(policy.overlap or 1).name.lower(),
        "catchup": said(policy.catchup_window) if policy.catchup_window else "the server's default",
        "pause_on_failure": policy.pause_on_failure,
        "paused": state.paused,
        "note": state.note or "",
        "input": values,
    }
    more = {
        "skip": [_when(each) for each in spec.skip],
        "start_at": spec.start_at.isoformat() if spec.start_at else "",
        "end_at": spec.end_at.isoformat() if spec.end_at else "",
        "actions_left": state.remaining_actions if state.limited_actions else "",
        "execution_timeout": said(action.execution_timeout) if action.execution_timeout else "",
        "run_timeout": said(action.run_timeout) if action.run_timeout else "",
        "retries": "a retry policy" if action.retry_policy else "",
    }
    return {**view, **{key: value for key, value in more.items() if value != "" and value != []}}


def _calendar(text: str) -> ScheduleCalendarSpec:
    fields = {
        name: tuple(ScheduleRange(*each) for each in ranges)
        for name, ranges in calendar_of(text).items()
    }
    return ScheduleCalendarSpec(**fields, comment=text)


def _when(calendar: ScheduleCalendarSpec) -> str:
    """The cron text that a calendar was made of, if that is what it still says; else its ranges."""
    plain_one = [(each.start, each.end, each.step) for each in calendar.second] == [(0, 0, 1)]
    if calendar.comment and plain_one and not calendar.year:
        try:
            wanted = calendar_of(calendar.comment)
        except ValueError:
            wanted = {}
        if wanted == _ranges(calendar):
            return f"cron {calendar.comment}"
    fields = {**_ranges(calendar), "second": _tuple(calendar.second), "year": _tuple(calendar.year)}
    shown = "; ".join(
        f"{name} {','.join(_range(each) for each in ranges)}"
        for name, ranges in fields.items()
        if ranges
    )
    return f"calendar {shown}"


def _ranges(calendar: ScheduleCalendarSpec) -> Calendar:
    names = ("minute", "hour", "day_of_month", "month", "day_of_week")
    return {name: _tuple(getattr(calendar, name)) for name in names}


def _tuple(ranges: Sequence[ScheduleRange]) -> tuple[Range, ...]:
    return tuple(sorted(Range(each.start, each.end, each.step) for each in ranges))


def _range(each: Range) -> str:
    span = str(each.start) if each.start == each.end else f"{each.start}-{each.end}"
    return span if each.step == 1 else f"{span}/{each.step}"
