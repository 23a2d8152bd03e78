"""`temporal-ops runs`: which runs there are, what each did, and how to end one."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from temporal.cli.common import (
    FAILED,
    AsJson,
    Exit,
    console,
    emit,
    execute,
    say,
    session,
    settings,
    wrong,
)
from temporal.cli.plans import asked, show_awaited
from temporal.cli.showing import STYLES, print_report
from temporal.cli.tables import print_table
from temporal.cli.words import brief, took

if TYPE_CHECKING:
    from temporal.client import Ops
    from temporal.runs import Run, RunReport
    from temporal.runs.approving import Awaited

app = typer.Typer(
    help="Runs of workflows: list, show, cancel, terminate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
RunId = Annotated[str, typer.Argument(help="workflow id, as `runs list` shows it")]


@app.command("list")
def list_(
    query: Annotated[
        str, typer.Option(help="Temporal visibility query, as in 'ExecutionStatus=\"Running\"'")
    ] = "",
    workflow: Annotated[str | None, typer.Option(help="only of this workflow")] = None,
    by: Annotated[str | None, typer.Option(help="only started by this person")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="at most so many")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first, with who started what."""
    found = execute(_list(query, limit, workflow, by))
    if as_json:
        emit(found)
        return
    if not found:
        print("no runs")
        return
    rows = [
        (
            run.id,
            (run.status, STYLES.get(run.status, "")),
            brief(run.started),
            took(run.seconds),
            run.started_by,
            run.workflow,
        )
        for run in found
    ]
    print_table(console(), ["id", "status", "started", "took", "by", "workflow"], rows)


async def _list(query: str, limit: int, workflow: str | None, by: str | None) -> list[Run]:
    from temporal.runs import list_runs

    async with session(settings(), quiet=True) as ops:
        return await list_runs(ops, query, limit, workflow=workflow, by=by)


@app.command(short_help="Show what a run did, and how it ended.")
def show(run_id: RunId, as_json: AsJson = False) -> None:
    """Show what a run was given, what it did step by step, and how it ended."""
    found = execute(_show(run_id))
    if as_json:
        emit(found)
    else:
        print_report(console(), found)


async def _show(run_id: str) -> RunReport:
    from temporal.runs import report

    async with session(settings(), quiet=True) as ops:
        return await report(ops, run_id)


@app.command(short_help="Follow a run that is under way to its end.")
def watch(run_id: RunId, as_json: AsJson = False) -> None:
    """Follow a run to its end, as `run` does; its result goes to standard output.

    Ctrl-C asks whether to cancel the run or to leave it running.
    """
    from temporal.cli.watch import watch_to_end

    raise Exit(execute(watch_to_end(settings(), run_id, as_json)))


@app.command()
def cancel(run_id: RunId, as_json: AsJson = False) -> None:
    """Ask a run to end; it may clean up first."""
    from temporal import runs

    execute(_act(lambda ops: runs.cancel(ops, run_id)))
    if as_json:
        emit({"id": run_id, "asked": "cancel"})
    else:
        say(f"asked {run_id} to cancel; `temporal-ops runs show {run_id}` says when it has ended")


@app.command(short_help="End a run at once; nothing is cleaned up.")
def terminate(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="why; stands in its history")] = "",
    as_json: AsJson = False,
) -> None:
    """End a run at once: nothing is cleaned up, and what it began on a host goes on there."""
    from temporal import runs
    from temporal.client import started_by

    chosen = settings()
    why = f"{reason or 'no reason given'} (by {started_by(chosen)})"
    execute(_act(lambda ops: runs.terminate(ops, run_id, why)))
    if as_json:
        emit({"id": run_id, "asked": "terminate"})
    else:
        say(f"terminated {run_id}")


Why = Annotated[str, typer.Option("--why", help="stands in its history")]


@app.command(short_help="Begin nothing new; what has begun goes on.")
def pause(run_id: RunId, why: Why = "", as_json: AsJson = False) -> None:
    """Let a fleet begin nothing new until it is resumed; what has begun goes on to its end."""
    _tell(run_id, "pause", why, as_json)


@app.command(short_help="Let a paused run go on.")
def resume(run_id: RunId, why: Why = "", as_json: AsJson = False) -> None:
    """Let a paused run go on."""
    _tell(run_id, "resume", why, as_json)


@app.command(short_help="Begin nothing new, and end as failed.")
def abort(run_id: RunId, why: Why = "", as_json: AsJson = False) -> None:
    """Let a fleet begin nothing new and end as failed; what has begun goes on to its end."""
    _tell(run_id, "abort", why, as_json)


@app.command(short_help="Show the plans that wait for approval.")
def plan(run_id: RunId, as_json: AsJson = False) -> None:
    """Show what waits for approval; hosts on which the same would change are shown as one."""
    found = execute(_awaited(run_id))
    if as_json:
        emit(found)
    else:
        show_awaited(found)


@app.command(short_help="Approve what a run waits for.")
def approve(
    run_id: RunId,
    plan: Annotated[
        str | None,
        typer.Option(help="digest of what is approved, as `runs plan` shows it, or its beginning"),
    ] = None,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Approve exactly what was shown. If the run waits for something else by now, it is refused.

    Without --plan it is shown first, and asked for.
    """
    if plan is None:
        if as_json or not sys.stdin.isatty():
            wrong("nobody can be asked here: give --plan DIGEST, as `runs plan` shows it")
        found = execute(_awaited(run_id))
        show_awaited(found)
        if not asked("Approve it?"):
            say("nothing was approved")
            raise Exit(FAILED)
        plan = found.waiting.plan
    elif not re.fullmatch("[0-9a-f]{12,64}", plan):
        wrong(f"--plan {plan}: is the digest of a plan, its first 12 hex digits at least")
    _tell(run_id, "approve", why, as_json, plan=plan)


async def _awaited(run_id: str) -> Awaited:
    from temporal.runs.approving import awaited

    async with session(settings(), quiet=True) as ops:
        return await awaited(ops, run_id)


def _tell(run_id: str, what: str, why: str, as_json: bool, **more: str) -> None:
    from temporal import runs
    from temporal.client import started_by

    by = started_by(settings())
    execute(_act(lambda ops: runs.tell(ops, run_id, what, by, why, **more)))
    if as_json:
        emit({"id": run_id, "asked": what, "by": by, **more})
    else:
        say(f"{run_id} has heard it: {what}, by {by}")


@app.command(short_help="Show what a command said on each host.")
def output(run_id: RunId, as_json: AsJson = False) -> None:
    """Show again what the command of a run of `exec` said on each host; so far, if it goes on."""
    execute(_output(run_id, as_json))


async def _output(run_id: str, as_json: bool) -> None:
    from temporal.cli.outputs import show_outputs
    from temporal.runs.outputs import command_run

    async with session(settings(), quiet=True) as ops:
        await show_outputs(ops, await command_run(ops, run_id), as_json)


async def _act(call: Callable[[Ops], Awaitable[None]]) -> None:
    async with session(settings(), quiet=True) as ops:
        await call(ops)
