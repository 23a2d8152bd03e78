"""New code while runs are in flight: they wait for code that fits, or stay with the code of old."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from trial.models import Item

from temporal.testing import Environment
from tests.temporal.support import PACKAGES, ROOT, Process, Processes, ops_at, until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def seen(handle: WorkflowHandle[Any, Any], kind: EventType.ValueType) -> list[Any]:
    return [event async for event in handle.fetch_history_events() if event.event_type == kind]


async def polling(worker: Process) -> None:
    await worker.says(r"health (http://[\d.:]+)")


def changed_copy(folder: Path) -> str:
    """A PYTHONPATH on which the trial models ask for a field that no run in flight has."""
    copy = folder / "changed"
    shutil.copytree(PACKAGES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    models = copy / "trial" / "models.py"
    models.write_text(
        models.read_text().replace("    size: int\n", "    size: int\n    hue: str\n")
    )
    return os.pathsep.join([str(ROOT), str(copy)])


async def test_a_changed_model_makes_runs_wait_not_fail(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    first = processes.worker(address, queue, tmp_path)
    await polling(first)
    ops = await ops_at(address, queue, tmp_path)
    handle = await ops.start("Remembers", Item(name="spade", size=3))
    await until_async(lambda: seen(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED))
    first.signal(signal.SIGTERM)
    await first.ends()

    wrong = processes.worker(address, queue, tmp_path, PYTHONPATH=changed_copy(tmp_path))
    await polling(wrong)
    await handle.signal("tell")
    (failed, *_) = await until_async(
        lambda: seen(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    )
    said = failed.workflow_task_failed_event_attributes.failure
    assert "hue" in str(said)
    assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    wrong.signal(signal.SIGTERM)
    await wrong.ends()

    right = processes.worker(address, queue, tmp_path)
    await polling(right)
    assert await asyncio.wait_for(handle.result(), 60) == "spade"


async def test_a_deployment_keeps_runs_with_the_code_that_began_them(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    ops = await ops_at(address, queue, tmp_path)

    def version(build: str) -> Process:
        return processes.start(
            [sys.executable, "-m", "temporal", "worker", "--promote"],
            tmp_path,
            {
                "TEMPORAL_ADDRESS": address,
                "TEMPORAL_TASK_QUEUE": queue,
                "TEMPORAL_MODULES": "trial",
                "TEMPORAL_DEPLOYMENT": f"deployment-{queue}",
                "TEMPORAL_BUILD_ID": build,
            },
        )

    async def builds(handle: WorkflowHandle[Any, Any]) -> set[str]:
        events = await seen(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
        return {
            event.workflow_task_completed_event_attributes.deployment_version.build_id
            for event in events
        }

    await polling(version("v1"))
    old = await ops.start("Remembers", Item(name="old", size=1))
    await until_async(lambda: builds(old))
    await polling(version("v2"))
    new = await ops.start("Remembers", Item(name="new", size=1))
    await until_async(lambda: builds(new))
    for handle in (old, new):
        await handle.signal("tell")
    assert await asyncio.wait_for(old.result(), 30) == "old"
    assert await asyncio.wait_for(new.result(), 30) == "new"
    assert await builds(old) == {"v1"}
    assert await builds(new) == {"v2"}
