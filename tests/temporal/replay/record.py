"""Records the kept histories anew: `make histories`, or for some workflows only:

python -m tests.temporal.replay.record TestWorkflow
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any

from temporalio.client import WorkflowFailureError

from temporal.testing import Environment, environment
from tests.temporal.replay.scenarios import HISTORIES, SCENARIOS, Scenario


async def record(env: Environment, scenario: Scenario) -> None:
    """Runs `scenario` to its end and writes down the history of it."""
    async with scenario.arguments() as arguments:
        handle = await env.start(
            scenario.workflow, *arguments, id=f"{scenario.workflow}-{scenario.name}"
        )
        if scenario.meanwhile is not None:
            await scenario.meanwhile(env.ops.client.get_workflow_handle(handle.id))
        with contextlib.suppress(
            WorkflowFailureError
        ):  # a run that fails is a way through the code
            await handle.result()
    history = await handle.fetch_history()
    text = json.dumps(_anonymous(json.loads(history.to_json())), indent=1, sort_keys=True)
    scenario.file.write_text(text + "\n")
    print(f"recorded {scenario.file.name}: {len(history.events)} events")


def _anonymous(value: Any) -> Any:
    """The history without the names of the machine and the processes that made it, and without
    stack traces, which hold its paths."""
    if isinstance(value, dict):
        if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
            return {**value, "name": "sticky"}
        return {
            key: "recorder" if key == "identity" else _anonymous(inner)
            for key, inner in value.items()
            if key != "stackTrace"
        }
    return [_anonymous(inner) for inner in value] if isinstance(value, list) else value


async def main(only: list[str]) -> None:
    HISTORIES.mkdir(exist_ok=True)
    chosen = [one for one in SCENARIOS if not only or one.workflow in only]
    async with environment({"TEMPORAL_STARTED_BY": "recorder"}) as env:
        for scenario in chosen:
            await record(env, scenario)
    if not only:
        for file in set(HISTORIES.glob("*.json")) - {scenario.file for scenario in SCENARIOS}:
            file.unlink()
            print(f"removed {file.name}: no scenario makes it")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
