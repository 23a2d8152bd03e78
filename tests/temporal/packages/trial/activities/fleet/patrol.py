"""The activity of the domain `fleet`."""

from temporalio import activity


@activity.defn
async def fleet_queue() -> str:
    """The queue that this ran on."""
    return activity.info().task_queue
