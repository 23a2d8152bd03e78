"""What a fleet's run waits for: the plans that somebody is to approve, each shown once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable

from pydantic import BaseModel
from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from converge.changes import Change
from converge.plans import summary
from converge.render import render_plan
from temporal.client import Ops, explain_rpc
from temporal.runs.asking import look, tell
from temporal.runs.outcomes import results
from temporal.runs.state import RunRefused
from temporal.shared.specs.automation import Planned
from temporal.shared.specs.automation.outcome import (
    FleetProgress,
    FleetReport,
    HostOutcome,
    Waiting,
    whole,
)
from temporal.shared.specs.automation.provisioning import DIGITS, MemberPlan

_NAMED = 20


class Group(BaseModel):
    """Hosts on which the same would change."""

    hosts: tuple[str, ...]
    changes: tuple[Change, ...]
    unchanged: int

    @property
    def summary(self) -> str:
        """In one line."""
        return summary(self.changes, self.unchanged)

    def render(self) -> str:
        """For people: the hosts, then what a plan shows of each of them."""
        names = ", ".join(self.hosts[:_NAMED])
        more = len(self.hosts) - _NAMED
        some = f"{names} and {more} more" if more > 0 else names
        title = some if len(self.hosts) == 1 else f"{len(self.hosts)} hosts: {some}"
        return render_plan(title, self.changes, self.summary)


class Awaited(BaseModel):
    """What a run waits for, and what there is to see of it.

    Attributes:
        waiting: what somebody must approve.
        groups: what would change, hosts with the same together; those with most hosts first.
        failures: hosts that failed so far, for a plan: of which there is none; the first hundred.
        report: how far the run is, in words.
    """

    waiting: Waiting
    groups: tuple[Group, ...] = ()
    failures: tuple[HostOutcome, ...] = ()
    report: str = ""

    def render(self) -> str:
        """For people: each group, what failed, then what is asked."""
        shown = [group.render() for group in self.groups]
        if self.waiting.at == "plan":
            shown += [f"  ! {each.host}: {each.because}" for each in self.failures]
        else:
            shown.append(self.report)
        return "\n".join([*shown, "", f"It waits for {self.waiting.summary}."])


async def awaited(ops: Ops, workflow_id: str) -> Awaited:
    """What that run waits for. The plans are read from its history, and are exactly those whose
    digest is asked for.

    Raises:
        NoSuchRun: there is none.
        RunRefused: it waits for nothing, or something else by now.
    """
    now = await progress(ops, workflow_id)
    waiting = now.state.waiting
    if waiting is None:
        doing = (
            "its hosts are still being planned" if now.state.planning else "it waits for nothing"
        )
        raise RunRefused(f"{workflow_id}: {doing}; `temporal-ops runs show` says how far it is")
    report = FleetReport(total=now.total, state=now.state).render()
    if waiting.at != "plan":
        return Awaited(waiting=waiting, report=report, failures=now.state.failures)
    handle = ops.client.get_workflow_handle(workflow_id)
    wanted: list[str] = await handle.query("plans", result_type=list[str])
    if whole(wanted) != waiting.plan:
        raise RunRefused(f"{workflow_id} has moved on meanwhile; look again")
    planned = await _planned(ops, workflow_id, set(wanted))
    if len(planned) < len(set(wanted)):
        raise RunRefused(f"{workflow_id}: not all of its plans are kept any more; abort it")
    groups = grouped(planned[digest] for digest in wanted)
    return Awaited(waiting=waiting, groups=groups, failures=now.state.failures, report=report)


async def approve(ops: Ops, workflow_id: str, plan: str, by: str, why: str = "") -> None:
    """Approve that plan, and no other one. Raises NoSuchRun, RunRefused: it is gone."""
    await tell(ops, workflow_id, "approve", by, why, plan=plan)


async def progress(ops: Ops, workflow_id: str) -> FleetProgress:
    """How far a fleet's run is. Raises NoSuchRun; RunRefused: it is of no fleet."""
    handle = ops.client.get_workflow_handle(workflow_id)
    await look(handle, ops)
    try:
        found: FleetProgress = await handle.query("progress", result_type=FleetProgress)
    except WorkflowQueryFailedError as error:
        raise RunRefused(f"{workflow_id} cannot be asked how far it is: {error}") from None
    except RPCError as error:
        raise explain_rpc(error, ops.settings) from error
    return found


def grouped(plans: Iterable[Planned]) -> tuple[Group, ...]:
    """Hosts with the same changes together, those with most hosts first. Of each group one plan is
    kept, however many hosts it has."""
    hosts: dict[str, list[str]] = {}
    first: dict[str, Planned] = {}
    for plan in plans:
        key = _key(plan)
        hosts.setdefault(key, []).append(plan.host)
        first.setdefault(key, plan)
    groups = [
        Group(hosts=tuple(hosts[key]), changes=plan.changes, unchanged=plan.unchanged)
        for key, plan in first.items()
    ]
    return tuple(sorted(groups, key=lambda group: (not group.changes, -len(group.hosts))))


async def _planned(ops: Ops, workflow_id: str, wanted: set[str]) -> dict[str, Planned]:
    """The plans with these digests."""
    found: dict[str, Planned] = {}
    shared: dict[str, tuple[Change, ...]] = {}
    async for plan in plans_of(ops, workflow_id):
        digest = plan.digest[:DIGITS]
        if digest in wanted:
            # Most hosts of a fleet change alike: what is the same is held once.
            changes = shared.setdefault(_key(plan), plan.changes)
            found[digest] = plan.model_copy(update={"changes": changes})
    return found


async def plans_of(ops: Ops, workflow_id: str) -> AsyncIterator[Planned]:
    """All plans that a run of ProvisionFleet or PlanFleet has made so far. Raises NoSuchRun."""
    async for each in results(ops, workflow_id, "plan_member"):
        if isinstance(each, MemberPlan) and each.planned is not None:
            yield each.planned


def _key(plan: Planned) -> str:
    """The same for the same changes."""
    changes = [change.model_dump(mode="json") for change in plan.changes]
    return hashlib.sha256(json.dumps([changes, plan.unchanged]).encode()).hexdigest()
