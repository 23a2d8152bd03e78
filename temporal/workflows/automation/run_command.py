"""RunCommand: runs a command once on each of many hosts."""

from __future__ import annotations

from temporalio import workflow

from temporal.shared.specs.automation.command import CommandResult, CommandSpec
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.workflows.automation.rolling import Rolling


@workflow.defn
class RunCommand(Rolling):
    """Runs a command once on each of many hosts, and keeps what it said there."""

    @workflow.init
    def __init__(self, spec: CommandSpec) -> None:
        super().__init__(spec)
        self._each = spec.each

    @workflow.run
    async def run(self, spec: CommandSpec) -> FleetReport:
        """Says on how many hosts it failed; fails itself only with more of them than may, or when it
        was aborted. What it said is in the results of run_on_host, not here."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Runs it on one of them."""
        result: CommandResult = await workflow.execute_activity(
            "run_on_host",
            args=[self._each, member],
            # A cancelled run has ended only when nothing of it goes on at the hosts.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result.outcome
