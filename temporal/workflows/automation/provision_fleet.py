"""ProvisionFleet: brings many servers to one declared state, wave by wave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import (
    Ending,
    FleetReport,
    HostOutcome,
    Waiting,
    whole,
)
from temporal.shared.specs.automation.provisioning import DIGITS, FleetSpec, MemberPlan, Preview
from temporal.workflows.automation.rolling import Rolling


@workflow.defn
class ProvisionFleet(Rolling):
    """Brings many servers to one declared state: a canary, then wave by wave.

    With `approve: plan` all are planned first, and what somebody approved is what is done: a host
    that had changed when its turn came is left alone, planned again, and waits for approval again.
    """

    @workflow.init
    def __init__(self, fleet: FleetSpec) -> None:
        super().__init__(fleet)
        self._spec = fleet
        self._shapes = fleet.shapes
        seen = fleet.preview or Preview()
        # Places of the members of this round; the waves count in these.
        self._order: Sequence[int] = range(fleet.total) if seen.places is None else seen.places
        self._plans = list(seen.plans)
        self._changing = seen.changing
        self._again = list(seen.again)
        if "plan" in fleet.rollout.approve:
            if fleet.preview is None:
                self._begin_planning()
            self._lay_out()

    @workflow.run
    async def run(self, fleet: FleetSpec) -> FleetReport:
        """Fails if more hosts failed than may, it was aborted, or nobody approved in time; what was
        done stays done."""
        return await self.roll_out()

    async def go_over(self) -> None:
        """The waves; with `approve: plan` as often as hosts are left that had changed."""
        if "plan" not in self._fleet.rollout.approve:
            await super().go_over()
            return
        while True:
            if self._state.planning:
                await self._plan()
            if self._over():
                return
            await super().go_over()
            if self._over() or not self._again:
                return
            self._order, self._again = sorted(self._again), []
            self._state = self._state.without("outdated")
            self._begin_planning()

    @workflow.query
    def plans(self) -> tuple[str, ...]:
        """Beginnings of the digests of the plans that wait for approval, in the order of the hosts;
        `whole` of them is what is approved."""
        waiting = self._state.waiting
        return tuple(self._plans) if waiting is not None and waiting.at == "plan" else ()

    def _begin_planning(self) -> None:
        self._plans, self._changing = [""] * len(self._order), 0
        self._note(planning=True)
        self._lay_out()

    async def _plan(self) -> None:
        """Plans the hosts of this round, and waits until somebody has approved their plans."""
        await self.wave(len(self._order))
        if self._over():
            return
        planned = [(at, plan) for at, plan in zip(self._order, self._plans, strict=True) if plan]
        self._order = [at for at, _ in planned]
        self._plans = [plan for _, plan in planned]
        self._note(planning=False, next=0)
        self._lay_out()
        if self._changing:
            hosts = len(self._order)
            waiting = Waiting(
                at="plan", plan=whole(self._plans), hosts=hosts, changing=self._changing
            )
            await self.approved(waiting)
        elif not self._spec.answers:
            # Just now each was as declared: there is nothing to approve, and nothing to do.
            hosts = len(self._order)
            counts = {**self._state.counts}
            counts["unchanged"] = counts.get("unchanged", 0) + hosts
            self._note(counts=counts, next=hosts)

    def _lay_out(self) -> None:
        hosts = len(self._order)
        self._waves = [(0, hosts)] if self._state.planning else self._fleet.rollout.waves(hosts)

    def members(self, stop: int) -> Iterator[Member]:
        """Those that come next, each with the plan that was approved for it."""
        start = self._state.next
        found = self._fleet.picked(self._order[start:stop])
        if self._state.planning or not self._plans:
            return found
        plans = self._plans[start:stop]
        return (
            member.model_copy(update={"approved": plan})
            for member, plan in zip(found, plans, strict=True)
        )

    async def one(self, member: Member) -> HostOutcome:
        """Plans one of them, or brings it there."""
        shape = self._shapes[member.variant]
        if self._state.planning:
            plan: MemberPlan = await workflow.execute_activity("plan_member", args=[shape, member])
            if plan.planned is None:
                return HostOutcome(host=plan.host, ending="failed", because=plan.because)
            ending: Ending = "unchanged" if plan.planned.empty else "changed"
            digest = plan.planned.digest[:DIGITS]
            return HostOutcome(host=plan.host, ending=ending, plan=digest)
        outcome: HostOutcome = await workflow.execute_activity(
            "converge_member",
            args=[shape, member],
            # A cancelled run has ended only when nothing of it goes on at the hosts.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return outcome

    def took(self, position: int, outcome: HostOutcome) -> None:
        """See base class. What was only planned has not ended yet."""
        if outcome.plan:
            self._plans[position] = outcome.plan
            self._changing += outcome.ending == "changed"
            return
        if outcome.ending == "outdated":
            self._again.append(self._order[position])
        super().took(position, outcome)

    def going_on(self) -> FleetSpec:
        """See base class."""
        planned = "plan" in self._spec.rollout.approve
        fleet = self._spec.going_on(self._state, whole=planned)
        if not planned:
            return fleet
        all_of_them = isinstance(self._order, range)
        preview = Preview(
            places=None if all_of_them else tuple(self._order),
            plans=tuple(self._plans),
            changing=self._changing,
            again=tuple(self._again),
        )
        return fleet.model_copy(update={"preview": preview})
