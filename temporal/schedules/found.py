"""What schedules the server has."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from temporal.client import Ops, explain_rpc
from temporal.schedules.shaping import DIGEST, OWNER, View, plain, view_of, written

AT_A_TIME = 20


@dataclass(frozen=True)
class Found:
    """A schedule of the server.

    Attributes:
        owner: whose it is; empty: it was not made from a file.
        digest: of what was declared for it when it was last applied.
        view: what it is now.
        token: what the server knows this state of it by.
    """

    name: str
    owner: str
    digest: str
    view: View
    token: bytes
    schedule: Schedule | None
    description: ScheduleDescription | None = None


async def names(ops: Ops) -> list[str]:
    """All schedules that the server lists. It lists a new one a moment after it was made.

    Raises ConnectError.
    """
    try:
        return [entry.id async for entry in await ops.client.list_schedules()]
    except RPCError as error:
        raise explain_rpc(error, ops.settings) from error


async def look(ops: Ops, wanted: list[str]) -> dict[str, Found]:
    """Those of `wanted` that are there. Raises ConnectError."""
    room = asyncio.Semaphore(AT_A_TIME)

    async def one(name: str) -> Found | None:
        async with room:
            return await find(ops, name)

    found = await asyncio.gather(*(one(name) for name in wanted))
    return {each.name: each for each in found if each is not None}


async def find(ops: Ops, name: str) -> Found | None:
    """One; None if it is not there. Raises ConnectError."""
    try:
        described = await ops.client.get_schedule_handle(name).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            return None
        raise explain_rpc(error, ops.settings) from error
    except ValueError:  # the SDK knows schedules that start workflows, and no others
        return Found(name, "", "", {"workflow": "(it starts no workflow)"}, b"", None)
    schedule = described.schedule
    assert isinstance(schedule.action, ScheduleActionStartWorkflow)
    memo = {key: _text(value) for key, value in (schedule.action.memo or {}).items()}
    owner = memo.get(OWNER) or str(await described.memo_value(OWNER, "") or "")
    view = view_of(schedule, await _values(ops, schedule.action))
    token = described.raw_description.conflict_token
    return Found(name, owner, memo.get(DIGEST, ""), view, token, schedule, described)


async def _values(ops: Ops, action: ScheduleActionStartWorkflow) -> list[Any]:
    converter = ops.client.data_converter
    payloads = [each for each in action.args if isinstance(each, Payload)]
    try:
        # Read out of the store where they are too big to travel, and back into plain values.
        decoded = await converter.decode(payloads)
    except (ApplicationError, RuntimeError, ValueError) as error:
        return [f"(cannot be read: {error})"]
    known = ops.registry.workflows.get(action.workflow)
    plain_ones = [plain(each) for each in converter.payload_converter.to_payloads(decoded)]
    return written(known.arg_types if known else None, plain_ones)


def _text(value: object) -> str:
    with contextlib.suppress(ValueError):
        found = plain(value) if isinstance(value, Payload) else value
        return found if isinstance(found, str) else ""
    return ""
