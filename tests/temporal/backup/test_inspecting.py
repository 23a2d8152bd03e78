"""InspectBackups on real servers: what is told of repositories as they are, and whom it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from temporal import schedules
from temporal.shared.metrics import REGISTRY
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.status import BackupStatus, Row, Snapshots
from temporal.testing import Environment
from tests.temporal.automation.listening import Web, web
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import PASSWORD_REF, VARIABLES, local, place, says, spec, stored
from tests.temporal.backup.planting import Planted
from tests.temporal.backup.stores import Stores
from tests.temporal.support import until_async

pytestmark = [pytest.mark.lab]
aio = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("release", ["bookworm", "trixie"])
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


async def status(env: Environment, wanted: BackupSpec) -> tuple[BackupStatus, bool]:
    """How backups are, and whether the run failed for it."""
    run = await env.start("InspectBackups", wanted)
    try:
        return await run.result(), False
    except WorkflowFailureError as error:
        assert isinstance(error.cause, ApplicationError), error.cause
        return BackupStatus.model_validate(error.cause.details[0]), True


def rows(found: BackupStatus) -> dict[str, Row]:
    return {each.name: each for each in found.rows}


def measured() -> dict[tuple[str, ...], float]:
    """What the worker says of backups: name without what all begin with, and values of the labels."""
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    return {
        (each.name.removeprefix("temporal_ops_backup_"), *each.labels.values()): each.value
        for family in families
        for each in family.samples
    }


@aio
@both
async def test_each_source_is_told_as_it_is_and_those_of_no_snapshot_too(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    planted = Planted(backup_server(release), "told")
    server, host = planted.server, planted.server.name
    for source in ("fine", "old", "bad"):
        newest = planted.snapshot(host, source, 3 * DAY if source == "old" else HOUR)
        planted.snapshot(host, source, 9 * DAY)
        planted.proof(host, source, 2 * DAY, newest, "proved")
        if source == "bad":
            planted.proof(host, source, HOUR, newest, "wrong")
    planted.snapshot(host, "new", HOUR)
    planted.snapshot(host, "stray", HOUR)
    planted.snapshot("web9", "fine", HOUR)
    planted.note(host, DAY, "note:check", "subset:1/12", "result:ok")
    stale = planted.lock("web7", 4711, 2 * HOUR, exclusive=True)
    planted.grow()
    sources = {name: {"files": "/srv/x"} for name in ("fine", "old", "bad", "new", "never")}
    wanted = spec([server, GONE], local(planted.url, create=False), sources)
    found, failed = await status(env, wanted)
    assert failed and found.total == 10 and found.counts["unknown"] == 5
    of = rows(found)
    told = {name: of[f"{host}/{name}"].state for name in sources}
    assert told == {
        "fine": "protected",
        "old": "overdue",
        "bad": "wrong",
        "new": "unproved",
        "never": "missing",
    }
    assert of["gone/fine"].state == "unknown" and "gone" in of["gone/fine"].because
    fine = of[f"{host}/fine"]
    assert (fine.snapshots, fine.took, fine.result) == (2, 12.5, "proved")
    own, other = sorted(found.repositories, key=lambda each: each.by == "gone")
    assert {f"{each.host}/{each.source}" for each in own.undeclared} == {
        f"{host}/stray",
        "web9/fine",
    }
    assert len(own.locks) == 1 and f"{stale[:8]} of web7" in own.locks[0]
    assert own.result == "ok" and own.checked and other.because
    seen = measured()
    assert (
        seen["protected", "trial", host, "fine"] == 1
        and seen["snapshots", "trial", host, "never"] == 0
    )
    assert seen["proof_ok", "trial", host, "bad"] == 0 and seen["unseen_repositories", "trial"] == 1
    only = spec([server], local(planted.url, create=False), {"fine": {"files": "/srv/x"}})
    says(server, f"rm {planted.url}/locks/*")
    found, failed = await status(env, only)
    assert not failed and found.protected and found.summary == "trial: 1 source: 1 protected"
    assert ("protected", "trial", host, "old") not in measured(), "declared no more"
    listed: Snapshots = await env.run("ListSnapshots", only)
    assert listed.total == 9 and listed.snapshots[0].time > listed.snapshots[-1].time
    proofs = {(each.source, each.proof, each.declared) for each in listed.snapshots}
    assert {("fine", "proved", True), ("bad", "wrong", False)} <= proofs


@aio
async def test_sizes_are_told_where_restic_does_and_damage_where_a_check_found_it(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server("trixie")
    says(
        server,
        "rm -rf /srv/sized /srv/sized.data; mkdir -p /srv/sized.data; head -c 300000 /dev/urandom"
        " >/srv/sized.data/x",
    )
    wanted = spec([server], local("/srv/sized"), {"data": {"files": "/srv/sized.data"}})
    await env.run("BackUp", wanted)
    found, failed = await status(env, wanted)
    [row] = found.rows
    assert (
        not failed and row.state == "unproved" and not row.late and row.size and row.size > 300_000
    )
    pack = says(server, "find /srv/sized/data -type f -size +200k")
    says(
        server,
        f"chmod u+w {pack}; printf xyz | dd of={pack} bs=1 seek=1000 conv=notrunc 2>/dev/null",
    )
    check = wanted.model_copy(update={"maintain": {"steps": ["check"], "subsets": 1}})
    with pytest.raises(WorkflowFailureError):
        await env.run("MaintainRepository", check)
    found, failed = await status(env, wanted)
    [row], [where] = found.rows, found.repositories
    assert failed and row.state == "wrong" and "is damaged" in row.because
    assert where.damaged == ("1/1",) and where.hits == 1 and where.packs[0] == pack[-64:][:8]
    assert measured()["repository_check_ok", "trial", f"{server.name}:/srv/sized"] == 0


@aio
async def test_one_that_all_share_is_seen_as_long_as_one_host_answers(
    env: Environment,
    backup_server: BackupServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = backup_server()
    says(server, "mkdir -p /srv/there; echo x >/srv/there/x")
    with Stores(tmp_path, server) as stores:
        store = stores.sftp()
        repository = stored(store, "shared", monkeypatch)
        sources = {"there": {"files": "/srv/there"}}
        await env.run("BackUp", spec([server], repository, sources))
        found, failed = await status(env, spec([GONE, server], repository, sources))
        told = {name: each.state for name, each in rows(found).items()}
        assert failed and told == {"gone/there": "missing", f"{server.name}/there": "unproved"}
        store.stop()
        found, failed = await status(env, spec([server], repository, sources))
        assert failed and found.rows[0].state == "unknown" and found.digest
        assert server.name in found.rows[0].because, found.rows[0].because


@aio
async def test_a_wrong_password_is_told_as_that(
    env: Environment, backup_server: BackupServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Planted(backup_server(), "barred")
    monkeypatch.setenv("TRIAL_OTHER", "not that one")
    repository = local(planted.url, create=False, password="env://TRIAL_OTHER")
    found, failed = await status(env, spec([planted.server], repository, {"x": {"files": "/x"}}))
    assert failed and found.rows[0].state == "unknown"
    assert found.rows[0].because.endswith("the repository's password is wrong")
    nowhere = local("/srv/never-made", create=False)
    found, failed = await status(env, spec([planted.server], nowhere, {"x": {"files": "/x"}}))
    assert failed and "there is no repository at the url" in found.rows[0].because


@pytest.fixture
def hook() -> Iterator[Web]:
    with web() as listening:
        listening.answers["/hook"] = (200, "")
        yield listening


Again = Callable[[dict[str, Any]], Awaitable[str]]


@pytest_asyncio.fixture(loop_scope="session")
async def scheduled(env: Environment, tmp_path: Path) -> AsyncIterator[Again]:
    """Declares the spec on a schedule of its own and has it run now; gives how that run ended."""
    name, runs = f"status-{tmp_path.name}", 0
    file = tmp_path / "schedules.yml"
    handle = env.ops.client.get_schedule_handle(name)

    async def again(value: dict[str, Any]) -> str:
        nonlocal runs
        entry = {"workflow": "InspectBackups", "input": value, "every": "7d"}
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

        run = env.ops.client.get_workflow_handle(await until_async(begun))
        try:
            await run.result()
            ended = "well"
        except WorkflowFailureError:
            ended = "failed"

        async def known() -> bool:
            """The next run is handed its result only when the schedule has it."""
            return not (await handle.describe()).info.running_actions

        await until_async(known)
        return ended

    yield again
    await handle.delete()


@aio
async def test_the_dead_man_speaks_once_when_nothing_ran_and_again_when_it_is_well(
    env: Environment, backup_server: BackupServer, hook: Web, scheduled: Again, tmp_path: Path
) -> None:
    planted = Planted(backup_server(), "deadman")
    host = planted.server.name
    target = tmp_path / "target"
    target.write_text(f"json://127.0.0.1:{hook.port}/hook")
    value = {
        "name": "trial",
        "hosts": [place(planted.server)],
        "repository": {"url": planted.url, "password": PASSWORD_REF},
        "sources": {"up": {"files": "/srv/x"}},
        "notify": {"targets": [f"file://{target}"]},
    }

    def told() -> list[str]:
        return [json.loads(each.body)["title"] for each in hook.asked]

    assert [await scheduled(value) for _ in range(3)] == ["failed"] * 3
    assert told() == ["InspectBackups failed: trial: 1 source: 1 missing"], "once"
    old = planted.snapshot(host, "up", 9 * DAY)
    planted.grow()
    assert await scheduled(value) == "failed"
    assert len(told()) == 2 and "1 overdue" in told()[-1], "another thing"
    planted.snapshot(host, "up", HOUR)
    planted.proof(host, "up", HOUR, old, "proved")
    planted.grow()
    assert [await scheduled(value) for _ in range(2)] == ["well"] * 2
    assert len(told()) == 3 and "finds all well again" in told()[-1]
    assert await scheduled({**value, "rpo": "30m"}) == "failed"
    assert len(told()) == 4 and "1 overdue" in told()[-1]
