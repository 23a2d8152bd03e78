"""A command of one's own, run on a host once. On this machine, through the setsid way."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from converge import abort, run
from converge.errors import Aborted, InvalidResources, RunMismatch, SecretUnresolved
from tests.converge.test_userland import userland  # noqa: F401 - a fixture


async def test_what_it_said_and_what_it_ended_with(scratch, userland):  # noqa: F811
    ran = await run(scratch.host, "echo out; echo err >&2; printf 'no newline'; exit 3")
    assert (ran.ending, ran.status, ran.ok, ran.attached) == ("exited", 3, False, False)
    assert (ran.stdout.text, ran.stderr.text) == ("out\nno newline", "err\n")
    assert (await run(scratch.host, "true")).ok


@pytest.mark.parametrize("said", ["", "\n", "\n\nx\n\n", "a\0b", "ä € \U0001f600\n", "x" * 65536])
async def test_output_comes_back_as_it_was(scratch, said):
    (scratch.path / "said").write_text(said)
    ran = await run(scratch.host, f"cat '{scratch.path}/said'")
    assert (ran.stdout.text, ran.stdout.cut) == (said, 0)


@pytest.mark.parametrize("size", [65537, 300_000, 2_000_000])
async def test_of_a_long_output_both_ends_are_kept(scratch, userland, size):  # noqa: F811
    body = "".join(f"{number:09d}\n" for number in range(size // 10 + 1))[:size]
    (scratch.path / "said").write_text(body)
    said = (await run(scratch.host, f"cat '{scratch.path}/said' >&2")).stderr
    assert (said.text, said.rest) == (body[:32768], body[-32768:])
    assert said.cut == size - 65536 and f"[... {said.cut} bytes not kept ...]" in said.render()


async def test_environment_directory_and_what_is_refused(scratch):
    (scratch.path / "it's here").mkdir()
    ran = await run(
        scratch.host,
        'printf "%s|" "$A" "$B"; pwd; tr "\\0" "\\n" </proc/$$/cmdline',
        cwd=str(scratch.path / "it's here"),
        environment={"A": "a 'quoted' $(value)"},
        secrets_environment={"B": "env://B"},
        secrets=lambda ref: b"hunter2-hunter2",
    )
    first, _, rest = ran.stdout.text.partition("\n")
    assert first == f"a 'quoted' $(value)|(secret)|{scratch.path}/it's here"
    assert b"hunter2" not in rest.encode() and not list(scratch.state.glob("volatile/*"))
    with pytest.raises(InvalidResources, match="empty"):
        await run(scratch.host, " ")
    with pytest.raises(InvalidResources, match="no name of a variable"):
        await run(scratch.host, "true", environment={"A-B": "x"})
    with pytest.raises(SecretUnresolved, match="secrets="):
        await run(scratch.host, "true", secrets_environment={"B": "env://B"})


async def test_no_half_of_a_secret_is_left_where_an_output_was_cut(scratch):
    secret = "s3cret" * 20
    body = "x" * (32768 - 60) + secret + "y" * 100_000 + secret + "z" * (32768 - 60)
    (scratch.path / "said").write_text(body)
    ran = await run(
        scratch.host,
        f"cat '{scratch.path}/said'",
        secrets_environment={"B": "env://B"},
        secrets=lambda ref: secret.encode(),
    )
    assert "s3cret" not in ran.stdout.text + ran.stdout.rest
    kept = len(ran.stdout.text) + len(ran.stdout.rest)
    assert ran.stdout.cut == len(body) - kept


async def test_it_ends_with_its_time_and_so_does_what_it_left_behind(scratch, userland):  # noqa: F811
    ran = await run(scratch.host, "echo begun; sleep 600", within=1)
    assert (ran.ending, ran.ok, ran.stdout.text) == ("timed out", False, "begun\n")
    ran = await run(scratch.host, f"sleep 600 & echo $! >'{scratch.path}/left'; echo done")
    assert ran.ok and ran.stdout.text == "done\n"
    left = int((scratch.path / "left").read_text())
    await scratch.until(lambda: not alive(left), "what was left is gone")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_same_run_is_never_begun_twice(scratch, userland):  # noqa: F811
    text = f"echo once >>'{scratch.path}/log'; cat '{scratch.path}/log'"
    first, second = await asyncio.gather(*(run(scratch.host, text, run_id="r1") for _ in range(2)))
    third = await run(scratch.host, text, run_id="r1")
    assert [each.stdout.text for each in (first, second, third)] == ["once\n"] * 3
    assert sorted([first.attached, second.attached]) == [False, True] and third.attached
    with pytest.raises(RunMismatch, match="r1"):
        await run(scratch.host, "true", run_id="r1")


GATE = "echo begun >>'{path}/log'; until [ -e '{path}/go' ]; do sleep 0.05; done; echo went"


async def begun(scratch, run_id: str = "r1"):
    """A controller of its own that waits for a command, which waits for a file."""
    text = GATE.format(path=scratch.path)
    code = (
        f"host = Host.local(state_dir={str(scratch.state)!r})\n"
        f"print(asyncio.run(run(host, {text!r}, run_id={run_id!r})))\n"
    )
    controller = scratch.controller(code)
    await scratch.until(lambda: (scratch.path / "log").exists(), "the command has begun")
    return controller, text


async def test_a_killed_controller_is_followed_by_one_that_reads_on(scratch):
    controller, text = await begun(scratch)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    again = asyncio.create_task(run(scratch.host, text, run_id="r1"))
    (scratch.path / "go").touch()
    ran = await again
    assert ran.ok and ran.attached and ran.stdout.text == "went\n"
    assert (scratch.path / "log").read_text() == "begun\n"


async def test_what_was_stopped_half_way_is_unknown_and_not_begun_again(scratch):
    controller, text = await begun(scratch)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    os.killpg(scratch.pid("r1"), signal.SIGKILL)
    ran = await run(scratch.host, text, run_id="r1")
    (scratch.path / "go").touch()  # its own process group lives on here; a unit would take it along
    assert (ran.ending, ran.status, ran.ok) == ("unknown", None, False)
    assert (scratch.path / "log").read_text() == "begun\n"


async def test_abort_ends_it_and_what_it_started(scratch, userland):  # noqa: F811
    controller, text = await begun(scratch)
    assert await abort(scratch.host, "r1") is True
    assert b"Aborted" in controller.communicate()[0]
    with pytest.raises(Aborted):
        await run(scratch.host, text, run_id="r1")
    (scratch.path / "go").touch()
    assert b"went" not in scratch.journal("r1")
    assert not list(scratch.state.glob("volatile/*"))


async def test_old_runs_are_cleared_up_but_not_those_of_today_or_alive(scratch):
    controller, _ = await begun(scratch, "alive")
    runs = scratch.state / "runs"
    for number in range(60):
        (runs / f"old{number}").mkdir()
        os.utime(runs / f"old{number}", (number, number))
    for number in range(60):
        (runs / f"today{number}").mkdir()
    os.utime(runs / "alive", (0, 0))
    await run(scratch.host, "true", run_id="new")
    left = {path.name for path in runs.iterdir()}
    assert left == {"alive", "new", *(f"today{number}" for number in range(60))}
    (scratch.path / "go").touch()
    assert b"went" in controller.communicate()[0]
