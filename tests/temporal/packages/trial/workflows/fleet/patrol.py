"""A workflow in a domain: calls an activity of its domain and one of none."""

from temporalio import workflow


@workflow.defn
class Patrol:
    """The queue on which each of its activities ran, its own first."""

    @workflow.run
    async def run(self, missing: str = "") -> list[str]:
        if missing:
            return [str(await workflow.execute_activity(missing))]
        here = workflow.info().task_queue
        near = await workflow.execute_activity("fleet_queue")
        far = await workflow.execute_activity("plain_queue")
        return [here, near, far]
