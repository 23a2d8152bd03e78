"""`temporal-ops schedule`: what starts by itself and when, as a file declares it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal.cli.common import (
    DONE,
    FAILED,
    WRONG,
    AsJson,
    Exit,
    console,
    emit,
    execute,
    is_own,
    say,
    session,
    settings,
    wrong,
)
from temporal.cli.provision import DRIFT, coloured
from temporal.cli.tables import print_table
from temporal.cli.words import brief

if TYPE_CHECKING:
    from temporal.client import Ops
    from temporal.schedules import Listed, Plan

app = typer.Typer(
    help="Schedules: what starts by itself and when, as a file declares it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
File = Annotated[str, typer.Argument(help="the file of schedules: YAML, with owner and schedules")]
Adopt = Annotated[
    bool, typer.Option("--adopt", help="take over schedules of the same name that are not ours")
]
Name = Annotated[str, typer.Argument(help="name of the schedule, as `schedule list` shows it")]
Why = Annotated[str, typer.Option("--why", help="stands in its note")]


@app.command("plan", short_help="Show what would change; changes nothing.")
def plan_(
    file: File = "schedules.yml",
    adopt: Adopt = False,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="exit 2 if something would change")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would change for the server's schedules to be as declared; changes nothing.

    With --detailed-exitcode: 0 all is as declared, 1 it failed, 2 something would change.
    """
    from temporal.shared.errors import ConnectError, OpsError

    try:
        found = execute(_plan(file, adopt, as_json))
    except OpsError as error:
        if detailed and not isinstance(error, ConnectError):
            # 2 would say that it worked and found a difference.
            raise Exit(FAILED, str(error)) from None
        raise
    show(found, as_json)
    raise Exit(DRIFT if detailed and not found.empty else DONE)


async def _plan(file: str, adopt: bool, as_json: bool) -> Plan:
    from temporal import registry, schedules

    chosen = settings()
    declared = schedules.read(Path(file), registry.load(chosen))
    async with session(chosen, quiet=as_json) as ops:
        return await schedules.plan(ops, declared, adopt=adopt)


@app.command("apply", short_help="Show what would change, ask, and do it.")
def apply_(
    file: File = "schedules.yml",
    adopt: Adopt = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would change, ask, and do that. Schedules that are not ours are left alone."""
    if not yes and (as_json or not sys.stdin.isatty()):
        wrong("nobody can be asked here: give --yes to apply without")
    raise Exit(execute(_apply(file, adopt, yes, as_json)))


async def _apply(file: str, adopt: bool, yes: bool, as_json: bool) -> int:
    from temporal import registry, schedules

    chosen = settings()
    declared = schedules.read(Path(file), registry.load(chosen))
    async with session(chosen, quiet=as_json) as ops:
        found = await schedules.plan(ops, declared, adopt=adopt)
        if not as_json:
            show(found, as_json)
        if taken := found.of("taken"):
            names = ", ".join(step.name for step in taken)
            raise Exit(WRONG, f"nothing was changed: {names} there already, and not ours (--adopt)")
        work = found.of("create", "change", "remove")
        if work and not yes and not await asyncio.to_thread(_agreed, len(work)):
            say("nothing was changed")
            return FAILED
        done = await schedules.apply(ops, found)
        if work and is_own(ops) and not as_json:
            say("they are kept, and start something while `temporal-ops up` runs")
    failed = [each for each in done if each.failure]
    if as_json:
        emit({"planned": _as_json(found), "applied": [each.__dict__ for each in done]})
    else:
        for each in failed:
            say(f"error: {each.name}: {each.failure}")
        if work:
            print(f"{len(done) - len(failed)} done, {len(failed)} not.")
    return FAILED if failed else DONE


def _agreed(count: int) -> bool:
    what = "this schedule" if count == 1 else f"these {count} schedules"
    sys.stderr.write(f"\nBring {what} to what is declared? Only 'yes' is taken: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def show(found: Plan, as_json: bool) -> None:
    """A plan on standard output."""
    if as_json:
        emit(_as_json(found))
        return
    for line in coloured(found.render()):
        console().print(line, soft_wrap=True)


def _as_json(found: Plan) -> dict[str, Any]:
    return {
        "owner": found.owner,
        "changes": not found.empty,
        "summary": found.summary,
        "schedules": [
            {
                "name": step.name,
                "step": step.kind,
                "because": step.because,
                "before": step.before,
                "after": step.after,
            }
            for step in found.steps
        ],
    }


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the server's schedules, with whose they are and when each is due."""
    found = execute(_list())
    if as_json:
        emit(found)
        return
    if not found:
        print("no schedules")
        return
    rows = [
        (
            each.name,
            each.workflow,
            ", ".join(each.when),
            ("paused", "yellow") if each.paused else brief(each.next) if each.next else "-",
            each.owner or "-",
            each.note,
        )
        for each in found
    ]
    print_table(console(), ["name", "workflow", "when", "next", "owner", "note"], rows)


async def _list() -> list[Listed]:
    from temporal import schedules

    async with session(settings(), quiet=True) as ops:
        return await schedules.list_schedules(ops)


@app.command()
def pause(name: Name, why: Why = "", as_json: AsJson = False) -> None:
    """Let a schedule start nothing until it is unpaused; what runs goes on."""
    _tell("pause", name, why, as_json)


@app.command()
def unpause(name: Name, why: Why = "", as_json: AsJson = False) -> None:
    """Let a paused schedule start runs again."""
    _tell("unpause", name, why, as_json)


@app.command()
def trigger(name: Name, as_json: AsJson = False) -> None:
    """Start what a schedule starts, now."""
    _tell("trigger", name, "", as_json)


def _tell(what: str, name: str, why: str, as_json: bool) -> None:
    from temporal import schedules
    from temporal.client import started_by

    by = started_by(settings())

    async def act(ops: Ops) -> None:
        if what == "trigger":
            await schedules.trigger(ops, name)
        else:
            await (schedules.pause if what == "pause" else schedules.unpause)(ops, name, by, why)

    async def main() -> None:
        async with session(settings(), quiet=True) as ops:
            await act(ops)

    execute(main())
    if as_json:
        emit({"name": name, "asked": what, "by": by})
    elif what == "trigger":
        say(f"{name} is triggered; `temporal-ops runs list --by schedule:{name}` shows its runs")
    else:
        say(f"{name} is {what}d, by {by}")
