"""A run on a host outlives whoever started it. On this machine, through the setsid way."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from converge import File, Progress, abort, apply, plan
from converge.errors import Aborted, Locked, PlanOutdated, RunMismatch


def writing(scratch, run: str) -> str:
    """Code of a controller that writes one file."""
    return (
        f"host = Host.local(state_dir={str(scratch.state)!r})\n"
        f"wanted = [File({str(scratch.path / 'out')!r}, content='x')]\n"
        f"asyncio.run(apply(host, wanted, run_id={run!r}))\n"
    )


@pytest.fixture
async def stuck(scratch, slow_disk):
    """A run "r1" whose unit waits in its first step, and the controller that started it."""
    controller = scratch.controller(writing(scratch, "r1"), **slow_disk.environment)
    await scratch.until(lambda: slow_disk.waits == 1, "the first step reached the slow disk")
    return controller


async def test_controller_killed_then_the_same_run_is_read_on(scratch, slow_disk, stuck):
    os.killpg(stuck.pid, signal.SIGKILL)
    stuck.wait()
    seen: list[Progress] = []
    wanted = [File(str(scratch.path / "out"), content="x")]
    again = asyncio.create_task(apply(scratch.host, wanted, run_id="r1", on_progress=seen.append))
    unit = scratch.pid("r1")
    await scratch.until(lambda: seen, "what it works at is told before it is done")
    slow_disk.let_through()
    report = await again
    assert report.attached and report.ok and report.changed and report.passes == 1
    assert scratch.pid("r1") == unit, "a second unit was started"
    assert b" start 0" in scratch.journal("r1") and not scratch.journal("r1", 2)
    assert [(p.resource, p.done, p.working) for p in seen] == [
        (wanted[0].id, 0, True),
        (wanted[0].id, 1, False),
    ]


async def test_a_run_that_ended_hands_back_its_result_and_is_not_run_again(scratch):
    path = scratch.path / "out"
    wanted = [File(str(path), content="x", mode="0640")]
    first = await apply(scratch.host, wanted, run_id="r1")
    path.unlink()
    again = await apply(scratch.host, wanted, run_id="r1")
    assert not path.exists()
    assert again.attached and again.outcomes == first.outcomes
    assert again.outcomes[0].change is not None and again.outcomes[0].change.action == "create"


async def test_a_run_id_is_not_taken_for_other_resources(scratch):
    await apply(scratch.host, [File(str(scratch.path / "a"), content="x")], run_id="r1")
    with pytest.raises(RunMismatch, match="r1"):
        await apply(scratch.host, [File(str(scratch.path / "b"), content="x")], run_id="r1")
    assert not (scratch.path / "b").exists()


async def test_two_controllers_the_second_is_told_who_holds_the_host(scratch, slow_disk, stuck):
    other = [File(str(scratch.path / "other"), content="y")]
    with pytest.raises(Locked, match="run r1") as caught:
        await apply(scratch.host, other, run_id="r2", lock_wait=0)
    assert caught.value.retryable and "process" in caught.value.holder
    assert not (scratch.path / "other").exists()
    slow_disk.let_through()
    # The refused run did not count: the same id may try again, and waits this time.
    report = await apply(scratch.host, other, run_id="r2", lock_wait=30)
    assert report.ok and report.changed


async def test_what_was_planned_before_another_run_ended_is_planned_again(
    scratch, slow_disk, stuck
):
    path = scratch.path / "out"
    second = asyncio.create_task(
        apply(scratch.host, [File(str(path), content="x")], run_id="r2", lock_wait=60)
    )
    await scratch.until(lambda: b" plan" in scratch.journal("r2"), "the second run waits")
    slow_disk.let_through()
    report = await second
    assert b" end stale" in scratch.journal("r2")
    assert report.ok and not report.changed and report.passes == 0


async def test_unit_killed_in_mid_step_then_another_pass_of_the_same_run(scratch, slow_disk, stuck):
    os.killpg(stuck.pid, signal.SIGKILL)
    stuck.wait()
    os.killpg(scratch.pid("r1"), signal.SIGKILL)
    slow_disk.let_through()
    wanted = [File(str(scratch.path / "out"), content="x")]
    report = await apply(scratch.host, wanted, run_id="r1")
    assert report.ok and report.changed and report.attached
    assert b" end ok" not in scratch.journal("r1", 1)
    assert b" end ok" in scratch.journal("r1", 2)
    assert sorted(p.name for p in scratch.path.iterdir()) == ["out", "slow", "state"]


async def test_abort_stops_the_unit_and_spends_the_run_id(scratch, slow_disk, stuck):
    assert await abort(scratch.host, "r1") is True
    assert await abort(scratch.host, "r1") is False
    assert b" end aborted" in scratch.journal("r1")
    with pytest.raises(Aborted, match="r1"):
        await apply(scratch.host, [File(str(scratch.path / "out"), content="x")], run_id="r1")
    assert not (scratch.path / "out").exists()
    assert b"Aborted" in stuck.communicate()[0]


async def test_cancelling_detaches_and_the_unit_goes_on(scratch, slow_disk, monkeypatch):
    monkeypatch.setenv("PATH", slow_disk.environment["PATH"])
    path = scratch.path / "out"
    wanted = [File(str(path), content="x")]
    task = asyncio.create_task(apply(scratch.host, wanted, run_id="r1"))
    await scratch.until(lambda: slow_disk.waits == 1, "the first step reached the slow disk")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not path.exists()
    slow_disk.let_through()
    await scratch.until(lambda: b" end ok" in scratch.journal("r1"), "the unit ended by itself")
    assert path.read_text() == "x"


async def test_script_with_secrets_is_gone_as_soon_as_the_unit_runs(scratch, slow_disk):
    code = (
        f"host = Host.local(state_dir={str(scratch.state)!r})\n"
        f"wanted = [File({str(scratch.path / 'out')!r}, secret='env://S')]\n"
        "asyncio.run(apply(host, wanted, run_id='r1', secrets=lambda ref: b'hunter2-hunter2'))\n"
    )
    scratch.controller(code, **slow_disk.environment)
    await scratch.until(lambda: slow_disk.waits == 1, "the first step reached the slow disk")
    assert list(scratch.state.glob("volatile/*")) == [scratch.state / "volatile/r1.1"]
    assert not list(scratch.state.rglob("script"))


async def test_plan_is_applied_only_while_it_holds(scratch):
    path = scratch.path / "out"
    path.write_text("old\n")
    wanted = await plan(scratch.host, [File(str(path), content="new\n")])
    path.write_text("moved\n")
    with pytest.raises(PlanOutdated, match="out"):
        await apply(scratch.host, wanted)
    assert path.read_text() == "moved\n"
    fresh = await plan(scratch.host, [File(str(path), content="new\n")])
    same = type(fresh).model_validate_json(fresh.model_dump_json())
    assert same == fresh and (await apply(scratch.host, same)).changed


async def test_a_digest_is_as_good_as_the_plan(scratch):
    path = scratch.path / "out"
    wanted = [File(str(path), content="new\n")]
    seen = (await plan(scratch.host, wanted)).digest
    with pytest.raises(ValueError, match="too short"):
        await apply(scratch.host, wanted, expect=seen[:31])
    path.write_text("moved\n")
    with pytest.raises(PlanOutdated, match="1 to change"):
        await apply(scratch.host, wanted, expect=seen)
    assert path.read_text() == "moved\n"
    path.unlink()
    assert (await apply(scratch.host, wanted, expect=seen[:32])).changed


async def test_many_runs_leave_the_last_forty(scratch):
    runs = scratch.state / "runs"
    for number in range(60):
        (runs / f"old{number}").mkdir(parents=True)
        os.utime(runs / f"old{number}", (number, number))
    await apply(scratch.host, [File(str(scratch.path / "out"), content="x")], run_id="new")
    left = {p.name for p in runs.iterdir()}
    assert len(left) == 40 and {"new", "old59"} <= left and "old0" not in left


async def test_the_same_run_started_twice_at_once_is_one_unit(scratch, slow_disk, monkeypatch):
    monkeypatch.setenv("PATH", slow_disk.environment["PATH"])
    wanted = [File(str(scratch.path / "out"), content="x")]
    both = [asyncio.create_task(apply(scratch.host, wanted, run_id="r1")) for _ in range(2)]
    await scratch.until(lambda: slow_disk.waits == 1, "the first step reached the slow disk")
    slow_disk.let_through()
    first, second = await asyncio.gather(*both)
    assert first.ok and first.changed and second.outcomes == first.outcomes
    assert scratch.journal("r1").count(b" start 0") == 1 and not scratch.journal("r1", 2)


async def test_a_link_put_in_the_way_after_the_probe_is_not_followed(
    scratch, slow_disk, monkeypatch
):
    monkeypatch.setenv("PATH", slow_disk.environment["PATH"])
    target, link = scratch.path / "target", scratch.path / "link"
    target.write_text("mine")
    wanted = [File(str(scratch.path / "out"), content="x"), File(str(link), content="theirs")]
    run = asyncio.create_task(apply(scratch.host, wanted))
    await scratch.until(lambda: slow_disk.waits == 1, "the first step reached the slow disk")
    link.symlink_to(target)
    slow_disk.let_through()
    report = await run
    assert [o.status for o in report.outcomes] == ["changed", "failed"], report.render()
    assert "symbolic link" in report.outcomes[1].output
    assert link.is_symlink() and target.read_text() == "mine"
