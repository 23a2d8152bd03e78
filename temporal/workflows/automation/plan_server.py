"""PlanServer: what would change on one server."""

from temporalio import workflow

from temporal.shared.specs.automation import ConvergeHost, Planned, ServerSpec


@workflow.defn
class PlanServer:
    """Says what would change on one server, and changes nothing."""

    @workflow.run
    async def run(self, spec: ServerSpec) -> Planned:
        """Fails if the server cannot be looked at."""
        planned: Planned = await workflow.execute_activity("plan_host", ConvergeHost.of(spec))
        return planned
