"""DetectDrift on real servers, on a real schedule: drift by hand is found, told once, and repaired."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from temporalio.client import ScheduleActionExecutionStartWorkflow

from lab import Machine
from lab.testing import Servers
from temporal import schedules
from temporal.runs import list_runs
from temporal.shared.specs.automation import rollout
from temporal.shared.specs.automation.drift import DriftReport, DriftSpec
from temporal.testing import Environment
from tests.temporal.automation.conftest import says
from tests.temporal.automation.listening import Web, web
from tests.temporal.support import until_async

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
FILES = [
    {"file": "/etc/drift-one", "content": "one\n"},
    {"file": "/etc/drift-two", "content": "two\n"},
]


@pytest.fixture
def three(lab_machines: Servers) -> list[Machine]:
    servers = list(lab_machines(3))
    for server in servers:
        says(server, "printf 'one\\n' >/etc/drift-one; printf 'two\\n' >/etc/drift-two")
    return servers


@pytest.fixture
def hook() -> Iterator[Web]:
    with web() as listening:
        listening.answers["/hook"] = (200, "")
        yield listening


def place(server: Machine, **more: Any) -> dict[str, Any]:
    return {"lab": server.name, "lab_name": server.lab, **more}


def spec_of(hosts: list[Any], **more: Any) -> dict[str, Any]:
    return {"hosts": hosts, "resources": FILES, **more}


async def look(env: Environment, hosts: list[Any], **more: Any) -> DriftReport:
    reading = DriftSpec.read_as(spec_of(hosts, **more), Path())
    report: DriftReport = await env.run("DetectDrift", DriftSpec.model_validate(reading.value))
    return report


Again = Callable[[dict[str, Any]], Awaitable[DriftReport]]


@pytest_asyncio.fixture(loop_scope="session")
async def scheduled(env: Environment, tmp_path: Path) -> AsyncIterator[Again]:
    """Declares the spec on a schedule of its own and has it run now; gives what came of it."""
    name = f"drift-{uuid.uuid4().hex[:6]}"
    file = tmp_path / "schedules.yml"
    handle = env.ops.client.get_schedule_handle(name)
    runs = 0

    async def again(spec: dict[str, Any]) -> DriftReport:
        nonlocal runs
        entry = {"workflow": "DetectDrift", "input": spec, "every": "7d"}
        file.write_text(yaml.safe_dump({"owner": name, "schedules": {name: entry}}))
        plan = await schedules.plan(env.ops, schedules.read(file, env.ops.registry))
        assert not [each for each in await schedules.apply(env.ops, plan) if each.failure]
        await schedules.trigger(env.ops, name)
        runs += 1

        async def begun() -> str:
            actions = (await handle.describe()).info.recent_actions
            if len(actions) < runs:
                return ""
            action = actions[-1].action
            assert isinstance(action, ScheduleActionExecutionStartWorkflow)
            return action.workflow_id

        run = env.ops.client.get_workflow_handle(await until_async(begun), result_type=DriftReport)
        report = await run.result()

        async def known() -> (
            bool
        ):  # the next run is handed its result only when the schedule has it
            return not (await handle.describe()).info.running_actions

        await until_async(known)
        return report

    yield again
    await handle.delete()


async def test_drift_is_told_once_and_when_it_is_gone(
    env: Environment, three: list[Machine], hook: Web, scheduled: Again, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text(f"json://127.0.0.1:{hook.port}/hook")
    spec = spec_of([place(server) for server in three], notify=f"file://{target}")

    def told() -> list[dict[str, Any]]:
        return [json.loads(each.body) for each in hook.asked]

    report = await scheduled(spec)
    assert (report.same, report.drifted, report.digest) == (3, 0, "") and not told()

    says(three[1], "echo three >>/etc/drift-one")
    report = await scheduled(spec)
    [host] = report.hosts
    assert (host.host, host.changes) == (three[1].name, ("~ file:/etc/drift-one",))
    assert report.notified and len(told()) == 1
    assert "found drift: 1 of 3 hosts differ" in told()[0]["title"]
    assert f"{three[1].name}: ~ file:/etc/drift-one" in told()[0]["message"]

    report = await scheduled(spec)
    assert report.drifted == 1 and not report.notified and len(told()) == 1, "told twice"

    hosts = [place(three[0]), {**GONE, "alias": three[1].name}, place(three[2])]
    report = await scheduled({**spec, "hosts": hosts})
    assert (report.drifted, report.unreached) == (0, 1)
    assert [each.now for each in report.hosts] == ["unseen"] and report.digest
    assert len(told()) == 1, "a host that is not reached was taken for one without drift"

    says(three[1], "echo four >>/etc/drift-one")
    report = await scheduled(spec)
    assert report.notified and len(told()) == 2, "other drift is news"

    says(three[1], "printf 'one\\n' >/etc/drift-one")
    report = await scheduled(spec)
    assert report.digest == "" and report.notified and len(told()) == 3
    assert told()[2]["type"] == "success" and "no drift any more" in told()[2]["title"]


async def test_who_could_not_be_told_is_told_next_time(
    env: Environment, three: list[Machine], hook: Web, scheduled: Again, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text(f"json://127.0.0.1:{hook.port}/nobody-there")
    spec = spec_of([place(three[0])], notify=f"file://{target}")
    says(three[0], "rm /etc/drift-two")
    report = await scheduled(spec)
    assert report.untold and not report.notified
    target.write_text(f"json://127.0.0.1:{hook.port}/hook")
    report = await scheduled(spec)
    assert report.notified and not report.untold
    assert not (await scheduled(spec)).notified


async def test_repaired_within_the_limit_and_not_beyond(
    env: Environment, three: list[Machine]
) -> None:
    hosts = [place(server) for server in three]
    for server in three[:2]:
        says(server, "rm /etc/drift-one")
    report = await look(env, hosts, repair=1)
    assert report.repair is not None and report.repair.hosts == 0 and not report.repair.run
    assert "2 hosts differ, and 1 may be repaired" in report.repair.because
    assert says(three[0], "cat /etc/drift-one 2>/dev/null || echo none") == "none"
    report = await look(env, hosts, repair="70%")
    assert report.repair is not None and report.repair.hosts == 2 and not report.repair.because
    assert [each.now for each in report.hosts] == ["repaired"] * 2 and report.digest == ""
    assert [says(server, "cat /etc/drift-one") for server in three] == ["one"] * 3
    [run] = await list_runs(env.ops, f'WorkflowId = "{report.repair.run}"')
    assert (run.workflow, run.status) == ("ProvisionFleet", "completed") and run.started_by


async def test_only_what_may_be_repaired_is(env: Environment, three: list[Machine]) -> None:
    hosts = [place(server) for server in three]
    says(three[0], "rm /etc/drift-one")
    says(three[1], "rm /etc/drift-one /etc/drift-two")
    report = await look(env, hosts, repair={"max_hosts": 3, "only": ["file:*-one"]})
    assert report.repair is not None and report.repair.hosts == 1
    assert "1 differ in more than what may be repaired" in report.repair.because
    now = {each.host: each.now for each in report.hosts}
    assert now == {three[0].name: "repaired", three[1].name: "drifted"}
    assert says(three[1], "cat /etc/drift-one 2>/dev/null || echo none") == "none"


async def test_what_cannot_be_repaired_is_said_and_no_failure(
    env: Environment, three: list[Machine]
) -> None:
    says(three[0], "rm /etc/drift-two; mkdir /etc/drift-two")
    says(three[0], "touch /etc/drift-two/kept; rm /etc/drift-one")
    try:
        report = await look(env, [place(three[0])], repair="100%")
        assert report.repair is not None and report.repair.hosts == 0 and report.repair.because
        [host] = report.hosts
        assert host.now == "drifted" and report.digest
    finally:
        says(three[0], "rm -r /etc/drift-two")


async def test_a_host_that_is_not_reached_is_no_drift(
    env: Environment, three: list[Machine]
) -> None:
    report = await look(env, [GONE, place(three[0])], repair="100%")
    assert (report.same, report.drifted, report.unreached) == (1, 0, 1)
    assert report.digest == "" and report.repair is None
    assert report.failures[0].host == "gone" and "could not be looked at" in report.summary


async def test_what_was_found_goes_on_with_the_run(
    env: Environment, three: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "BEGUN_IN_A_RUN", 1)
    for server in three:
        says(server, "rm /etc/drift-one")
    report = await look(env, [place(server) for server in three], repair="100%")
    assert report.drifted == 3 and report.repair is not None and report.repair.hosts == 3
    assert report.digest == "" and {each.now for each in report.hosts} == {"repaired"}
    [run] = await list_runs(
        env.ops, f'WorkflowId = "{report.repair.run.partition("-repair")[0]}"', 1
    )
    assert run.workflow == "DetectDrift"
    whole = f'WorkflowId = "{run.id}" AND ExecutionStatus = "ContinuedAsNew"'
    assert len(await list_runs(env.ops, whole)) == 2
