"""ProvisionServer: brings one server to its declared state and looks at what it answers."""

from temporalio import workflow

from converge.reports import Report
from temporal.shared.specs.automation import (
    Answered,
    CheckAnswers,
    ConvergeHost,
    Provisioned,
    ServerSpec,
)


@workflow.defn
class ProvisionServer:
    """Brings one server to its declared state and looks at what it answers."""

    @workflow.run
    async def run(self, spec: ServerSpec) -> Provisioned:
        """Fails if a resource is not as wanted afterwards, or an answer does not come."""
        report: Report = await workflow.execute_activity(
            "converge_host",
            ConvergeHost.of(spec),
            # A cancelled run has ended only when nothing of it goes on at the host.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        answers: tuple[Answered, ...] = ()
        if spec.answers:
            answers = await workflow.execute_activity(
                "check_answers", CheckAnswers(host=spec.host, answers=spec.answers)
            )
        return Provisioned(report=report, answers=answers)
