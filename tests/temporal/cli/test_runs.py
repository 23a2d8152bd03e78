"""`runs list` and `runs show`: who started what, and what it did."""

from __future__ import annotations

import dataclasses
import json
import uuid

import pytest

from temporal import config
from temporal.cli.common import DONE, WRONG
from temporal.runs import Run, list_runs
from temporal.testing import Environment
from tests.temporal.cli.support import Shell, Terminal, until
from tests.temporal.support import until_async

NAMES = ["ann", '"', "\\", "o'brien", 'the "boss"', "back\\slash", "日本 (a OR b)"]


def listed(ops: Shell, *arguments: str, want: int) -> list[dict[str, object]]:
    """The list, once visibility has caught up with what was started."""
    rows: list[dict[str, object]] = []

    def look() -> bool:
        done = ops("runs", "list", *arguments, "--json")
        assert done.status == DONE, done.err
        rows[:] = done.json
        return len(rows) == want

    until(look, lambda: f"{want} rows, but: {rows}")
    return rows


@pytest.mark.asyncio(loop_scope="session")
async def test_by_finds_names_with_any_quotes(env: Environment) -> None:
    unique = uuid.uuid4().hex[:6]
    for name in NAMES:
        settings = config.load({"TEMPORAL_STARTED_BY": f"{unique} {name}"})
        await dataclasses.replace(env.ops, settings=settings).start("TestWorkflow", "x")
    for name in NAMES:

        async def found(who: str = f"{unique} {name}") -> list[Run]:
            return await list_runs(env.ops, by=who, workflow="TestWorkflow")

        [run] = await until_async(found)
        assert run.started_by == f"{unique} {name}"


def test_workflow_by_query_and_limit_go_together(ops: Shell) -> None:
    me = ops.env["TEMPORAL_STARTED_BY"]
    for workflow in ("TestWorkflow", "TestWorkflow", "Chain"):
        ops("run", workflow, *(["-i", '"x"'] if workflow == "TestWorkflow" else []))
    listed(ops, "--by", me, want=3)
    listed(ops, "--by", me, "--workflow", "Chain", want=1)
    query = 'ExecutionStatus = "Failed" OR ExecutionStatus = "Completed"'
    listed(ops, "--by", me, "--workflow", "TestWorkflow", "--query", query, want=2)
    listed(ops, "--by", me, "--query", 'ExecutionStatus = "Failed"', want=1)
    newest = listed(ops, "--by", me, "--limit", "2", want=2)
    assert newest == sorted(newest, key=lambda row: str(row["started"]), reverse=True)
    assert ops("runs", "list", "--by", "nobody at all").out == "no runs\n"


def test_a_query_that_is_none(ops: Shell) -> None:
    done = ops("runs", "list", "--query", 'Nope = "x')
    assert (done.status, done.out) == (WRONG, "") and 'Nope = "x' in done.err
    unknown = ops("runs", "list", "--query", 'NoSuchAttribute = "x"')
    assert unknown.status == WRONG and "NoSuchAttribute" in unknown.err


@pytest.mark.parametrize("columns", [80, 120])
def test_a_list_stays_one_line_a_run_and_ids_stay_whole(ops: Shell, columns: int) -> None:
    long = "w" * 30 + "-" + "0123456789" * 3
    ops("run", "TestWorkflow", "-i", '"x"', "--id", long)
    listed(ops, "--by", ops.env["TEMPORAL_STARTED_BY"], want=1)
    terminal = Terminal(
        ops, "runs", "list", "--by", ops.env["TEMPORAL_STARTED_BY"], columns=columns
    )
    assert terminal.ends() == DONE
    header, row = terminal.text.strip().split("\n")
    assert header.startswith("id ") and row.startswith(f"{long}  completed  ")


def test_show_of_a_run_in_progress_and_of_a_failed_one(ops: Shell) -> None:
    go = ops.folder / "go"
    run_id = ops("run", "Patient", "-i", f'"{go}"', "--no-wait").out.strip()
    until(
        lambda: "web1 1/3 waiting" in ops("runs", "show", run_id).out,
        lambda: ops("runs", "show", run_id).out,
    )
    shown = ops("runs", "show", run_id).out
    assert f"{run_id}  Patient  running" in shown
    assert f"by {ops.env['TEMPORAL_STARTED_BY']}, for " in shown
    assert f"input    {go}" in shown
    go.write_text("")
    until(
        lambda: "result   waited" in ops("runs", "show", run_id).out,
        lambda: ops("runs", "show", run_id).out,
    )
    failed = json.loads(ops("run", "Chain", "--json").out)["id"]
    shown = ops("runs", "show", failed).out
    assert shown.count("No space left on device") == 1, "a step repeats nothing of the whole"
    assert "Traceback" not in shown
