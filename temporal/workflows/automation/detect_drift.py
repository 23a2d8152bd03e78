"""DetectDrift: which servers of a fleet are not as declared any more."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError, ChildWorkflowError, is_cancelled_exception

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
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.workflows.automation.rolling import Rolling
from temporal.workflows.automation.telling import tell


@workflow.defn
class DetectDrift(Rolling):
    """Says which servers of a fleet are not as declared; tells of a change; repairs within limits."""

    @workflow.init
    def __init__(self, fleet: DriftSpec) -> None:
        super().__init__(fleet)
        self._drift = fleet
        self._shape = fleet.shape
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
        outcome: DriftOutcome = await workflow.execute_activity(
            "detect_drift_on", args=[self._shape, member]
        )
        drift = outcome.drift
        if drift is not None:
            self._state = self._seen.with_drift(drift, self._drift.repair, outcome.changed)
        return HostOutcome(host=outcome.host, ending=outcome.ending)

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
        self._state = self._seen.model_copy(update={"before": last.left, "told": last.told})

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
            return found.model_copy(update={"repair": Repaired(because=f"nothing: {over}")})
        barred = found.drifted - len(may)
        because = f"{barred} differ in more than what may be repaired" if barred else ""
        if not may:
            return found.model_copy(update={"repair": Repaired(because=because)})
        spec = self._drift.repairing(may)
        run = f"{workflow.info().workflow_id}-repair-{workflow.info().run_id[:8]}"
        report, why = await _provision(spec, run)
        done = _as_declared(report, [each.host.name for each in spec.members(0, spec.total)])
        digest = found.digest
        for host in done:
            digest = added(digest, host, may[host], -1)
        return found.model_copy(
            update={
                "digest": digest,
                "hosts": tuple(_now(each, done) for each in found.hosts),
                "repair": Repaired(
                    hosts=len(done), because="; ".join(filter(None, [because, why])), run=run
                ),
            }
        )

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


async def _provision(spec: object, run: str) -> tuple[FleetReport | None, str]:
    """What came of the hosts, and why it went no further if it did not."""
    info = workflow.info()
    try:
        report: FleetReport = await workflow.execute_child_workflow(
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
        cause = error.cause
        why = str(cause or error).partition("\n")[0]
        if isinstance(cause, ApplicationError) and cause.details:
            return FleetReport.model_validate(cause.details[0]), why
        return None, why
    return report, ""


def _as_declared(report: FleetReport | None, names: list[str]) -> list[str]:
    """The hosts that were seen as declared afterwards. A report names a hundred failures: where
    there are more, it is unknown which did not fail, and none is said to be repaired."""
    if report is None or report.state.failed > len(report.state.failures):
        return []
    failed = {each.host for each in report.state.failures}
    return [name for name in names[: report.state.next] if name not in failed]


def _now(host: Drifted, done: list[str]) -> Drifted:
    return host.model_copy(update={"now": "repaired"}) if host.host in done else host
