"""ProvisionFleet: brings many servers to one declared state, wave by wave."""

from __future__ import annotations

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.workflows.automation.rolling import Rolling


@workflow.defn
class ProvisionFleet(Rolling):
    """Brings many servers to one declared state: a canary, then wave by wave."""

    @workflow.init
    def __init__(self, fleet: FleetSpec) -> None:
        super().__init__(fleet)
        self._shape = fleet.shape

    @workflow.run
    async def run(self, fleet: FleetSpec) -> FleetReport:
        """Fails if more hosts failed than may, or it was aborted; what was done stays done."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Brings one of them there."""
        outcome: HostOutcome = await workflow.execute_activity(
            "converge_member",
            args=[self._shape, member],
            # A cancelled run has ended only when nothing of it goes on at the hosts.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return outcome
