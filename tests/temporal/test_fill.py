"""What the interceptor fills into a call, read from the history that the server kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from trial.models import Call

from temporal.shared.errors import SpecError, UnknownName
from temporal.testing import Environment
from tests.temporal.conftest import FLEET_QUEUE
from tests.temporal.support import failure

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def scheduled(handle: WorkflowHandle[Any, Any]) -> Any:
    """The attributes with which the run's first activity was scheduled."""
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            return event.activity_task_scheduled_event_attributes
    raise AssertionError("no activity was scheduled")


async def call(env: Environment, **values: Any) -> Any:
    handle = await env.start("CallActivity", Call(**values))
    await handle.result()
    return await scheduled(handle)


async def test_a_call_that_says_nothing_gets_what_the_activity_declares(env: Environment) -> None:
    found = await call(env, activity="declared")
    assert found.start_to_close_timeout.ToTimedelta() == timedelta(seconds=41)
    assert found.schedule_to_close_timeout.ToTimedelta() == timedelta(seconds=42)
    # The server cuts it to the whole time that there is.
    assert found.schedule_to_start_timeout.ToTimedelta() == timedelta(seconds=42)
    # ... and a heartbeat to one attempt.
    assert found.heartbeat_timeout.ToTimedelta() == timedelta(seconds=41)
    assert found.retry_policy.maximum_attempts == 7
    assert found.retry_policy.initial_interval.ToTimedelta() == timedelta(seconds=3)
    assert found.task_queue.name == env.ops.settings.task_queue


async def test_an_activity_that_declares_nothing_gets_the_defaults(env: Environment) -> None:
    found = await call(env, activity="plain_queue")
    assert found.start_to_close_timeout.ToTimedelta() == timedelta(minutes=10)
    assert not found.heartbeat_timeout.ToTimedelta()
    assert found.retry_policy.maximum_attempts == 5
    assert found.retry_policy.maximum_interval.ToTimedelta() == timedelta(seconds=30)


async def test_what_the_call_says_wins(env: Environment) -> None:
    found = await call(
        env,
        activity="declared",
        attempts=2,
        options={
            "start_to_close_timeout": 11,
            "heartbeat_timeout": 6,
            "schedule_to_start_timeout": 9,
        },
    )
    assert found.start_to_close_timeout.ToTimedelta() == timedelta(seconds=11)
    assert found.heartbeat_timeout.ToTimedelta() == timedelta(seconds=6)
    assert found.schedule_to_start_timeout.ToTimedelta() == timedelta(seconds=9)
    assert found.retry_policy.maximum_attempts == 2


async def test_a_queue_that_the_call_names_wins(env: Environment) -> None:
    handle = await env.start(
        "CallActivity",
        Call(activity="fleet_queue", queue="nobody", options={"schedule_to_start_timeout": 0.2}),
    )
    assert "schedule" in str(await failure(handle)).lower()
    assert (await scheduled(handle)).task_queue.name == "nobody"


async def test_two_domains_on_two_queues(env: Environment) -> None:
    default = env.ops.settings.task_queue
    assert await env.run("Patrol") == [FLEET_QUEUE, FLEET_QUEUE, default]
    assert await env.run("CallChild", "Patrol") == [FLEET_QUEUE, FLEET_QUEUE, default]


async def test_a_result_by_name_has_its_type(env: Environment) -> None:
    assert await env.run("ItemName") == "Item spade"


async def test_a_local_activity_needs_no_timeout_either(env: Environment) -> None:
    assert await env.run("CallActivity", Call(activity="declared", local=True)) == "done"


async def test_an_unknown_activity_fails_at_once(env: Environment) -> None:
    handle = await env.start("CallActivity", Call(activity="declarred"))
    error = await failure(handle)
    assert "declarred" in str(error) and "not registered" in str(error)


@pytest.mark.parametrize("modules", ["recluse"])
async def test_an_unknown_activity_from_a_queue_of_workflows_alone_fails_at_once(
    env: Environment, modules: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / modules
    (package / "workflows" / "cave").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "workflows" / "cave" / "__init__.py").write_text("")
    (package / "workflows" / "cave" / "hermit.py").write_text(
        "from temporalio import workflow\n\n\n@workflow.defn\nclass Hermit:\n"
        "    @workflow.run\n    async def run(self) -> str:\n"
        "        return await workflow.execute_activity('nobody_has_it')\n"
    )
    (package / "workflows" / "__init__.py").write_text(
        f"from {modules}.workflows.cave.hermit import Hermit\nWORKFLOWS = [Hermit]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from temporal import client, config, registry
    from temporal.worker import Crew

    settings = config.load(
        {
            "TEMPORAL_ADDRESS": env.ops.settings.address,
            "TEMPORAL_TASK_QUEUE": f"{modules}-queue",
            "TEMPORAL_TASK_QUEUE_CAVE": "cave-queue",
            "TEMPORAL_MODULES": modules,
        }
    )
    ops = await client.connect(settings, catalogue=registry.load(settings))
    async with Crew(ops):
        error = await failure(await ops.start("Hermit"))
    assert "nobody_has_it" in str(error)


async def test_an_unknown_child_fails_at_once_and_offers_the_near_ones(env: Environment) -> None:
    error = await failure(await env.start("CallChild", "Patroll"))
    assert "Patroll" in str(error) and "Did you mean Patrol?" in str(error)


async def test_a_mistyped_start_is_refused(env: Environment) -> None:
    with pytest.raises(UnknownName, match="Did you mean TestWorkflow"):
        await env.start("TestWorkflw", "World")
    with pytest.raises(SpecError, match=r"takes str; 0 value"):
        await env.start("TestWorkflow")
    with pytest.raises(SpecError, match=r"activity: Field required"):
        await env.start("CallActivity", {"args": []})


async def test_an_id_that_runs_already_is_joined(env: Environment) -> None:
    call = Call(activity="silent", options={"heartbeat_timeout": 300})
    first = await env.start("CallActivity", call, id="join-me")
    second = await env.start("CallActivity", call, id="join-me")
    assert first.result_run_id == second.result_run_id
    assert first.first_execution_run_id == second.first_execution_run_id
    await first.terminate()
