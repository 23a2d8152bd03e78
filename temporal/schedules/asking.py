"""What can be asked of schedules: list, pause, unpause, trigger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from pydantic import BaseModel
from temporalio.client import ScheduleActionExecutionStartWorkflow
from temporalio.service import RPCError, RPCStatusCode

from temporal.client import Ops, explain_rpc
from temporal.schedules.found import Found, look, names
from temporal.shared.errors import OpsError


class NoSuchSchedule(OpsError):
    """There is no schedule of this name."""


class Listed(BaseModel):
    """A schedule, in short.

    Attributes:
        owner: whose it is; empty: it was not made from a file.
        when: cron texts, calendars, intervals.
        next: when it is due next, UTC; None while it rests, or if that never comes.
        last: workflow id of the run that it started last; empty if there is none.
    """

    name: str
    workflow: str
    owner: str = ""
    when: list[str] = []
    paused: bool = False
    note: str = ""
    next: datetime | None = None
    last: str = ""


async def list_schedules(ops: Ops) -> list[Listed]:
    """All of them, by name. Raises ConnectError."""
    found = await look(ops, await names(ops))
    return [_listed(each) for _, each in sorted(found.items())]


def _listed(found: Found) -> Listed:
    about = Listed(
        name=found.name,
        workflow=found.view["workflow"],
        owner=found.owner,
        when=found.view.get("when", []),
        paused=found.view.get("paused", False),
        note=found.view.get("note", ""),
    )
    if found.description is None:
        return about
    info = found.description.info
    if info.next_action_times and not about.paused:
        about.next = info.next_action_times[0]
    if info.recent_actions:
        action = info.recent_actions[-1].action
        if isinstance(action, ScheduleActionExecutionStartWorkflow):
            about.last = action.workflow_id
    return about


async def pause(ops: Ops, name: str, by: str, why: str = "") -> None:
    """Let it start nothing until it is unpaused. Raises NoSuchSchedule."""
    handle = ops.client.get_schedule_handle(name)
    await _act(ops, name, lambda: handle.pause(note=_note("paused", by, why)))


async def unpause(ops: Ops, name: str, by: str, why: str = "") -> None:
    """Let it start runs again. Raises NoSuchSchedule."""
    handle = ops.client.get_schedule_handle(name)
    await _act(ops, name, lambda: handle.unpause(note=_note("unpaused", by, why)))


async def trigger(ops: Ops, name: str) -> None:
    """Start what it starts, now; its overlap policy holds. Raises NoSuchSchedule."""
    await _act(ops, name, ops.client.get_schedule_handle(name).trigger)


def _note(what: str, by: str, why: str) -> str:
    return f"{what} by {by}: {why}" if why else f"{what} by {by}"


async def _act(ops: Ops, name: str, call: Callable[[], Awaitable[None]]) -> None:
    try:
        # Some servers take anything for a schedule that is not there, and say nothing.
        await ops.client.get_schedule_handle(name).describe()
        await call()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            raise NoSuchSchedule(
                f"there is no schedule {name!r} in namespace {ops.settings.namespace!r}. "
                "`temporal-ops schedule list` shows those there are."
            ) from None
        raise explain_rpc(error, ops.settings) from error
