"""ListSnapshots: which snapshots there are."""

from __future__ import annotations

import asyncio

from temporalio import workflow

from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.status import Look, Snapshots, looks, together

AT_A_TIME = 4


@workflow.defn
class ListSnapshots:
    """Lists the snapshots of a backup, with what was proved of each. Changes nothing."""

    @workflow.run
    async def run(self, spec: BackupSpec) -> Snapshots:
        """The newest ones, the newest first. That a repository cannot be looked into is told in it."""
        room = asyncio.Semaphore(AT_A_TIME)

        async def look(asked: Look) -> Snapshots:
            async with room:
                found: Snapshots = await workflow.execute_activity("list_snapshots", asked)
                return found

        # One look tells all of a repository that is shared, however many hosts there are.
        asked = list(looks(spec))[:1] if spec.repository.shared else looks(spec)
        return together(await asyncio.gather(*(look(each) for each in asked)))
