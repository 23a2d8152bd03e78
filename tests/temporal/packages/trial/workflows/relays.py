"""A workflow that goes on as new again and again."""

from __future__ import annotations

from temporalio import workflow


@workflow.defn
class Relays:
    """In each run: makes an item, counts, goes on as new; `left` more times."""

    @workflow.run
    async def run(self, left: int) -> int:
        await workflow.execute_activity("make_item")
        await workflow.execute_activity("count_all", args=["x"] * left)
        if left:
            workflow.continue_as_new(left - 1)
        return left
