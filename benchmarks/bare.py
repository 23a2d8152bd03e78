"""The bare SDK worker that ours is measured against: no plugin, no interceptor, no health.

Its workflow is TestWorkflow with the timeout that the bare SDK asks for.

    python -m benchmarks.bare ADDRESS QUEUE
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow


@activity.defn(name="test_activity")
async def greet(name: str) -> str:
    """`Hello, <name>!`"""
    return f"Hello, {name}!"


@workflow.defn(name="TestWorkflow")
class Bare:
    """Greets `name` through one activity."""

    @workflow.run
    async def run(self, name: str) -> str:
        greeting: str = await workflow.execute_activity(
            "test_activity", name, start_to_close_timeout=timedelta(minutes=10)
        )
        return greeting


async def main(address: str, queue: str) -> None:
    """Serve `queue` for ever."""
    from temporalio.client import Client
    from temporalio.worker import Worker

    client = await Client.connect(address)
    async with Worker(client, task_queue=queue, workflows=[Bare], activities=[greet]):
        print("polling", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
