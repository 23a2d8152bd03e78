"""What the run of a fleet is told by people while it goes on, and what it tells them."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any, ClassVar

from temporalio import workflow

from temporal.shared.specs.automation.fleet import Fleet
from temporal.shared.specs.automation.notices import Occasion
from temporal.shared.specs.automation.outcome import Approval, Waiting
from temporal.shared.specs.automation.rollout import Approve, Word, share_of
from temporal.workflows.automation.cancelled import stop_if_cancelled
from temporal.workflows.automation.telling import tell


class Talking:
    """A workflow on a fleet that can be paused, resumed, aborted, and told that somebody approves.

    Each is an update with the name of who did it; what cannot be now is refused. Once `_past` says
    why, nothing can be: what is accepted and has no effect would pass for done.
    """

    all_of_them: ClassVar[bool] = False
    """Whether all hosts are tried, however many fail."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._state = fleet.state
        self._past = ""

    @workflow.update
    def pause(self, word: Word) -> None:
        """Begin no further host until it is resumed; what has begun goes on to its end."""
        self._heard("pause", word, paused=str(word))

    @pause.validator
    def _may_pause(self, word: Word) -> None:
        self._may_be_told()
        if self._state.paused:
            raise ValueError(f"it is paused already, by {self._state.paused}")

    @workflow.update
    def resume(self, word: Word) -> None:
        """Go on."""
        self._heard("resume", word, paused="")

    @resume.validator
    def _may_resume(self, word: Word) -> None:
        self._may_be_told()
        if not self._state.paused:
            raise ValueError("it is not paused")

    @workflow.update
    def abort(self, word: Word) -> None:
        """Begin no further host and end as failed; what has begun goes on to its end."""
        self._heard("abort", word, aborted=str(word))

    @abort.validator
    def _may_abort(self, word: Word) -> None:
        self._may_be_told()
        if self._state.aborted:
            raise ValueError(f"it is aborted already, by {self._state.aborted}")

    @workflow.update
    def approve(self, word: Approve) -> None:
        """Go on with what waits for approval."""
        waiting = self._state.waiting
        assert waiting is not None  # else the validator refused it
        approval = Approval(at=waiting.at, plan=waiting.plan, hosts=waiting.hosts, by=str(word))
        approvals = (*self._state.approvals, approval)[-100:]
        what = f"approve {waiting.at} {waiting.plan[:12]}"
        self._heard(what, word, waiting=None, approvals=approvals)

    @approve.validator
    def _may_approve(self, word: Approve) -> None:
        waiting = self._state.waiting
        if waiting is None:
            gone = f": {word.plan[:12]} is gone" if self._was_approved(word.plan) else ""
            planning = ", the hosts are still being planned" if self._state.planning else ""
            raise ValueError(f"nothing waits for approval now{gone}{planning}")
        if not waiting.plan.startswith(word.plan):
            raise ValueError(
                f"the plan {word.plan[:12]} is gone; what waits now is {waiting.summary}. Look at"
                " it, and approve that"
            )

    def _may_be_told(self) -> None:
        if self._past:
            raise ValueError(self._past)

    def _was_approved(self, plan: str) -> bool:
        return any(each.plan.startswith(plan) for each in self._state.approvals)

    async def approved(self, waiting: Waiting, body: str = "") -> None:
        """Returns when somebody has approved that, or when it is over."""
        self._note(waiting=waiting)
        await self.say_waiting(waiting.summary, body)
        stop_if_cancelled()  # meanwhile; nobody could cancel it a second time
        within = self._fleet.rollout.approve_within
        try:
            await workflow.wait_condition(
                lambda: self._state.waiting is None or self._over(),
                timeout=timedelta(seconds=within) if within else None,
            )
        except TimeoutError:
            self._note(lapsed=f"nobody gave {waiting.summary}, within {within:g} s")
        self._note(waiting=None)

    def _heard(self, what: str, word: Word, **change: Any) -> None:
        self._note(asked=(*self._state.asked, f"{what} by {word}")[-100:], **change)

    def _note(self, **change: Any) -> None:
        self._state = self._state.model_copy(update=change)

    async def say_waiting(self, what: str, body: str = "") -> None:
        """Tells that it waits for somebody: `what` for, in a few words."""
        await self._say("waiting", f"waits: {what}", body)

    async def _say(self, occasion: Occasion, what: str, body: str) -> None:
        """Tells those who want to hear of it; without `notify` it does nothing at all."""
        untold = await tell(self._fleet.notify, occasion, what, body)
        if untold:
            self._note(untold=(*self._state.untold, *untold)[-10:])

    async def _rest(self, seconds: float) -> None:
        """Waits after a wave, unless it is over meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self._over, timeout=timedelta(seconds=seconds))

    def _allowed(self) -> int:
        return share_of(self._fleet.rollout.max_failures, self._fleet.total)

    def _over(self) -> bool:
        """Whether nothing new may begin any more."""
        stopped = bool(self._state.aborted or self._state.unhealthy or self._state.lapsed)
        return stopped or (not self.all_of_them and self._state.failed > self._allowed())

    def _why(self) -> str:
        if self._state.aborted:
            return f"aborted by {self._state.aborted}"
        if self._state.unhealthy:
            return f"stopped: {self._state.unhealthy}"
        if self._state.lapsed:
            return self._state.lapsed
        stopped = "" if self.all_of_them else "stopped: "
        return f"{stopped}{self._state.failed} hosts failed, {self._allowed()} may"
