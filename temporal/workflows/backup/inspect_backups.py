"""InspectBackups: says what is protected, and speaks when something is not, though no backup ran."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal.shared.specs.automation.notices import Occasion
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.status import (
    BackupStatus,
    Look,
    Looked,
    RepositoryStatus,
    Row,
    looks,
    status_of,
)
from temporal.workflows.automation.telling import tell

FAILURE = "NotProtected"
PUBLISHED = 3000
"""Rows that the worker's metrics have at most, the worst ones."""
AT_A_TIME = 4


@workflow.defn
class InspectBackups:
    """Says of each source of each host whether it is protected, from what is in the repositories.

    Run by a schedule it is the dead man's switch of backups: it fails, and tells those who want to
    hear of it, when something is missing, overdue, wrong or unproved for too long, when a repository
    is damaged or locked by the dead, and when it cannot be looked at. Of the same again nobody is told;
    when it is well again, they are.
    """

    @workflow.init
    def __init__(self, spec: BackupSpec) -> None:
        self._spec = spec
        self._plan = spec.each
        self._told = _told_before()

    @workflow.run
    async def run(self, spec: BackupSpec) -> BackupStatus:
        """How backups are. Fails if that is worse than was promised, with the same in its details."""
        rows, repositories = await self._look()
        status = status_of(self._plan, rows, repositories, workflow.now())
        await self._publish(status, rows)
        status = await self._tell(status)
        if status.digest:
            raise ApplicationError(status.render(), status, type=FAILURE, non_retryable=True)
        return status

    async def _look(self) -> tuple[list[Row], list[RepositoryStatus]]:
        room = asyncio.Semaphore(AT_A_TIME)

        async def look(asked: Look) -> Looked:
            async with room:
                found: Looked = await workflow.execute_activity("look_at_backups", asked)
                return found

        found = await asyncio.gather(*(look(each) for each in looks(self._spec)))
        places = {each.name: each for one in found for each in one.repositories}
        return [row for one in found for row in one.rows], list(places.values())

    async def _publish(self, status: BackupStatus, rows: list[Row]) -> None:
        """That nobody can be told by metrics must not keep people from being told."""
        worst = [*status.rows, *rows] if len(rows) > PUBLISHED else rows
        bare = {row.name: row.model_copy(update={"because": ""}) for row in worst}
        unique = tuple(bare.values())[:PUBLISHED]
        short = status.model_copy(update={"rows": ()})
        try:
            await workflow.execute_activity("publish_status", args=[short, unique])
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("the worker's metrics do not have it: %s", error.cause or error)

    async def _tell(self, status: BackupStatus) -> BackupStatus:
        """Tells of it, if it is not what people know already."""
        notify = self._spec.notify
        if notify is None or status.digest == self._told:
            return status.model_copy(update={"told": self._told})
        occasion: Occasion = "failed" if status.digest else "recovered"
        what = "failed" if status.digest else "finds all well again"
        untold = await tell(notify, occasion, f"{what}: {status.summary}", status.render())
        heard = len(untold) < len(notify.targets)
        return status.model_copy(
            update={"told": status.digest if heard else self._told, "untold": untold}
        )


def _told_before() -> str:
    """What people know of: the run before this one on the same schedule says so, in its result or, if it
    failed, in its failure."""
    last = workflow.get_last_failure()
    details = last.details if isinstance(last, ApplicationError) else ()
    value = details[0] if details else workflow.get_last_completion_result()
    try:
        return BackupStatus.model_validate(value).told
    except ValidationError:
        return ""  # there is none, or it is of something else that was on this schedule
