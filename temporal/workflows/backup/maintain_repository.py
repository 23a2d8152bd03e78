"""MaintainRepository: forgets what need not be kept, reclaims its room, and checks what is there."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from temporal.shared.specs.automation.fleet import Fleet, Member
from temporal.shared.specs.automation.outcome import FleetReport, HostOutcome
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.maintaining import MaintainChoice, Maintained
from temporal.workflows.automation.rolling import Rolling

CANDIDATES = 10
"""Hosts that are asked to maintain a shared repository, until one has answered."""


@workflow.defn
class MaintainRepository(Rolling):
    """Forgets snapshots by the rules of `keep`, prunes, and checks, in this order, as far as
    `maintain.steps` say.

    A repository that all hosts share is maintained by the first of them that answers; one of its own
    each host maintains itself.
    """

    all_of_them = True

    @workflow.init
    def __init__(self, spec: BackupSpec) -> None:
        self._each = spec.each
        self._shared = spec.repository.shared
        super().__init__(_as_one(spec) if self._shared else spec)
        self._candidates = list(spec.members(0, min(spec.total, CANDIDATES)))
        self._names = tuple(each.host.name for each in spec.members(0, spec.total))

    @workflow.run
    async def run(self, spec: BackupSpec) -> FleetReport:
        """Fails if a step failed, was refused, or found damage. Which snapshots would go, and why some
        stay, is in the results of choose_maintenance; what was done in those of maintain_on_host."""
        return await self.roll_out()

    async def one(self, member: Member) -> HostOutcome:
        """Maintains the repository of one of them, or the one that all share."""
        if not self._shared:
            return await self._maintain(member, await self._choose(member))
        for each in self._candidates[:-1]:
            try:
                choice = await self._choose(each)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                continue
            if not choice.because:
                return await self._maintain(each, choice)
        last = self._candidates[-1]
        return await self._maintain(last, await self._choose(last))

    async def _choose(self, member: Member) -> MaintainChoice:
        hosts = self._names if self._shared else (member.host.name,)
        choice: MaintainChoice = await workflow.execute_activity(
            "choose_maintenance", args=[self._each, member, hosts]
        )
        return choice

    async def _maintain(self, member: Member, choice: MaintainChoice) -> HostOutcome:
        """Does just what was chosen, which stands in the history by now."""
        if choice.because or self._each.maintain.dry_run:
            return choice.would
        result: Maintained = await workflow.execute_activity(
            "maintain_on_host",
            args=[self._each, member, choice],
            # A cancelled run has ended only when restic has, and its lock is gone.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return result.outcome(choice)


def _as_one(spec: BackupSpec) -> BackupSpec:
    """The same with one host, which stands for the one that does it."""
    first = [each.model_dump(exclude_defaults=True) for each in spec.members(0, 1)]
    made = Fleet.model_validate(Fleet.of({}, first))
    return spec.model_copy(update={"pages": made.pages, "total": made.total})
