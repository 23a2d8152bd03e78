"""BackUp: backs up many hosts."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

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
        if spec.repository.create and spec.repository.shared and spec.total > 1:
            if not spec.state.next:
                await self._make_repository(spec)
            there = spec.repository.model_copy(update={"create": False})
            self._each = self._each.model_copy(update={"repository": there})
        return await self.roll_out()

    async def _make_repository(self, spec: BackupSpec) -> None:
        """By the first host that is reached: only one may, and all come to it at the same time."""
        for member in spec.members(0, spec.total):
            try:
                why: str = await workflow.execute_activity(
                    "make_repository", args=[self._each, member]
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                continue
            if why:
                raise ApplicationError(
                    f"{member.host.name} cannot make the repository: {why}",
                    type="BackupFailed",
                    non_retryable=True,
                )
            return

    async def one(self, member: Member) -> HostOutcome:
        """Backs up one of them."""
        result: HostBackup = await workflow.execute_activity(
            "back_up_host",
            args=[self._each, member],
            # A cancelled run has ended only when restic has, and its lock is gone.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result.outcome
