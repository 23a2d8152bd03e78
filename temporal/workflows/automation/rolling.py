"""Going over the hosts of a fleet in waves: what all fleet workflows have in common."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal.shared.specs.automation.fleet import Fleet, Member
from temporal.shared.specs.automation.health import CheckHealth, Health
from temporal.shared.specs.automation.notices import Occasion
from temporal.shared.specs.automation.outcome import FleetProgress, FleetReport, HostOutcome
from temporal.shared.specs.automation.rollout import Word, share_of
from temporal.workflows.automation.telling import ended_well, recovering, tell

BEGUN_IN_A_RUN = 1000
"""Hosts begun before the run goes on as new: about 6,000 events of the 51,200 that end a run."""


class Rolling:
    """A workflow that goes over a fleet: a canary, then wave by wave.

    A subclass says in `one` what is done to a host, and calls `roll_out`. It can be paused, resumed,
    aborted and asked how far it is; it goes on as new before its history gets too long.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._state = fleet.state
        if recovering():  # the server says so to the first run only, not to its continuations
            self._state = self._state.model_copy(update={"recovering": True})
        self._waves = fleet.rollout.waves(fleet.total)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._begun = 0

    async def one(self, member: Member) -> HostOutcome:
        """What is done to a host, in one activity. That it cannot be done there is an outcome; an
        activity that fails is one as well: the host was not reached."""
        raise NotImplementedError

    async def roll_out(self) -> FleetReport:
        """Goes over all hosts. Fails if more failed than may, a health check after a wave did, or
        it was aborted; what was done stays done."""
        try:
            await self._all_waves()
        except asyncio.CancelledError:
            ending = list(self._running.values())
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            raise
        if self._over():
            await self._say("failed", f"failed: {self._why()}", self._report().render())
            report = self._report()
            raise ApplicationError(
                f"{self._why()}; {report.render()}", report, type="FleetFailed", non_retryable=True
            )
        occasion = ended_well(self._fleet.notify, self._state.recovering)
        await self._say(occasion, f"{occasion}: {self._report().summary}", self._report().render())
        return self._report()

    def _report(self) -> FleetReport:
        return FleetReport(total=self._fleet.total, state=self._state)

    async def say_waiting(self, what: str, body: str = "") -> None:
        """Tells that it waits for somebody: `what` for, in a few words."""
        await self._say("waiting", f"waits: {what}", body)

    async def _say(self, occasion: Occasion, what: str, body: str) -> None:
        """Tells those who want to hear of it; without `notify` it does nothing at all."""
        untold = await tell(self._fleet.notify, occasion, what, body)
        if untold:
            known = (*self._state.untold, *untold)[-10:]
            self._state = self._state.model_copy(update={"untold": known})

    async def _all_waves(self) -> None:
        fleet = self._fleet
        for number, (start, stop) in enumerate(self._waves):
            if self._state.next >= stop:
                continue
            if number and self._state.next == start and fleet.rollout.pause:
                await self._rest(fleet.rollout.pause)
            for member in fleet.members(self._state.next, stop):
                await self._may_begin()
                if self._over():
                    break
                if self._long():
                    await self._go_on_as_new()
                self._begin(member)
            # The next wave begins when this one has shown what it does.
            await workflow.wait_condition(lambda: not self._running)
            if not self._over():
                await self._check_health(number)
            if self._over():
                break

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
            self._state = self._state.model_copy(update={"unhealthy": after})

    @workflow.query
    def progress(self) -> FleetProgress:
        """How far it is."""
        wave = sum(1 for start, _ in self._waves if start < max(1, self._state.next))
        return FleetProgress(
            total=self._fleet.total,
            state=self._state,
            running=tuple(self._running),
            wave=wave,
            waves=len(self._waves),
        )

    @workflow.update
    def pause(self, word: Word) -> None:
        """Begin no further host until it is resumed; what has begun goes on to its end."""
        self._note("pause", word, paused=str(word))

    @pause.validator
    def _may_pause(self, word: Word) -> None:
        if self._state.paused:
            raise ValueError(f"it is paused already, by {self._state.paused}")

    @workflow.update
    def resume(self, word: Word) -> None:
        """Go on."""
        self._note("resume", word, paused="")

    @resume.validator
    def _may_resume(self, word: Word) -> None:
        if not self._state.paused:
            raise ValueError("it is not paused")

    @workflow.update
    def abort(self, word: Word) -> None:
        """Begin no further host and end as failed; what has begun goes on to its end."""
        self._note("abort", word, aborted=str(word))

    @abort.validator
    def _may_abort(self, word: Word) -> None:
        if self._state.aborted:
            raise ValueError(f"it is aborted already, by {self._state.aborted}")

    def _note(self, what: str, word: Word, **change: str) -> None:
        asked = (*self._state.asked, f"{what} by {word}")
        self._state = self._state.model_copy(update={"asked": asked[-100:], **change})

    async def _may_begin(self) -> None:
        """Waits for room, and while it is paused."""
        most = self._fleet.rollout.parallel
        await workflow.wait_condition(
            lambda: self._over() or (not self._state.paused and len(self._running) < most)
        )

    async def _rest(self, seconds: float) -> None:
        """Waits after a wave, unless it is over meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self._over, timeout=timedelta(seconds=seconds))

    def _allowed(self) -> int:
        return share_of(self._fleet.rollout.max_failures, self._fleet.total)

    def _over(self) -> bool:
        """Whether nothing new may begin any more."""
        stopped = bool(self._state.aborted or self._state.unhealthy)
        return stopped or self._state.failed > self._allowed()

    def _long(self) -> bool:
        """Whether the history is long enough: by our count, or by the server's, which knows what
        else is in it. A run that began nothing gets no shorter by going on."""
        suggested = workflow.info().is_continue_as_new_suggested()
        return self._begun >= BEGUN_IN_A_RUN or (self._begun > 0 and suggested)

    def _why(self) -> str:
        if self._state.aborted:
            return f"aborted by {self._state.aborted}"
        if self._state.unhealthy:
            return f"stopped: {self._state.unhealthy}"
        return f"stopped: {self._state.failed} hosts failed, {self._allowed()} may"

    def _begin(self, member: Member) -> None:
        self._begun += 1
        self._state = self._state.model_copy(update={"next": self._state.next + 1})
        self._running[member.host.name] = asyncio.create_task(self._outcome(member))

    async def _outcome(self, member: Member) -> None:
        name = member.host.name
        try:
            outcome = await self.one(member)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            because = str(error.cause or error)
            outcome = HostOutcome(host=name, ending="unreachable", because=because)
        finally:
            self._running.pop(name, None)
        self._state = self._state.with_outcome(outcome)

    async def _go_on_as_new(self) -> None:
        await workflow.wait_condition(
            lambda: not self._running and workflow.all_handlers_finished()
        )
        workflow.continue_as_new(self._fleet.going_on(self._state))
