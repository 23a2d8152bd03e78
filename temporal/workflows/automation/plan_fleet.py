"""PlanFleet: what would change on many servers."""

from __future__ import annotations

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import Ending, FleetReport, HostOutcome
from temporal.shared.specs.automation.provisioning import FleetSpec, MemberPlan
from temporal.workflows.automation.rolling import Rolling


@workflow.defn
class PlanFleet(Rolling):
    """Says what would change on many servers, and changes nothing.

    The plans are the results of its activities: `temporal.runs.approving.plans_of` reads them.
    """

    @workflow.init
    def __init__(self, fleet: FleetSpec) -> None:
        super().__init__(fleet)
        self._shapes = fleet.shapes
        # To look at all of them changes nothing, so nothing is learned by going in steps.
        self._waves = [(0, fleet.total)]

    @workflow.run
    async def run(self, fleet: FleetSpec) -> FleetReport:
        """Fails if it is aborted; a host that cannot be planned is in the report."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Plans one of them."""
        shape = self._shapes[member.variant]
        plan: MemberPlan = await workflow.execute_activity("plan_member", args=[shape, member])
        if plan.planned is None:
            return HostOutcome(host=plan.host, ending="failed", because=plan.because)
        ending: Ending = "unchanged" if plan.planned.empty else "drifted"
        return HostOutcome(host=plan.host, ending=ending)

    def _allowed(self) -> int:
        return self._fleet.total

    async def _check_health(self, number: int) -> None:
        """Nothing was done that could have made anything unhealthy."""
