"""Going over the hosts of a fleet in waves: what all fleet workflows have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal.shared.specs.automation import rollout
from temporal.shared.specs.automation.fleet import Fleet, Member
from temporal.shared.specs.automation.health import CheckHealth, Health
from temporal.shared.specs.automation.outcome import (
    FleetProgress,
    FleetReport,
    HostOutcome,
    Waiting,
    whole,
)
from temporal.workflows.automation.talking import Talking
from temporal.workflows.automation.telling import ended_well, recovering


class Rolling(Talking):
    """A workflow that goes over a fleet: a canary, then wave by wave.

    A subclass says in `one` what is done to a host, and calls `roll_out`. It can be paused, resumed,
    aborted and asked how far it is; it goes on as new before its history gets too long.
    """

    looks_back: ClassVar[bool] = False
    """Whether it needs members again after their turn."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        if recovering():  # the server says so to the first run only, not to its continuations
            self._note(recovering=True)
        self._waves = fleet.rollout.waves(fleet.total)
        self._running: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._begun = 0

    async def one(self, member: Member) -> HostOutcome:
        """What is done to a host, in one activity. That it cannot be done there is an outcome; an
        activity that fails is one as well: the host was not reached."""
        raise NotImplementedError

    async def roll_out(self) -> FleetReport:
        """Goes over all hosts. Fails if more failed than may, a health check after a wave did, or
        it was aborted; what was done stays done."""
        try:
            await self.go_over()
        except asyncio.CancelledError:
            ending = [task for _, task in self._running.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            raise
        self._past = "it is at its end: no further host begins"
        if self._over() or self._state.failed > self._allowed():
            await self._say("failed", f"failed: {self._why()}", self._report().render())
            report = self._report()
            raise ApplicationError(
                f"{self._why()}; {report.render()}", report, type="FleetFailed", non_retryable=True
            )
        lost = self._fleet.total - self._state.done
        if lost > 0:  # a mistake of ours must not pass for a fleet that is as declared
            raise ApplicationError(
                f"nothing is known of {lost} of {self._fleet.total} hosts, though all have had their"
                f" turn; {self._report().render()}",
                type="FleetFailed",
                non_retryable=True,
            )
        incomplete = self._state.counts.get("incomplete")
        occasion = (
            "failed" if incomplete else ended_well(self._fleet.notify, self._state.recovering)
        )
        what = f"{'incomplete' if incomplete else occasion}: {self._report().summary}"
        await self._say(occasion, what, self._report().render())
        return self._report()

    def members(self, stop: int) -> Iterator[Member]:
        """Those that come next, up to `stop`."""
        return self._fleet.members(self._state.next, stop)

    def took(self, position: int, outcome: HostOutcome) -> None:
        """Notes what came of a member; `position` is its place in the order of the waves."""
        self._state = self._state.with_outcome(outcome)

    def going_on(self) -> Fleet:
        """The input of the run that goes on from this one."""
        return self._fleet.going_on(self._state, whole=self.looks_back)

    def _report(self) -> FleetReport:
        return FleetReport(total=self._fleet.total, state=self._state)

    async def go_over(self) -> None:
        """Goes over all waves; ends early when it is over."""
        fleet = self._fleet
        for number, (start, stop) in enumerate(self._waves):
            if self._state.next >= stop:
                continue
            if number and self._state.next == start:
                await self._canary_approved()
                if fleet.rollout.pause:
                    await self._rest(fleet.rollout.pause)
            await self.wave(stop)
            if not self._over():
                await self._check_health(number)
            if self._over():
                break

    async def wave(self, stop: int) -> None:
        """Begins the members up to `stop`, and ends when all of them have ended: the next wave
        begins when this one has shown what it does."""
        for member in self.members(stop):
            await self._may_begin()
            if self._over():
                break
            if self._long():
                await self._go_on_as_new()
            self._begin(member)
        await workflow.wait_condition(lambda: not self._running)

    async def _canary_approved(self) -> None:
        if "canary" not in self._fleet.rollout.approve or self._over():
            return
        if any(approval.at == "canary" for approval in self._state.approvals):
            return
        seen = [outcome.model_dump_json() for outcome in self._state.failures]
        parts = [str(self._state.next), str(sorted(self._state.counts.items())), *seen]
        left = self._waves[-1][1] - self._state.next
        waiting = Waiting(at="canary", plan=whole(parts), hosts=left)
        await self.approved(waiting, self._report().render())

    async def _check_health(self, number: int) -> None:
        """Notes what is unhealthy after a wave. It is not waited for any more once aborted."""
        if not self._fleet.rollout.checks:
            return
        wanted = CheckHealth(checks=self._fleet.rollout.checks)
        asking = workflow.start_activity("check_health", wanted)
        try:
            await workflow.wait_condition(lambda: asking.done() or self._over())
            if not asking.done():
                return
            health: Health = await asking
            problem = health.problem
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            problem = f"the checks did not get to their end: {error.cause or error}"
        finally:
            asking.cancel()
        if problem:
            after = f"unhealthy after wave {number + 1} of {len(self._waves)}: {problem}"
            self._note(unhealthy=after)

    @workflow.query
    def progress(self) -> FleetProgress:
        """How far it is."""
        wave = sum(1 for start, _ in self._waves if start < max(1, self._state.next))
        return FleetProgress(
            total=self._fleet.total,
            state=self._state,
            running=tuple(name for name, _ in self._running.values()),
            wave=wave,
            waves=len(self._waves),
        )

    async def _may_begin(self) -> None:
        """Waits for room, and while it is paused."""
        most = self._fleet.rollout.parallel
        await workflow.wait_condition(
            lambda: self._over() or (not self._state.paused and len(self._running) < most)
        )

    def _long(self) -> bool:
        """Whether the history is long enough: by our count, or by the server's, which knows what
        else is in it. A run that began nothing gets no shorter by going on."""
        suggested = workflow.info().is_continue_as_new_suggested()
        return self._begun >= rollout.BEGUN_IN_A_RUN or (self._begun > 0 and suggested)

    def _begin(self, member: Member) -> None:
        position = self._state.next
        self._begun += 1
        self._note(next=position + 1)
        task = asyncio.create_task(self._outcome(position, member))
        self._running[position] = member.host.name, task

    async def _outcome(self, position: int, member: Member) -> None:
        try:
            outcome = await self.one(member)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            cause = error.cause or error
            # Not str(): before its own words that has the name of the failure's type.
            because = cause.message if isinstance(cause, ApplicationError) else str(cause)
            outcome = HostOutcome(host=member.host.name, ending="unreachable", because=because)
        finally:
            self._running.pop(position, None)
        self.took(position, outcome)

    async def _go_on_as_new(self) -> None:
        await workflow.wait_condition(
            lambda: not self._running and workflow.all_handlers_finished()
        )
        workflow.continue_as_new(self.going_on())
