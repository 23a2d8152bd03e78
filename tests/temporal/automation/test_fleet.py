"""ProvisionFleet on real servers: waves, failures, and what people say to it meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError

from lab import Machine
from lab.testing import Servers
from temporal.shared.specs.automation.outcome import FleetProgress, FleetReport
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.automation.rollout import Word
from temporal.testing import Environment
from tests.temporal.automation.conftest import says
from tests.temporal.support import until_async

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
GATE = "echo came >>/root/came; while [ ! -e /root/go ]; do sleep 0.1; done; touch /root/went"


def fleet(hosts: list[Any], *resources: dict[str, Any], **rollout: Any) -> FleetSpec:
    members = [{"host": each} for each in hosts]
    value = FleetSpec.of({"resources": list(resources), "rollout": rollout}, members)
    return FleetSpec.model_validate(value)


def place(server: Machine) -> dict[str, str]:
    return {"lab": server.name, "lab_name": server.lab}


@pytest.fixture
def three(lab_machines: Servers) -> list[Machine]:
    servers = list(lab_machines(3))
    for server in servers:
        says(server, "rm -f /root/came /root/go /root/went")
    return servers


async def told(run: WorkflowHandle[Any, Any]) -> str:
    """Why it failed."""
    with pytest.raises(WorkflowFailureError) as caught:
        await run.result()
    return str(caught.value.cause)


async def progress(run: WorkflowHandle[Any, Any]) -> FleetProgress:
    found: FleetProgress = await run.query("progress", result_type=FleetProgress)
    return found


async def test_all_are_as_declared_with_one_activity_a_host(
    env: Environment, three: list[Machine]
) -> None:
    motd = {"file": "/etc/fleet", "content": "one fleet\n"}
    spec = fleet([place(server) for server in three], motd)
    first: FleetReport = await env.run("ProvisionFleet", spec)
    assert first.state.counts == {"changed": 3} and first.summary == "3 changed"
    assert [says(server, "cat /etc/fleet") for server in three] == ["one fleet"] * 3
    run = await env.start("ProvisionFleet", spec)
    assert (await run.result()).state.counts == {"unchanged": 3}
    kinds = [event.event_type for event in (await run.fetch_history()).events]
    assert kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) == 3
    assert EventType.EVENT_TYPE_TIMER_STARTED not in kinds, "each is an action as well"


async def test_a_canary_that_fails_keeps_the_others_from_it(
    env: Environment, three: list[Machine]
) -> None:
    bad = {"file": "/etc/fleet-bad", "content": "x", "owner": "nobody-knows"}
    run = await env.start("ProvisionFleet", fleet([place(server) for server in three], bad))
    why = await told(run)
    assert "1 hosts failed, 0 may" in why and "2 not begun" in why
    assert f"{three[0].name}: " in why and "nobody-knows" in why


async def test_a_host_that_is_not_reached_has_failed(
    env: Environment, three: list[Machine]
) -> None:
    nowhere = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    file = {"file": "/etc/fleet-rest", "content": "x"}
    hosts = [nowhere, *(place(server) for server in three[:2])]
    stopped = await env.start("ProvisionFleet", fleet(hosts, file))
    why = await told(stopped)
    assert "1 unreachable, 2 not begun" in why and "gone: " in why
    assert says(three[0], "ls /etc/fleet-rest 2>&1 || :").endswith("No such file or directory")
    report: FleetReport = await env.run("ProvisionFleet", fleet(hosts, file, max_failures=1))
    assert report.state.counts == {"unreachable": 1, "changed": 2}
    assert [each.host for each in report.state.failures] == ["gone"]


async def test_paused_resumed_and_aborted(env: Environment, three: list[Machine]) -> None:
    gate = {"command": GATE, "creates": "/root/went"}
    run = await env.start(
        "ProvisionFleet", fleet([place(server) for server in three], gate, wave=1)
    )

    async def came(server: Machine) -> bool:
        return says(server, "cat /root/came 2>/dev/null || :") == "came"

    await until_async(lambda: came(three[0]))
    await run.execute_update("pause", Word(by="ann", why="lunch"))
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await run.execute_update("pause", Word(by="bob"))
    assert "paused already, by ann: lunch" in str(refused.value.cause)
    says(three[0], "touch /root/go")

    async def rests() -> bool:
        now = await progress(run)
        return now.state.done == 1 and not now.running

    await until_async(rests)
    assert says(three[1], "ls /root/came 2>&1 || :").endswith("No such file or directory")
    await run.execute_update("resume", Word(by="ann"))
    await until_async(lambda: came(three[1]))
    now = await progress(run)
    assert (now.running, now.wave, now.waves) == ((three[1].name,), 2, 3)
    await run.execute_update("abort", Word(by="bob", why="wrong fleet"))
    says(three[1], "touch /root/go")
    why = await told(run)
    assert "aborted by bob: wrong fleet" in why and "2 changed, 1 not begun" in why
    assert not await came(three[2])


async def test_cancelled_it_ends_when_nothing_goes_on_at_the_hosts(
    env: Environment, three: list[Machine]
) -> None:
    gate = {"command": GATE, "creates": "/root/went"}
    run = await env.start(
        "ProvisionFleet", fleet([place(server) for server in three], gate, canary=0, wave=3)
    )

    async def all_came() -> bool:
        return all(says(server, "cat /root/came 2>/dev/null || :") == "came" for server in three)

    await until_async(all_came)
    await run.cancel()
    assert "ancelled" in await told(run)
    for server in three:
        left = says(server, "systemctl list-units --no-legend 'converge-*' | grep -c running || :")
        assert left == "0"
