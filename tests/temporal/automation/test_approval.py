"""ProvisionFleet with approval: exactly the plans that were shown, on real servers."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from lab import Machine
from lab.testing import Servers
from temporal.runs.approving import Awaited, awaited
from temporal.shared.specs.automation import rollout
from temporal.shared.specs.automation.outcome import FleetReport, Waiting
from temporal.shared.specs.automation.rollout import Approve, Word
from temporal.testing import Environment
from tests.temporal.automation.conftest import says
from tests.temporal.automation.test_fleet import fleet, place, progress, told
from tests.temporal.support import until_async

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}


@pytest.fixture
def three(lab_machines: Servers) -> list[Machine]:
    servers = list(lab_machines(3))
    for server in servers:
        says(server, "rm -rf /root/approval*")
    return servers


def file(content: str = "approved\n", name: str = "approval") -> dict[str, str]:
    return {"file": f"/root/{name}", "content": content}


def there(server: Machine, name: str = "approval") -> str:
    return says(server, f"cat /root/{name} 2>/dev/null || echo nothing")


async def waits(run: WorkflowHandle[Any, Any], *not_this: str) -> Waiting:
    """What waits for approval, once something does."""

    async def look() -> Waiting | None:
        found = (await progress(run)).state.waiting
        return None if found is None or found.plan in not_this else found

    found: Waiting = await until_async(look)
    return found


async def refused(run: WorkflowHandle[Any, Any], plan: str) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await run.execute_update("approve", Approve(by="eve", plan=plan))
    return str(caught.value.cause)


async def shown(env: Environment, run: WorkflowHandle[Any, Any]) -> Awaited:
    return await awaited(env.ops, run.id)


async def test_nothing_is_done_before_somebody_has_approved_it(
    env: Environment, three: list[Machine]
) -> None:
    spec = fleet([place(server) for server in three], file(), approve="plan")
    run = await env.start("ProvisionFleet", spec)
    waiting = await waits(run)
    assert (waiting.at, waiting.hosts, waiting.changing) == ("plan", 3, 3)
    assert [there(server) for server in three] == ["nothing"] * 3
    found = await shown(env, run)
    (group,) = found.groups
    assert group.hosts == tuple(server.name for server in three)
    assert group.changes[0].diff is not None and "+approved" in group.changes[0].diff
    gone = await refused(run, "0123456789ab")
    assert "0123456789ab is gone" in gone and waiting.plan[:12] in gone
    await run.execute_update("approve", Approve(by="ann", why="seen", plan=waiting.plan[:12]))
    report: FleetReport = await run.result()
    assert report.state.counts == {"changed": 3}
    (approval,) = report.state.approvals
    assert (approval.by, approval.plan, approval.hosts) == ("ann: seen", waiting.plan, 3)
    assert f"plan {waiting.plan[:12]} of 3 hosts approved by ann: seen" in report.render()
    assert [there(server) for server in three] == ["approved"] * 3
    kinds = [event.event_type for event in (await run.fetch_history()).events]
    assert kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) == 6
    assert EventType.EVENT_TYPE_TIMER_STARTED not in kinds


async def test_a_host_that_has_changed_is_left_alone_planned_again_and_waits_again(
    env: Environment, three: list[Machine]
) -> None:
    spec = fleet([place(server) for server in three], file(), approve="plan")
    run = await env.start("ProvisionFleet", spec)
    first = await waits(run)
    says(three[1], "echo somebody >/root/approval")
    await run.execute_update("approve", Approve(by="ann", plan=first.plan))
    second = await waits(run, first.plan)
    assert (second.hosts, second.changing) == (1, 1)
    assert [there(server) for server in three] == ["approved", "somebody", "approved"]
    assert (await progress(run)).state.counts == {"changed": 2}
    (group,) = (await shown(env, run)).groups
    assert group.hosts == (three[1].name,) and "-somebody" in str(group.changes[0].diff)
    assert "is gone" in await refused(run, first.plan)
    await run.execute_update("approve", Approve(by="bob", plan=second.plan))
    report: FleetReport = await run.result()
    assert report.state.counts == {"changed": 3} and there(three[1]) == "approved"
    assert [each.by for each in report.state.approvals] == ["ann", "bob"]


async def test_where_nothing_would_change_nobody_is_asked(
    env: Environment, three: list[Machine]
) -> None:
    spec = fleet([place(server) for server in three], file(), approve="plan", canary=0)
    for server in three:
        says(server, "echo approved >/root/approval; chmod 644 /root/approval")
    report: FleetReport = await env.run("ProvisionFleet", spec)
    assert report.state.counts == {"unchanged": 3} and not report.state.approvals


async def test_what_cannot_be_planned_has_failed(env: Environment, three: list[Machine]) -> None:
    hosts = [place(three[0]), GONE, place(three[1])]
    stopped = await env.start("ProvisionFleet", fleet(hosts, file(), approve="plan"))
    why = await told(stopped)
    assert "1 hosts failed, 0 may" in why and "gone: " in why
    run = await env.start("ProvisionFleet", fleet(hosts, file(), approve="plan", max_failures=1))
    waiting = await waits(run)
    assert waiting.hosts == 2
    found = await shown(env, run)
    assert [each.host for each in found.failures] == ["gone"]
    await run.execute_update("approve", Approve(by="ann", plan=waiting.plan))
    report: FleetReport = await run.result()
    assert report.state.counts == {"unreachable": 1, "changed": 2}


async def test_aborted_or_not_approved_in_time_nothing_is_done(
    env: Environment, three: list[Machine]
) -> None:
    hosts = [place(server) for server in three]
    run = await env.start("ProvisionFleet", fleet(hosts, file(), approve="plan"))
    waiting = await waits(run)
    await run.execute_update("abort", Word(by="bob", why="not today"))
    assert "aborted by bob: not today" in await told(run)
    lapsed = await env.start(
        "ProvisionFleet", fleet(hosts, file(), approve="plan", approve_within=0.2)
    )
    why = await told(lapsed)
    assert f"nobody gave approval of plan {waiting.plan[:12]}" in why and "3 not begun" in why
    assert [there(server) for server in three] == ["nothing"] * 3


async def test_a_canary_that_waits_for_approval(env: Environment, three: list[Machine]) -> None:
    spec = fleet([place(server) for server in three], file(), approve=["plan", "canary"])
    run = await env.start("ProvisionFleet", spec)
    plan = await waits(run)
    await run.execute_update("approve", Approve(by="ann", plan=plan.plan))
    canary = await waits(run, plan.plan)
    assert (canary.at, canary.hosts) == ("canary", 2)
    assert [there(server) for server in three] == ["approved", "nothing", "nothing"]
    assert not (await shown(env, run)).groups
    assert "is gone" in await refused(run, plan.plan)
    await run.execute_update("approve", Approve(by="bob", plan=canary.plan))
    report: FleetReport = await run.result()
    assert [(each.at, each.by) for each in report.state.approvals] == [
        ("plan", "ann"),
        ("canary", "bob"),
    ]
    assert report.state.counts == {"changed": 3}
    assert [there(server) for server in three] == ["approved"] * 3


async def test_it_goes_on_as_new_between_any_two_hosts(
    env: Environment, three: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned, approved, outdated, planned again: each in a run of its own."""
    monkeypatch.setattr(rollout, "BEGUN_IN_A_RUN", 1)
    spec = fleet([place(server) for server in three], file(), approve=["plan", "canary"])
    run = await env.start("ProvisionFleet", spec)
    begun = run.first_execution_run_id
    run = env.ops.client.get_workflow_handle(run.id, result_type=FleetReport)
    first = await waits(run)
    assert (first.hosts, first.changing) == (3, 3)
    assert (await run.describe()).run_id != begun
    (group,) = (await shown(env, run)).groups
    assert len(group.hosts) == 3, "of all runs that went on from one another"
    says(three[1], "echo somebody >/root/approval")
    await run.execute_update("approve", Approve(by="ann", plan=first.plan))
    canary = await waits(run, first.plan)
    assert canary.at == "canary"
    await run.execute_update("approve", Approve(by="ann", plan=canary.plan))
    second = await waits(run, first.plan, canary.plan)
    assert (second.at, second.hosts) == ("plan", 1)
    assert there(three[1]) == "somebody"
    await run.execute_update("approve", Approve(by="bob", plan=second.plan))
    report = await run.result()
    assert report.state.counts == {"changed": 3} and report.state.done == 3
    assert [each.at for each in report.state.approvals] == ["plan", "canary", "plan"]
    assert there(three[1]) == "approved"


async def test_each_goes_on_where_it_was_without_approval_too(
    env: Environment, three: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "BEGUN_IN_A_RUN", 2)
    run = await env.start("ProvisionFleet", fleet([place(server) for server in three], file()))
    again = env.ops.client.get_workflow_handle(run.id, result_type=FleetReport)
    assert (await run.result()).state.counts == {"changed": 3}
    assert (await again.describe()).run_id != run.first_execution_run_id


async def test_what_does_not_wait_cannot_be_approved(
    env: Environment, three: list[Machine]
) -> None:
    gate = {"command": "while [ ! -e /root/approval.go ]; do sleep 0.1; done; touch /root/approval.w",
            "creates": "/root/approval.w"}  # fmt: skip
    run = await env.start("ProvisionFleet", fleet([place(three[0])], gate))

    async def begun() -> bool:
        return bool((await progress(run)).running)

    await until_async(begun)
    assert "nothing waits for approval now" in await refused(run, "0123456789abcdef")
    says(three[0], "touch /root/approval.go")
    assert (await run.result()).state.counts == {"changed": 1}
