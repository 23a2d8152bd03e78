"""For tests: a real Temporal server and worker of their own, in one line.

async def test_my_workflow() -> None:
    async with environment() as env:
        assert await env.run("MyWorkflow", "World") == "Processed: World"
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from temporal import client, config, registry, server
from temporal.worker import Crew


class Environment:
    """A running server with a worker on everything that is registered."""

    def __init__(self, ops: client.Ops, crew: Crew) -> None:
        self.ops = ops
        self.crew = crew

    async def start(self, name: str, *args: Any, id: str | None = None) -> WorkflowHandle[Any, Any]:
        """Start workflow `name` with `args`."""
        return await self.ops.start(name, *args, id=id)

    async def run(self, name: str, *args: Any, id: str | None = None) -> Any:
        """The result of workflow `name` with `args`."""
        return await self.ops.run(name, *args, id=id)


@contextlib.asynccontextmanager
async def environment(env: Mapping[str, str] | None = None) -> AsyncIterator[Environment]:
    """A server on free ports with an empty database in a temporary folder, and a worker.

    Args:
        env: settings on top of the environment's, as variables: `{"TEMPORAL_MODULES": "ops"}`.
    """
    with tempfile.TemporaryDirectory(prefix="temporal-ops-") as folder:
        variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_PROFILE")
        }
        variables |= {
            "TEMPORAL_STATE_DIR": str(Path(folder) / "state"),
            "TEMPORAL_DRAIN_TIMEOUT": "2",  # an activity that hangs must not hold up the test
            **(env or {}),
        }
        settings = config.load(variables)
        catalogue = registry.load(settings)
        async with server.embedded(settings, usual_ports=False) as record:
            here = settings.lively().at(record.address, config.Origin("test"))
            ops = await client.connect(here, catalogue=catalogue)
            async with Crew(ops) as crew:
                yield Environment(ops, crew)
