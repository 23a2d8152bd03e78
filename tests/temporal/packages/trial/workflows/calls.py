"""Workflows that do what their input says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from trial.models import Call, Item


def _options(call: Call) -> dict[str, Any]:
    options: dict[str, Any] = {
        name: timedelta(seconds=value) for name, value in call.options.items()
    }
    if call.attempts is not None:
        options["retry_policy"] = RetryPolicy(maximum_attempts=call.attempts)
    if call.queue is not None:
        options["task_queue"] = call.queue
    return options


@workflow.defn
class CallActivity:
    """Calls one activity."""

    @workflow.run
    async def run(self, call: Call) -> Any:
        options = _options(call)
        if call.local:
            return await workflow.execute_local_activity(call.activity, args=call.args, **options)
        return await workflow.execute_activity(call.activity, args=call.args, **options)


@workflow.defn
class CallChild:
    """Starts a child workflow by name, on whatever queue it belongs to."""

    @workflow.run
    async def run(self, name: str) -> Any:
        return await workflow.execute_child_workflow(name)


@workflow.defn
class ItemName:
    """Uses the model that an activity returns, named by string: the registry knows its type."""

    @workflow.run
    async def run(self) -> str:
        item = await workflow.execute_activity("make_item")
        return f"{type(item).__name__} {item.name}"


@workflow.defn
class ManyArguments:
    """Sends `count` values of `size` bytes each to one activity."""

    @workflow.run
    async def run(self, count: int, size: int) -> int:
        values = ["x" * size for _ in range(count)]
        return int(await workflow.execute_activity("count_all", args=values))


@workflow.defn
class Says:
    """Returns a text of `size` bytes."""

    @workflow.run
    async def run(self, size: int) -> str:
        return "x" * size


@workflow.defn
class Remembers:
    """Takes a model, waits for a signal, tells the model's name."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, item: Item) -> str:
        await workflow.wait_condition(lambda: self.told)
        return item.name

    @workflow.signal
    def tell(self) -> None:
        self.told = True
