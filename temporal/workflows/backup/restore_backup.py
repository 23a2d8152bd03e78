"""RestoreBackup: restores a source of one host."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from temporal.shared.specs.backup.proofs import Chosen
from temporal.shared.specs.backup.restoring import Restored, RestoreSpec


@workflow.defn
class RestoreBackup:
    """Restores files or a database into a new place, or over the live one when told twice, and proves
    that it is what was backed up."""

    @workflow.run
    async def run(self, spec: RestoreSpec) -> Restored:
        """Fails if it could not be restored, or is not what was backed up. Which snapshot is chosen
        stands in the history before anything is done, and is the same however often that is tried."""
        chosen: Chosen = await workflow.execute_activity("find_snapshot", spec)
        result: Restored = await workflow.execute_activity(
            "restore_on_host",
            args=[spec, chosen],
            # A cancelled run has ended only when nothing of it goes on at the host.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        if not result.ok:
            raise ApplicationError(
                result.render(), result, type="RestoreFailed", non_retryable=True
            )
        return result
