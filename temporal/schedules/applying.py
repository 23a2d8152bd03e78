"""Bring the server's schedules to what a plan says, and see that they are."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from temporalio.api.workflowservice.v1 import UpdateScheduleRequest
from temporalio.client import ScheduleAlreadyRunningError
from temporalio.service import RPCError, RPCStatusCode

from temporal.client import Ops, explain_rpc
from temporal.schedules.found import Found, find
from temporal.schedules.planning import Plan, Step
from temporal.schedules.shaping import OWNER, digest_in, schedule_of

PATIENCE_S = 15.0
"""The server takes a change in, and does it a moment later."""
MEANWHILE = "it has changed since it was shown; look again"


@dataclass(frozen=True)
class Done:
    """What came of one step; `failure` is empty if it was done."""

    name: str
    kind: str
    failure: str = ""


async def apply(ops: Ops, plan: Plan) -> list[Done]:
    """Does what `plan` says and nothing else; a schedule that has changed since is left alone.

    Raises ConnectError.
    """
    return [
        await _do(ops, plan.owner, step) for step in plan.of("create", "change", "remove", "taken")
    ]


async def _do(ops: Ops, owner: str, step: Step) -> Done:
    try:
        if step.kind == "create":
            failure = await _create(ops, owner, step)
        elif step.kind == "change":
            failure = await _change(ops, owner, step)
        elif step.kind == "remove":
            failure = await _remove(ops, step)
        else:
            failure = step.because
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            return Done(step.name, step.kind, f"the server refuses it: {error.message}")
        raise explain_rpc(error, ops.settings) from error
    return Done(step.name, step.kind, failure)


async def _create(ops: Ops, owner: str, step: Step) -> str:
    assert step.declared is not None
    schedule = schedule_of(ops, owner, step.declared)
    digest = digest_in(schedule)
    try:
        await ops.client.create_schedule(step.name, schedule, memo={OWNER: owner})
    except ScheduleAlreadyRunningError:
        return MEANWHILE
    return await _seen(ops, step, digest)


async def _change(ops: Ops, owner: str, step: Step) -> str:
    assert step.declared is not None and step.found is not None and step.after is not None
    schedule = schedule_of(ops, owner, step.declared)
    schedule.state.paused = step.after["paused"]
    schedule.state.note = step.after["note"] or None
    if not await _as_shown(ops, step.found):
        return MEANWHILE
    # The SDK's update sends no token, so that it would write over what came in between.
    await ops.client.workflow_service.update_schedule(
        UpdateScheduleRequest(
            namespace=ops.client.namespace,
            schedule_id=step.name,
            schedule=await schedule._to_proto(ops.client),
            conflict_token=step.found.token,
            identity=ops.client.identity,
            request_id=str(uuid.uuid4()),
        ),
        retry=True,
    )
    return await _seen(ops, step, digest_in(schedule))


async def _remove(ops: Ops, step: Step) -> str:
    assert step.found is not None
    if not await _as_shown(ops, step.found):
        return MEANWHILE
    await ops.client.get_schedule_handle(step.name).delete()
    deadline = time.monotonic() + PATIENCE_S
    while await find(ops, step.name) is not None:
        if time.monotonic() > deadline:
            return "the server says that it is removed, and it is still there"
        await asyncio.sleep(0.1)
    return ""


async def _as_shown(ops: Ops, shown: Found) -> bool:
    now = await find(ops, shown.name)
    return now is not None and (now.token, now.view) == (shown.token, shown.view)


async def _seen(ops: Ops, step: Step, digest: str) -> str:
    """Nothing once the server shows it as it was sent; else what it shows. An update whose token no
    longer holds is dropped by some servers without a word."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        now = await find(ops, step.name)
        if now is not None and now.digest == digest and now.view == step.after:
            return ""
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    if now is None or now.digest != digest:
        return "the server took it and does not show it: " + MEANWHILE
    after = step.after or {}
    odd = [key for key in {*now.view, *after} if now.view.get(key) != after.get(key)]
    return "the server made something else of " + ", ".join(
        f"{key} ({after.get(key)!r} became {now.view.get(key)!r})" for key in sorted(odd)
    )
