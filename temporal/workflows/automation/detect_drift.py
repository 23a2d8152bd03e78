"""DetectDrift: which servers of a fleet are not as declared any more."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError, is_cancelled_exception

from temporal.shared.specs.automation.drift import (
    Drifted,
    DriftOutcome,
    DriftReport,
    DriftSpec,
    DriftState,
    Repaired,
    added,
)
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.notices import Occasion
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.workflows.automation.rolling import Rolling
from temporal.workflows.automation.telling import tell


@workflow.defn
class DetectDrift(Rolling):
    """Says which servers of a fleet are not as declared; tells of a change; repairs within limits."""

    looks_back = True  # for the repair

    @workflow.init
    def __init__(self, fleet: DriftSpec) -> None:
        super().__init__(fleet)
        self._drift = fleet
        self._shapes = fleet.shapes
        # To look at all of them changes nothing, so nothing is learned by going in steps.
        self._waves = [(0, fleet.total)]
        if not fleet.state.next:
            self._remember()

    @workflow.run
    async def run(self, fleet: DriftSpec) -> DriftReport:
        """Drift is no failure, nor is a host that is not reached; an abort is."""
        await self.roll_out()
        found = self._found()
        report = await self._repaired(found) if found.drifted and fleet.repair else found
        return await self._told(found.digest, report)

    async def one(self, member: Member) -> HostOutcome:
        """Looks at one of them."""
        outcome = await self._look(member)
        if outcome.drift is not None:
            self._state = self._seen.with_drift(outcome, self._drift.repair)
        return HostOutcome(host=outcome.host, ending=outcome.ending)

    async def _look(self, member: Member) -> DriftOutcome:
        found: DriftOutcome = await workflow.execute_activity(
            "detect_drift_on", args=[self._shapes[member.variant], member]
        )
        return found

    @property
    def _seen(self) -> DriftState:
        assert isinstance(self._state, DriftState)
        return self._state

    def _allowed(self) -> int:
        return self._fleet.total

    async def _check_health(self, number: int) -> None:
        """What must be healthy after a wave is asked after those of the repair."""

    async def _say(self, occasion: Occasion, what: str, body: str) -> None:
        """That it ended well is no news; that it failed is."""
        if occasion not in ("finished", "recovered"):
            await super()._say(occasion, what, body)

    def _remember(self) -> None:
        """What the run before this one found: the server hands on its result on a schedule."""
        try:
            last = DriftReport.model_validate(workflow.get_last_completion_result())
        except ValidationError:
            return  # there is none, or it is of something else that was on this schedule
        self._note(before=last.left, told=last.told)

    def _found(self) -> DriftReport:
        state = self._seen
        for each in state.before:
            if any(failure.host == each.host for failure in state.failures):
                state = state.with_unseen(each.host)
        return DriftReport(
            total=self._fleet.total,
            same=state.counts.get("unchanged", 0),
            drifted=state.counts.get("drifted", 0),
            unreached=state.failed,
            hosts=state.hosts,
            failures=state.failures,
            digest=state.sum,
            told=state.told,
        )

    async def _repaired(self, found: DriftReport) -> DriftReport:
        """Repairs what may be, by a run of ProvisionFleet over just those hosts."""
        repair, may = self._drift.repair, self._seen.may
        assert repair is not None
        most = repair.most(found.total)
        if found.drifted > most:
            over = f"{found.drifted} hosts differ, and {most} may be repaired without being asked"
            return found.model_copy(update={"repair": Repaired(because=over)})
        barred = found.drifted - len(may)
        because = f"{barred} differ in more than what may be repaired" if barred else ""
        if not may:
            return found.model_copy(update={"repair": Repaired(because=because)})
        spec = self._drift.repairing({host: plan for host, (_, plan) in may.items()})
        run = f"{workflow.info().workflow_id}-repair-{workflow.info().run_id[:8]}"
        self._past = (
            f"the hosts have been looked at; to run {run}, which repairs them, it can be said"
        )
        why = await _provision(spec, run)
        now = await self._again(list(spec.members(0, spec.total)))
        digest = found.digest
        for host, each in now.items():
            digest = added(digest, host, may[host][0], -1)
            digest = added(digest, host, each.digest) if each.now != "repaired" else digest
        done = sum(each.now == "repaired" for each in now.values())
        return found.model_copy(
            update={
                "digest": digest,
                "hosts": tuple(_since(each, now.get(each.host)) for each in found.hosts),
                "repair": Repaired(
                    hosts=done, because="; ".join(filter(None, [because, why])), run=run
                ),
            }
        )

    async def _again(self, members: list[Member]) -> dict[str, Drifted]:
        """What hosts are like after the repair, whatever that says of itself. One that cannot be
        looked at any more is left out: it is as it was found, as far as anybody knows."""
        room = asyncio.Semaphore(self._fleet.rollout.parallel)
        now: dict[str, Drifted] = {}

        async def look(member: Member) -> None:
            name = member.host.name
            async with room:
                try:
                    drift = (await self._look(member)).drift
                except ActivityError as error:
                    if is_cancelled_exception(error):
                        raise
                    return
            now[name] = drift or Drifted(host=name, digest="", now="repaired")

        await asyncio.gather(*(look(member) for member in members))
        return now

    async def _told(self, found: str, report: DriftReport) -> DriftReport:
        """Tells of it, if it is not what people know already."""
        notify = self._drift.notify
        if notify is None or (found == report.told and report.digest == report.told):
            return report
        occasion: Occasion
        if report.digest:
            occasion, what = "failed", "found drift"
        elif found:
            occasion, what = "recovered", "found drift and repaired it"
        else:
            occasion, what = "recovered", "finds no drift any more"
        untold = await tell(notify, occasion, f"{what}: {report.summary}", report.render())
        # Nobody heard it: the next run is to try again.
        heard = len(untold) < len(notify.targets)
        wanted = occasion in notify.on
        return report.model_copy(
            update={
                "told": report.digest if heard else report.told,
                "notified": heard and wanted,
                "untold": untold,
            }
        )


async def _provision(spec: FleetSpec, run: str) -> str:
    """Why the repair did not get to a good end; nothing if it did."""
    info = workflow.info()
    try:
        await workflow.execute_child_workflow(
            "ProvisionFleet",
            spec,
            id=run,
            search_attributes=info.typed_search_attributes,
            memo={"started_by": info.workflow_id},
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        )
    except ChildWorkflowError as error:
        if is_cancelled_exception(error):
            raise
        return str(error.cause or error).partition("\n")[0]
    return ""


def _since(before: Drifted, after: Drifted | None) -> Drifted:
    """A host with drift after the repair; one that is as declared still says what was repaired."""
    if after is not None and after.now == "repaired":
        return before.model_copy(update={"now": "repaired"})
    return after or before
