"""Reads the histories of a workflow, one run after the other, and prints what is in them as JSON.

python -m benchmarks.fleet.chain ADDRESS WORKFLOW_ID
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

BILLED = {
    "workflow started": EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    "activity": EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    "timer": EventType.EVENT_TYPE_TIMER_STARTED,
    "update": EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    "child workflow": EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    "marker": EventType.EVENT_TYPE_MARKER_RECORDED,
}
"""Events that Temporal Cloud bills as actions (Temporal Cloud's documentation, "Actions"); a run that
goes on from another is started as well. Heartbeats are actions there too; here none is sent after
the first of an attempt, unless a host takes longer than five seconds."""


async def runs(client: Client, workflow_id: str) -> list[dict[str, Any]]:
    """Of each run in the chain: events, the server's count of bytes, and actions by kind."""
    first = await client.get_workflow_handle(workflow_id).describe()
    run_id = first.raw_description.workflow_execution_info.first_run_id or first.run_id
    found: list[dict[str, Any]] = []
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        about = (await handle.describe()).raw_description.workflow_execution_info
        kinds: Counter[int] = Counter()
        follower = ""
        async for event in handle.fetch_history_events():
            kinds[event.event_type] += 1
            follower = (
                event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
            )
        found.append(
            {
                "events": sum(kinds.values()),
                "bytes": about.history_size_bytes,
                "actions": {name: kinds[kind] for name, kind in BILLED.items() if kinds[kind]},
            }
        )
        run_id = follower
    return found


async def _main(address: str, workflow_id: str) -> None:
    print(json.dumps(await runs(await Client.connect(address), workflow_id)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
