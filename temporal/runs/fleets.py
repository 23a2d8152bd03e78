"""How far the fleet of a run is, asked of the run itself.

The worker may be older or newer than whoever looks: what is read here takes any field it does not know,
and does without any but the number of hosts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError

from temporal.client import Ops
from temporal.runs.state import Run

EVERY_S = 1.0
"""At least so long between two questions: each wakes the worker."""
PATIENCE_S = 10.0
QUERY = "progress"
NAMED = 100
"""Hosts of a fleet whose names are kept: more are not listed one by one."""
FAILED = ("failed", "unreachable")
"""Endings of hosts that are not as declared."""


class Failure(BaseModel):
    """A host that failed, and why."""

    host: str
    ending: str = "failed"
    because: str = ""


class Awaited(BaseModel):
    """What somebody is asked to approve; see `Waiting` of the fleet specs."""

    at: str = ""
    plan: str = ""
    hosts: int = 0
    changing: int = 0


class FleetNow(BaseModel):
    """How far a fleet is: `FleetProgress` in one level, read leniently.

    Attributes:
        names: the hosts in their order, if they are few.
        sizes: hosts of each wave, if the run's input says so.
    """

    model_config = ConfigDict(frozen=True)

    total: int
    wave: int = 0
    waves: int = 0
    running: tuple[str, ...] = ()
    next: int = 0
    counts: dict[str, int] = {}
    failures: tuple[Failure, ...] = ()
    paused: str = ""
    aborted: str = ""
    unhealthy: str = ""
    lapsed: str = ""
    planning: bool = False
    waiting: Awaited | None = None
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

    @classmethod
    def read(cls, value: Any) -> FleetNow | None:
        """What a run answers; None if that says nothing of a fleet."""
        if not isinstance(value, Mapping) or not isinstance(value.get("state"), Mapping):
            return None
        try:
            return cls.model_validate({**value["state"], **value})
        except ValidationError:
            return None

    @property
    def done(self) -> int:
        """Hosts that have ended."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Hosts that are not as declared."""
        return sum(self.counts.get(kind, 0) for kind in FAILED)

    @property
    def left(self) -> int:
        """Hosts that were not begun."""
        return max(0, self.total - self.done - len(self.running))


def endings(ended: Mapping[str, str], before: FleetNow | None, now: FleetNow) -> dict[str, str]:
    """How each named host ended, as far as two looks at the fleet tell: the names are known, and how
    many more ended in what way. `ended` where it could have been in more ways than one."""
    failed = {each.host: each.ending for each in now.failures}
    known = {host: kind for host, kind in ended.items() if host not in now.running} | failed
    over = now.names[: now.next] if not now.planning else ()
    fresh = [name for name in over if name not in known and name not in now.running]
    if len(known) + len(fresh) != now.done:
        return known  # its order is another one: nobody knows which they are
    was = before.counts if before else {}
    rose = {kind for kind, count in now.counts.items() if count > was.get(kind, 0)} - set(FAILED)
    kind = rose.pop() if len(rose) == 1 else "ended"
    return known | dict.fromkeys(fresh, kind)


class Fleets:
    """Asks a run how far its fleet is, whenever its history has grown, and not more often than once in
    EVERY_S; a run that rests is not asked.

    Attributes:
        now: what it answered last.
        ended: how the named hosts ended.
        silent: it does not answer such a question, and is not asked again.
    """

    def __init__(
        self, handle: WorkflowHandle[Any, Any], ops: Ops, on_news: Callable[[], None]
    ) -> None:
        self._handle = handle
        self._ops = ops
        self._on_news = on_news
        self._grown = asyncio.Event()
        self._seen: tuple[str, int] | None = None
        self._known: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self.now: FleetNow | None = None
        self.ended: dict[str, str] = {}
        self.silent = False

    def look_at(self, run: Run) -> None:
        """The run looks like this now."""
        if run.closed is None and (run.run_id, run.events) != self._seen:
            self._seen = run.run_id, run.events
            self._grown.set()
            self._task = self._task or asyncio.create_task(self._keep_asking())

    def stop(self) -> None:
        """Ask no more."""
        if self._task:
            self._task.cancel()

    async def _keep_asking(self) -> None:
        while not self.silent:
            await self._grown.wait()
            self._grown.clear()
            try:
                answer = await self._ask()
            except WorkflowQueryFailedError:
                answer = None
                self.silent = True
            except (RPCError, RuntimeError):  # no worker now, or the server is away
                await asyncio.sleep(EVERY_S)
                self._grown.set()
                continue
            if answer is None:
                self.silent = True
            else:
                self.ended = endings(self.ended, self.now, answer)
                self.now = answer
            self._on_news()
            await asyncio.sleep(EVERY_S)

    async def _ask(self) -> FleetNow | None:
        value = await self._handle.query(QUERY, rpc_timeout=timedelta(seconds=PATIENCE_S))
        now = FleetNow.read(value)
        if now is None:
            return None
        if self._known is None:
            self._known = await self._input(now.total)
        return now.model_copy(update=self._known)

    async def _input(self, total: int) -> dict[str, Any]:
        """What the input of the run tells that its answers do not: names, and sizes of the waves."""
        event: HistoryEvent
        async for event in self._handle.fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input
            try:
                [value] = await self._ops.client.data_converter.decode(payloads.payloads)
                return _told_by(value, total)
            except Exception:  # whatever it is, it is not needed to see how far the run is
                break
        return {}


def _told_by(value: Any, total: int) -> dict[str, Any]:
    from temporal.shared.specs.automation.hosts import HostSpec
    from temporal.shared.specs.automation.rollout import Rollout

    found: dict[str, Any] = {}
    waves = Rollout.model_validate(value.get("rollout") or {}).waves(total)
    found["sizes"] = tuple(stop - start for start, stop in waves)
    if total <= NAMED:
        members = [member for page in value["pages"] for member in json.loads(page)]
        found["names"] = tuple(HostSpec.model_validate(each["host"]).name for each in members)
    return found


def answers_of_a_fleet(ops: Ops, name: str) -> bool:
    """Whether a workflow may know how far a fleet is: its class says so. What is not known here is
    asked."""
    entry = ops.registry.workflows.get(name)
    if entry is None:
        return True
    definition = workflow._Definition.from_class(entry.target)
    return definition is not None and QUERY in definition.queries
