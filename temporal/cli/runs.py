"""`temporal-ops runs`: which runs there are, what each did, and how to end one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal.cli.common import AsJson, console, emit, execute, say, session, settings

if TYPE_CHECKING:
    from rich.console import Console

    from temporal.runs import Run, RunReport

app = typer.Typer(
    help="Runs of workflows: list, show, cancel, terminate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
RunId = Annotated[str, typer.Argument(help="workflow id, as `runs list` shows it")]
STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timed out": "red",
    "terminated": "yellow",
    "cancelled": "yellow",
}


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
    parts = [f"({query})"] if query else []
    if workflow:
        parts.append(f"WorkflowType = {_quoted(workflow)}")
    if by:
        parts.append(f"OpsStartedBy = {_quoted(by)}")
    found = execute(_list(" AND ".join(parts), limit))
    if as_json:
        emit(found)
        return
    if not found:
        print("no runs")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("id", "status", "started", "took"):
        table.add_column(name, no_wrap=True, overflow="ignore")  # an id is there to be copied
    table.add_column("by", overflow="ellipsis", no_wrap=True)
    table.add_column("workflow", overflow="ellipsis", no_wrap=True)
    for run in found:
        table.add_row(
            run.id,
            f"[{STYLES.get(run.status, 'white')}]{run.status}[/]",
            brief(run.started),
            took(run.seconds),
            run.started_by,
            run.workflow,
        )
    console().print(table)


async def _list(query: str, limit: int) -> list[Run]:
    from temporal.runs import list_runs

    async with session(settings(), quiet=True) as ops:
        return await list_runs(ops, query, limit)


@app.command()
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


@app.command()
def cancel(run_id: RunId) -> None:
    """Ask a run to end; it may clean up first."""
    from temporal import runs

    execute(_act(lambda ops: runs.cancel(ops, run_id)))
    say(f"asked {run_id} to cancel")


@app.command()
def terminate(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="why; stands in its history")] = "",
) -> None:
    """End a run at once; its code does not run again, and nothing is cleaned up."""
    from temporal import runs
    from temporal.client import started_by

    chosen = settings()
    why = f"{reason or 'no reason given'} (by {started_by(chosen)})"
    execute(_act(lambda ops: runs.terminate(ops, run_id, why)))
    say(f"terminated {run_id}")


async def _act(call: Any) -> None:
    async with session(settings(), quiet=True) as ops:
        await call(ops)


def print_report(out: Console, found: RunReport) -> None:
    """A run's head, steps and outcome, for people."""
    from rich.markup import escape
    from rich.table import Table

    run = found.run
    style = STYLES.get(run.status, "white")
    out.print(f"[bold]{escape(run.id)}[/]  {run.workflow}  [{style}]{run.status}[/]")
    out.print(f"started  {clock(run.started)} by {run.started_by or '-'}, took {took(run.seconds)}")
    out.print(f"run id   {run.run_id}   queue {run.queue}   {run.events} events")
    for value in found.input:
        out.print(f"input    {escape(_short(value))}")
    if found.steps:
        table = Table(box=None, pad_edge=False)
        for name in ("at", "step", "status", "took", "tries"):
            table.add_column(name, no_wrap=True)
        table.add_column("detail", overflow="fold")
        for step in found.steps:
            seconds = (step.ended - step.started).total_seconds() if step.ended else None
            table.add_row(
                f"+{(step.started - run.started).total_seconds():.1f}s",
                step.name,
                f"[{STYLES.get(step.status, 'white')}]{step.status}[/]",
                took(seconds) if seconds is not None else "",
                str(step.attempts),
                escape(step.detail if step.status != "completed" else _short(step.detail, 120)),
            )
        out.print(table)
    if run.stuck:
        out.print(f"[red]stuck[/]    {escape(run.stuck)}")
    if found.failure:
        out.print(f"[red]failed[/]   {escape(found.failure)}")
    if found.result is not None:
        out.print(f"result   {escape(_short(found.result, 2000))}")


def clock(when: datetime) -> str:
    """Local date and time, to the second."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def brief(when: datetime) -> str:
    """Local time of day, with the date where it is not today's."""
    local = when.astimezone()
    today = local.date() == datetime.now(local.tzinfo).date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def took(seconds: float) -> str:
    """A duration in the two units that matter.

    >>> took(0.52), took(75), took(7300)
    ('0.5s', '1m15s', '2h1m')
    """
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"


def _short(value: Any, limit: int = 400) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
