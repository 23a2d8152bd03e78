"""DrillRestore: tries restores on many hosts, and proves what came of them."""

from __future__ import annotations

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.drilling import DrillChoice, DrilledHost
from temporal.workflows.automation.rolling import Rolling


@workflow.defn
class DrillRestore(Rolling):
    """Restores the newest snapshots into scratch, compares them with what was backed up, writes the
    proof into the repository, and removes them again. Each run does other sources, in turn."""

    all_of_them = True

    @workflow.init
    def __init__(self, spec: BackupSpec) -> None:
        super().__init__(spec)
        self._each = spec.each

    @workflow.run
    async def run(self, spec: BackupSpec) -> FleetReport:
        """Fails if on more hosts than may something was not restored, or is wrong. What was proved, and
        how long it took, is in the results of drill_host."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Drills one of them. What its turn is stands in the history before it begins."""
        choice: DrillChoice = await workflow.execute_activity(
            "choose_drill", args=[self._each, member]
        )
        result: DrilledHost = await workflow.execute_activity(
            "drill_host",
            args=[self._each, member, choice],
            # A cancelled run has ended only when its scratch is gone.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result.outcome
