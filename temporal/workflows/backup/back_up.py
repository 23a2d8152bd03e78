"""BackUp: backs up many hosts."""

from __future__ import annotations

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.shared.specs.backup.backup import BackupSpec, HostBackup
from temporal.workflows.automation.rolling import Rolling


@workflow.defn
class BackUp(Rolling):
    """Backs up folders and databases of many hosts; what could not be backed up is never success."""

    all_of_them = True

    @workflow.init
    def __init__(self, spec: BackupSpec) -> None:
        super().__init__(spec)
        self._each = spec.each

    @workflow.run
    async def run(self, spec: BackupSpec) -> FleetReport:
        """Fails if more hosts failed than may; all of them are tried before. One of which something
        could not be read is incomplete. What was saved is in the results of back_up_host."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Backs up one of them."""
        result: HostBackup = await workflow.execute_activity(
            "back_up_host",
            args=[self._each, member],
            # A cancelled run has ended only when restic has, and its lock is gone.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result.outcome
