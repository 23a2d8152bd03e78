"""Several servers from one command: one run that plans them all, and does what was agreed to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from temporal.cli.common import DONE, FAILED, console, emit, say
from temporal.cli.plans import asked, print_plan, show_awaited

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.runs.approving import Awaited
    from temporal.shared.specs.automation import Planned, ServerSpec
    from temporal.shared.specs.automation.outcome import FleetReport, Waiting
    from temporal.shared.specs.automation.provisioning import FleetSpec

MOST_ROUNDS = 5
"""With --yes: plans approved one after the other while hosts go on changing under our hands."""
_LOOK_S = (0.1, 1.0)


async def plan_all(ops: Ops, specs: Sequence[ServerSpec], as_json: bool) -> tuple[bool, bool]:
    """Shows what would change on all of them; (whether anything would, whether all were seen)."""
    fleet = _fleet(specs)
    handle = await _start(ops, "PlanFleet", fleet, as_json)
    report, failure = await _followed(handle, ops, as_json)
    if report is None:
        say(f"error: {failure}")
        return False, False
    names = [member.host.name for member in fleet.members(0, fleet.total)]
    planned, failures = await _seen(ops, handle.id, report, names)
    drift = report.state.counts.get("drifted", 0)
    if as_json:
        emit(_as_json(planned, failures))
        return bool(drift), not failures
    from temporal.runs.approving import grouped

    for group in grouped(each for each in planned if each is not None):
        print_plan(group.render())
    for name, because in failures.values():
        say(f"error: {because if name in because else f'{name}: {because}'}")
    same = report.state.counts.get("unchanged", 0)
    console().print(
        f"{drift} servers differ, {same} are as declared, {len(failures)} could not be looked at."
    )
    return bool(drift), not failures


async def apply_all(ops: Ops, specs: Sequence[ServerSpec], yes: bool, as_json: bool) -> int:
    """Plans all of them, asks, and does exactly what was shown; the command's exit code. A host that
    has changed since is shown and asked for again."""
    handle = await _start(ops, "ProvisionFleet", _fleet(specs), as_json)
    agreed: list[Waiting] = []
    planned: Awaited | None = None
    try:
        while (found := await _awaits(handle, ops, agreed, as_json)) is not None:
            planned = planned or found
            if not as_json:
                if agreed:
                    say("These had changed meanwhile, and were left alone:")
                show_awaited(found)
            agreed.append(found.waiting)
            if not await _agreed(found.waiting, yes, len(agreed)):
                await _say(ops, handle.id, "abort")
                await asyncio.gather(handle.result(), return_exceptions=True)
                say("nothing was changed" if len(agreed) == 1 else "nothing more was changed")
                return FAILED
            await _say(ops, handle.id, "approve", plan=found.waiting.plan)
        report, failure = await _followed(handle, ops, as_json)
    except asyncio.CancelledError:
        say(f"left: `temporal-ops runs show {handle.id}` says how far it is")
        raise
    return await _told(ops, handle.id, report, failure, planned, as_json)


def _fleet(specs: Sequence[ServerSpec]) -> FleetSpec:
    from temporal.shared.specs.automation.rollout import Rollout
    from temporal.shared.specs.automation.varying import as_fleet

    # Each host stands for itself: what fails on one keeps no other from it.
    rollout = Rollout(canary="0", wave="100%", max_failures="100%", approve=("plan",))
    return as_fleet(specs, rollout)


async def _start(
    ops: Ops, workflow: str, fleet: FleetSpec, quiet: bool
) -> WorkflowHandle[Any, Any]:
    from temporal.shared.specs.automation.outcome import FleetReport

    handle = await ops.start(workflow, fleet)
    if not quiet:
        say(f"run {handle.id}")
    return ops.client.get_workflow_handle(handle.id, result_type=FleetReport)


async def _followed(
    handle: WorkflowHandle[Any, Any], ops: Ops, quiet: bool
) -> tuple[FleetReport | None, str]:
    from temporal.cli.provision import result_of

    return await result_of(handle, ops, quiet)


async def _awaits(
    handle: WorkflowHandle[Any, Any], ops: Ops, agreed: Sequence[Waiting], quiet: bool
) -> Awaited | None:
    """What it waits for that was not agreed to yet; nothing once it has ended."""
    from temporal.runs.approving import awaited, progress

    ended = asyncio.create_task(_followed(handle, ops, quiet))
    pause = _LOOK_S[0]
    try:
        while True:
            await asyncio.wait([ended], timeout=pause)
            if ended.done():
                return None
            waiting = (await progress(ops, handle.id)).state.waiting
            if waiting is not None and waiting not in agreed[-1:]:
                return await awaited(ops, handle.id)
            pause = min(pause * 1.3, _LOOK_S[1])
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


async def _agreed(waiting: Waiting, yes: bool, rounds: int) -> bool:
    if yes and rounds <= MOST_ROUNDS:
        return True
    if yes:
        say(f"after {MOST_ROUNDS} plans there still are hosts that change meanwhile")
        if not sys.stdin.isatty():
            return False
    question = f"Bring these {waiting.hosts} servers to what is declared?"
    return await asyncio.to_thread(asked, question)


async def _say(ops: Ops, run: str, what: str, **more: str) -> None:
    from temporal.client import started_by
    from temporal.runs import tell

    why = "" if what == "approve" else "not agreed to"
    await tell(ops, run, what, started_by(ops.settings), why, **more)


async def _told(
    ops: Ops,
    run: str,
    report: FleetReport | None,
    failure: str,
    planned: Awaited | None,
    as_json: bool,
) -> int:
    if as_json:
        from temporal.runs.outcomes import results

        # Who had changed meanwhile came again: the last is what came of it.
        last = {each.host: each async for each in results(ops, run, "converge_member")}
        emit({"id": run, "planned": planned, "applied": [*last.values()], "report": report})
    elif report is not None:
        print_plan(report.render())
    if report is None:
        say(f"error: {failure}")
        return FAILED
    return FAILED if report.state.failed else DONE


async def _seen(
    ops: Ops, run: str, report: FleetReport, names: Sequence[str]
) -> tuple[list[Planned | None], dict[int, tuple[str, str]]]:
    """(the plan of each, in the order of the names; by its place there, who has none, and why)"""
    from temporal.runs.approving import plans_of

    found: dict[str, list[Planned]] = {}
    async for plan in plans_of(ops, run):
        found.setdefault(plan.host, []).append(plan)
    planned = [plans.pop(0) if (plans := found.get(name)) else None for name in names]
    why = {each.host: each.because for each in report.state.failures}
    failures = {
        at: (name, why.get(name, "could not be looked at"))
        for at, name in enumerate(names)
        if planned[at] is None
    }
    return planned, failures


def _as_json(
    planned: Sequence[Planned | None], failures: dict[int, tuple[str, str]]
) -> dict[str, Any]:
    return {
        "drift": any(each is not None and not each.empty for each in planned),
        "servers": [
            {**each.model_dump(mode="json"), "summary": each.summary}
            if each is not None
            else {"host": failures[at][0], "failure": failures[at][1]}
            for at, each in enumerate(planned)
        ],
    }
