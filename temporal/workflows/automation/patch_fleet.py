"""PatchFleet: upgrades many servers, with a reboot where one is needed, wave by wave."""

from __future__ import annotations

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.shared.specs.automation.patching import Patched, PatchSpec
from temporal.workflows.automation.cancelled import stop_if_cancelled
from temporal.workflows.automation.rolling import Rolling

_TO_ITS_END = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


@workflow.defn
class PatchFleet(Rolling):
    """Upgrades many servers, with a reboot where one is needed: one at a time, unless told otherwise."""

    @workflow.init
    def __init__(self, fleet: PatchSpec) -> None:
        super().__init__(fleet)
        self._patch = fleet.patch

    @workflow.run
    async def run(self, fleet: PatchSpec) -> FleetReport:
        """Fails if more hosts failed than may, or it was aborted; what was done stays done."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Upgrades one of them; the reboot is an activity of its own.

        That way the boot before it stands in the history before anybody orders another: whoever
        goes on after a crash knows which boot is to end, even while the host does not answer.
        """
        patched: Patched = await workflow.execute_activity(
            "patch_host", args=[self._patch, member], cancellation_type=_TO_ITS_END
        )
        if not patched.reboot:
            return patched.outcome
        stop_if_cancelled()  # else a host would be rebooted for who has cancelled
        outcome: HostOutcome = await workflow.execute_activity(
            "reboot_host", args=[self._patch, member, patched], cancellation_type=_TO_ITS_END
        )
        return outcome
