"""Telling people about a run, from within it."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from temporal.shared.specs.automation.notices import Notified, Notify, Occasion


async def tell(notify: Notify | None, occasion: Occasion, what: str, body: str) -> tuple[str, ...]:
    """Tells those who want to hear of it; who was not told, and why. Never fails the run for it.

    Args:
        what: goes on after the workflow's name, as in `failed: 2 hosts`.
        body: more of it; how to look at the run is added.
    """
    info = workflow.info()
    title = f"{info.workflow_type} {what}"
    look = f"run {info.workflow_id}: temporal-ops runs show {info.workflow_id}"
    notice = notify.notice(occasion, title, f"{body}\n\n{look}") if notify else None
    if notice is None:
        return ()
    try:
        told: Notified = await workflow.execute_activity("notify", notice)
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return tuple(f"{target}: {error.cause or error}" for target in notice.targets)
    return told.failed


def ended_well(notify: Notify | None, recovering: bool) -> Occasion:
    """What a good end is to them: nobody is told twice."""
    wanted = notify is not None and "recovered" in notify.on
    return "recovered" if recovering and wanted else "finished"


def recovering() -> bool:
    """Whether the run before this one failed, as far as the server tells: of the same schedule."""
    return workflow.get_last_failure() is not None
