"""The smallest workflow: proves that server, worker and wiring work."""

from temporalio import workflow


@workflow.defn
class TestWorkflow:
    """Greets `name` through one activity."""

    __test__ = False  # its name makes pytest take it for a test class

    @workflow.run
    async def run(self, name: str) -> str:
        greeting: str = await workflow.execute_activity("test_activity", name)
        return greeting
