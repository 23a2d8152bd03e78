"""The schedules of the examples: what they start, that none overlaps, that an outage is made up for."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import (
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
)

from temporal import schedules
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation import ServerSpec
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.reading import parse, read
from temporal.testing import Environment
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import PASSWORD_REF, VARIABLES, place, says
from tests.temporal.cli.support import Shell, killed_server, until
from tests.temporal.support import until_async

aio = pytest.mark.asyncio(loop_scope="session")
EXAMPLES = Path(__file__).parents[3] / "examples" / "backups"


@aio
async def test_the_examples_are_read_and_start_what_they_say(env: Environment) -> None:
    declared = schedules.read(EXAMPLES / "schedules.yml", env.ops.registry)
    steps = {each.name: each.values[0].maintain.steps for each in declared.schedules}
    starts = {each.name: each.workflow.name for each in declared.schedules}
    assert starts == {
        "shop-backup": "BackUp",
        "shop-drill": "DrillRestore",
        "shop-forget": "MaintainRepository",
        "shop-prune": "MaintainRepository",
        "shop-check": "MaintainRepository",
        "shop-status": "InspectBackups",
    }
    assert [steps[f"shop-{step}"] for step in ("forget", "prune", "check")] == [
        ("forget",),
        ("prune",),
        ("check",),
    ]
    assert {each.entry.overlap for each in declared.schedules} == {"skip"}
    planned = await schedules.plan(env.ops, declared)
    assert {step.kind for step in planned.steps if step.name.startswith("shop-")} == {"create"}
    assert read(EXAMPLES / "server.yml", ServerSpec).host is not None
    shop = read(EXAMPLES / "shop.yml", BackupSpec)
    assert shop.repository.shared and shop.repository.kind == "s3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backup: nope.yml", "No such file"),
        ("backup: shop.yml\nmaintain: {steps: [prun]}", "'prun'"),
        ("backup: shop.yml\nnope: 1", "nope"),
        ("backup: schedules.yml", "give exactly one of hosts and inventory"),
    ],
)
def test_a_spec_that_points_to_another_says_what_is_wrong_with_it(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse(text, BackupSpec, "x.yml", folder=EXAMPLES)


@pytest.mark.lab
@aio
async def test_a_backup_that_goes_on_is_not_begun_again_by_its_schedule(
    env: Environment,
    backup_server: BackupServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)
    server, name = backup_server(), f"nightly-{tmp_path.name}"
    says(server, "rm -rf /srv/slow /srv/slow.repo; mkdir -p /srv/slow; echo x >/srv/slow/x")
    before = "echo begun >>/srv/slow/begun; until [ -e /srv/slow/go ]; do sleep 0.2; done"
    value = {
        "name": "trial",
        "hosts": [place(server)],
        "repository": {"url": "/srv/slow.repo", "password": PASSWORD_REF, "create": True},
        "sources": {"slow": {"files": "/srv/slow", "before": before}},
    }
    entry = {"workflow": "BackUp", "input": value, "every": "7d", "overlap": "skip", "jitter": "1h"}
    file = tmp_path / "schedules.yml"
    file.write_text(yaml.safe_dump({"owner": name, "schedules": {name: entry}}))
    plan = await schedules.plan(env.ops, schedules.read(file, env.ops.registry))
    assert not [each for each in await schedules.apply(env.ops, plan) if each.failure]
    handle = env.ops.client.get_schedule_handle(name)
    try:
        described = await handle.describe()
        assert described.schedule.policy.overlap == ScheduleOverlapPolicy.SKIP
        assert isinstance(described.schedule.action, ScheduleActionStartWorkflow)
        await schedules.trigger(env.ops, name)

        async def begun() -> bool:
            return says(server, "cat /srv/slow/begun 2>/dev/null || :") == "begun"

        await until_async(begun)
        for _ in range(2):
            await schedules.trigger(env.ops, name)

        async def skipped() -> bool:
            return (await handle.describe()).info.num_actions_skipped_overlap == 2

        await until_async(skipped)
        assert (await handle.describe()).info.num_actions == 1
        says(server, "touch /srv/slow/go")

        async def over() -> bool:
            return not (await handle.describe()).info.running_actions

        await until_async(over)
        assert says(server, "cat /srv/slow/begun") == "begun"
    finally:
        await handle.delete()


def test_what_was_due_while_the_server_was_down_is_made_up_for(tmp_path: Path) -> None:
    with killed_server(tmp_path / "server") as (address, kill, start):
        shell = Shell(tmp_path, {"TEMPORAL_ADDRESS": address})
        try:
            entry = {
                "workflow": "TestWorkflow",
                "input": "World",
                "every": "4s",
                "overlap": "skip",
                "catchup": "12h",
            }
            value = {"owner": "nightly", "schedules": {"nightly": entry}}
            (tmp_path / "schedules.yml").write_text(yaml.safe_dump(value))
            shell.start("worker").says("serves")
            assert shell("schedule", "apply", "schedules.yml", "--yes").status == 0

            def runs() -> list[dict[str, Any]]:
                found = shell(
                    "runs", "list", "--by", "schedule:nightly", "--json", "--limit", "100"
                )
                return list(found.json) if found.status == 0 else []

            def due() -> list[datetime]:
                """When they were due: that stands at the end of their ids."""
                ids = sorted(each["id"] for each in runs())
                return [datetime.fromisoformat(id[-20:].replace("Z", "+00:00")) for id in ids]

            def ended() -> bool:
                """One has ended, and none goes on: while one does, those that are due are left out."""
                return {each["status"] for each in runs()} == {"completed"}

            until(ended, lambda: "the first run")
            kill()
            down = datetime.now(UTC)
            time.sleep(10)
            up = datetime.now(UTC)
            start()

            def missed() -> list[datetime]:
                second = timedelta(seconds=1)
                return [each for each in due() if down + second < each < up - second]

            assert until(missed, lambda: "a run that was due meanwhile")
        finally:
            shell.end()
