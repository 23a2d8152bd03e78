"""Schedules of a file, on a real server: created, compared, changed, removed; others left alone."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from temporal import schedules
from temporal.runs import list_runs
from temporal.schedules import Plan
from temporal.testing import Environment
from tests.temporal.support import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Files:
    """Files of schedules in one folder, under names that no other test has."""

    def __init__(self, env: Environment, folder: Path) -> None:
        self.env = env
        self.folder = folder
        self.tag = uuid.uuid4().hex[:6]
        self.owner = f"owner-{self.tag}"
        self.one, self.two = f"one-{self.tag}", f"two-{self.tag}"

    def write(self, entries: dict[str, Any], owner: str = "") -> Path:
        file = self.folder / f"{owner or 'schedules'}.yml"
        file.write_text(yaml.safe_dump({"owner": owner or self.owner, "schedules": entries}))
        return file

    async def plan(self, entries: dict[str, Any], owner: str = "", adopt: bool = False) -> Plan:
        declared = schedules.read(self.write(entries, owner), self.env.ops.registry)
        return await schedules.plan(self.env.ops, declared, adopt=adopt)

    async def apply(self, entries: dict[str, Any], owner: str = "", adopt: bool = False) -> Plan:
        plan = await self.plan(entries, owner, adopt)
        done = await schedules.apply(self.env.ops, plan)
        assert not [each for each in done if each.failure], done
        return plan

    def steps(self, plan: Plan) -> dict[str, str]:
        """What is to be done, with the schedules of this test."""
        return {each.name: each.kind for each in plan.steps if each.name.endswith(self.tag)}

    async def listed(self, *names: str) -> None:
        """Returns once the server lists just these of this test."""

        async def look() -> bool:
            found = await schedules.list_schedules(self.env.ops)
            return sorted(each.name for each in found if each.name.endswith(self.tag)) == [*names]

        await until_async(look)


@pytest_asyncio.fixture(loop_scope="session")
async def files(env: Environment, tmp_path: Path) -> AsyncIterator[Files]:
    made = Files(env, tmp_path)
    yield made
    for each in await schedules.list_schedules(env.ops):
        if each.name.endswith(made.tag):
            await env.ops.client.get_schedule_handle(each.name).delete()


def greet(name: str = "World", **more: Any) -> dict[str, Any]:
    when = {} if "cron" in more else {"every": "7d"}
    return {"workflow": "TestWorkflow", "input": name, **when, **more}


FULL = {
    "workflow": "TestWorkflow",
    "input": "World",
    "cron": ["*/7 1-5,22 * jan,mar-may mon-5", "0 4 1,15 * *", "30 5 * * 5-7", "@monthly"],
    "timezone": "Europe/Berlin",
    "jitter": "90s",
    "overlap": "buffer_one",
    "catchup": "2d",
    "pause_on_failure": True,
    "paused": True,
    "note": "says: hello",
}


async def test_what_was_applied_is_no_change(files: Files) -> None:
    both = {files.one: FULL, files.two: greet(offset="1h5m")}
    plan = await files.apply(both)
    assert files.steps(plan) == {files.one: "create", files.two: "create"}
    plan = await files.plan(both)
    assert plan.empty and files.steps(plan) == {files.one: "same", files.two: "same"}


@pytest.mark.parametrize(
    "change",
    [
        {"input": "Moon"},
        {"cron": "0 5 * * *"},
        {"timezone": "UTC"},
        {"jitter": "0s"},
        {"overlap": "skip"},
        {"catchup": "1h"},
        {"pause_on_failure": False},
        {"paused": False},
        {"note": ""},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_each_field_is_compared_and_changed(files: Files, change: dict[str, Any]) -> None:
    await files.apply({files.one: FULL})
    plan = await files.apply({files.one: {**FULL, **change}})
    assert files.steps(plan) == {files.one: "change"}
    assert any(row.startswith("+") for row in plan.steps[0].diff), plan.render()
    assert (await files.plan({files.one: {**FULL, **change}})).empty


async def test_a_change_by_hand_is_seen_and_undone(env: Environment, files: Files) -> None:
    await files.apply({files.one: greet()})

    def slower(there: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = there.description.schedule
        schedule.spec.intervals = [ScheduleIntervalSpec(timedelta(days=2))]
        return ScheduleUpdate(schedule)

    handle = env.ops.client.get_schedule_handle(files.one)
    await handle.update(slower)

    async def changed() -> Plan | None:
        plan = await files.plan({files.one: greet()})
        return None if plan.empty else plan

    plan = await until_async(changed)
    [step] = plan.of("change")
    assert step.because == "changed on the server by hand"
    assert "-- every 2d" in step.diff and "+- every 7d" in step.diff
    await files.apply({files.one: greet()})
    assert (await files.plan({files.one: greet()})).empty


async def test_who_pauses_it_is_not_overruled_unless_the_file_says_so(
    env: Environment, files: Files
) -> None:
    await files.apply({files.one: greet(note="hello")})
    await schedules.pause(env.ops, files.one, "ann", "lunch")

    async def rests() -> bool:
        found = await schedules.list_schedules(env.ops)
        return any(each.name == files.one and each.paused for each in found)

    await until_async(rests)
    assert (await files.plan({files.one: greet(note="hello")})).empty
    await files.apply({files.one: greet("Moon", note="hello")})
    described = await env.ops.client.get_schedule_handle(files.one).describe()
    assert described.schedule.state.paused
    assert described.schedule.state.note == "paused by ann: lunch"
    plan = await files.apply({files.one: greet("Moon", note="hello", paused=False)})
    assert files.steps(plan) == {files.one: "change"}
    described = await env.ops.client.get_schedule_handle(files.one).describe()
    assert not described.schedule.state.paused and described.schedule.state.note == "hello"


async def test_what_is_not_declared_any_more_is_removed_and_nothing_of_others(
    env: Environment, files: Files
) -> None:
    other = f"other-{files.tag}"
    hand = f"hand-{files.tag}"
    await files.apply({files.one: greet(), files.two: greet()})
    await files.apply({f"three-{files.tag}": greet()}, owner=other)
    await env.ops.client.create_schedule(hand, by_hand(env, hand))
    await files.listed(hand, files.one, f"three-{files.tag}", files.two)
    plan = await files.apply({files.two: greet()})
    assert files.steps(plan) == {
        files.one: "remove",
        files.two: "same",
        f"three-{files.tag}": "foreign",
        hand: "foreign",
    }
    assert f"three-{files.tag}  (of {other})" in plan.render()
    await files.listed(hand, f"three-{files.tag}", files.two)


def by_hand(env: Environment, name: str) -> Schedule:
    queue = env.ops.registry.workflow("TestWorkflow").queue
    action = ScheduleActionStartWorkflow("TestWorkflow", "by hand", id=name, task_queue=queue)
    return Schedule(action, ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(days=3))]))


async def test_one_of_that_name_is_not_taken_over_without_being_told(
    env: Environment, files: Files
) -> None:
    await env.ops.client.create_schedule(files.one, by_hand(env, files.one))
    plan = await files.plan({files.one: greet()})
    assert files.steps(plan) == {files.one: "taken"} and not plan.empty
    [done] = [each for each in await schedules.apply(env.ops, plan) if each.name == files.one]
    assert "not made from a file; --adopt" in done.failure
    described = await env.ops.client.get_schedule_handle(files.one).describe()
    assert described.schedule.spec.intervals[0].every == timedelta(days=3)
    await files.apply({files.one: greet()}, adopt=True)
    assert (await files.plan({files.one: greet()})).empty
    # Two files do not fight over it either.
    plan = await files.plan({files.one: greet()}, owner=f"other-{files.tag}")
    assert files.steps(plan) == {files.one: "taken"}
    assert f"{files.owner}'s" in plan.of("taken")[0].because


async def test_what_changed_since_it_was_shown_is_left_alone(
    env: Environment, files: Files
) -> None:
    await files.apply({files.one: greet("one")})
    shown = await files.plan({files.one: greet("two")})
    await files.apply({files.one: greet("three")})
    [done] = await schedules.apply(env.ops, shown)
    assert "changed since it was shown" in done.failure
    assert (await files.plan({files.one: greet("three")})).empty
    await files.listed(files.one)
    gone = await files.plan({})
    await files.apply({files.one: greet("four")})
    [done] = await schedules.apply(env.ops, gone)
    assert "changed since it was shown" in done.failure
    assert (await files.plan({files.one: greet("four")})).empty


async def test_its_runs_carry_what_others_carry(env: Environment, files: Files) -> None:
    await files.apply({files.one: greet("Schedule")})
    await schedules.trigger(env.ops, files.one)

    async def ran() -> Any:
        found = await list_runs(env.ops, by=f"schedule:{files.one}")
        return found if found and found[0].closed else None

    [run] = await until_async(ran)
    assert (run.workflow, run.status) == ("TestWorkflow", "completed")
    handle = env.ops.client.get_workflow_handle(run.id, result_type=str)
    assert "Schedule" in await handle.result()
    assert (await (await handle.describe()).memo())["started_by"] == f"schedule:{files.one}"


async def test_one_that_is_not_there_is_said(env: Environment, files: Files) -> None:
    with pytest.raises(schedules.NoSuchSchedule, match=r"no schedule 'nobody' .* schedule list"):
        await schedules.trigger(env.ops, "nobody")
    with pytest.raises(schedules.NoSuchSchedule):
        await schedules.pause(env.ops, "nobody", "ann")
