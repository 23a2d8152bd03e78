"""One real server and worker for every test that does not kill it, and processes that end."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

_HERE = Path(__file__).resolve().parent
for _folder in (str(_HERE.parents[1]), str(_HERE / "packages")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)
for _name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
    del os.environ[_name]  # what this machine has set must not decide how tests end
os.environ["TEMPORAL_CONFIG_FILE"] = ""

from temporal.testing import Environment, environment  # noqa: E402
from tests.temporal.support import PATIENCE_S, Processes  # noqa: E402

FLEET_QUEUE = "fleet-queue"


class Bounded(Environment):
    """Gives up a run that does not end, as one whose task fails again and again."""

    async def run(self, name: str, *args: Any, id: str | None = None) -> Any:
        return await asyncio.wait_for(super().run(name, *args, id=id), PATIENCE_S)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def env() -> AsyncIterator[Environment]:
    """A server and a worker, `trial` registered, its domain `fleet` on a queue of its own."""
    variables = {"TEMPORAL_MODULES": "trial", "TEMPORAL_TASK_QUEUE_FLEET": FLEET_QUEUE}
    async with environment(variables) as running:
        yield Bounded(running.ops, running.crew)


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts programs; at the end none is left."""
    started = Processes()
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def queue() -> str:
    """A task queue that nobody else uses."""
    return f"queue-{uuid.uuid4().hex[:8]}"
