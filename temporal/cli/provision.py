"""`temporal-ops provision`: what would change on servers, and to bring them to it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
    say,
    session,
    settings,
    wrong,
)
from temporal.cli.plans import asked, coloured, print_plan

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.config import Settings
    from temporal.shared.specs.automation import Planned, ServerSpec

DRIFT = 2
AT_A_TIME = 20
"""Servers planned at a time from one command."""

__all__ = ["DRIFT", "app", "coloured", "targets"]
app = typer.Typer(
    help="What would change on servers, and to bring them to it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
File = Annotated[str, typer.Argument(help="the spec: YAML, with host and resources")]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", help="instead of the spec's host: user@address:port, lab:NAME, local"),
]
InventoryFile = Annotated[
    str | None,
    typer.Option("--inventory", "-i", help="where --limit finds hosts: ours or Ansible's"),
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", "-l", help="hosts of the inventory: web,&prod,!web3 or web*.org"),
]


@app.command(short_help="Show what would change; changes nothing.")
def plan(
    file: File,
    host: Hosts = None,
    inventory: InventoryFile = None,
    limit: Limit = None,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="exit 2 if something would change")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would change on the servers; changes nothing there.

    With --detailed-exitcode: 0 all is as declared, 1 it failed, 2 something would change.
    """
    from temporal.shared.errors import ConnectError, OpsError

    try:
        specs = targets(file, host or [], inventory, limit)
        raise Exit(execute(_plan(settings(), specs, as_json, detailed)))
    except Exit as end:
        if detailed and end.status == WRONG and end.message:
            # 2 would say that it worked and found drift.
            raise Exit(FAILED, end.message) from None
        raise
    except OpsError as error:
        if detailed and not isinstance(error, ConnectError):
            raise Exit(FAILED, str(error)) from None
        raise


@app.command(short_help="Show what would change, ask, and do it.")
def apply(
    file: File,
    host: Hosts = None,
    inventory: InventoryFile = None,
    limit: Limit = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would change on the servers, ask, and bring them to it: one by ProvisionServer,
    several by one run of ProvisionFleet.

    What was shown is what is done: a server that has changed meanwhile is left alone; of several
    it is shown and asked for again.
    """
    specs = targets(file, host or [], inventory, limit)
    if not yes and (as_json or not sys.stdin.isatty()):
        wrong("nobody can be asked here: give --yes to apply without")
    raise Exit(execute(_apply(settings(), specs, yes, as_json)))


def targets(
    file: str, hosts: Sequence[str], inventory: str | None, limit: str | None
) -> list[ServerSpec]:
    """The spec once for each server that it is for.

    Raises:
        SpecError: it does not parse or fit; names file and line.
    """
    from temporal.shared.errors import SpecError
    from temporal.shared.specs import reading
    from temporal.shared.specs.automation import ServerSpec
    from temporal.shared.specs.automation.server import NOT_THERE

    if limit is not None and inventory is None:
        wrong("--limit chooses hosts of an inventory: give --inventory FILE as well")
    path = Path(file)
    if inventory is not None:
        if hosts:
            wrong("give --host or --inventory, not both")
        from temporal.shared.specs.automation.selecting import chosen

        return [
            reading.read(
                path,
                ServerSpec,
                {"host": each.host, "create": None},
                {"variables": each.variables},
            )
            for each in chosen(Path(inventory), limit)
        ]
    if hosts:
        twice = [each for at, each in enumerate(hosts) if each in hosts[:at]]
        if twice:
            wrong(f"--host {twice[0]} stands there twice")
        return [reading.read(path, ServerSpec, {"host": each, "create": None}) for each in hosts]
    spec = reading.read(path, ServerSpec)
    if spec.create is not None:
        raise SpecError(f"{file}: {NOT_THERE.format(name=spec.name)}")
    return [spec]


def in_one_run(specs: Sequence[ServerSpec]) -> bool:
    """Whether they are a fleet: several, of which none is to be written down afterwards."""
    return len(specs) > 1 and all(spec.register_in is None for spec in specs)


@dataclass(frozen=True)
class Looked:
    """One server's plan, or why there is none."""

    spec: ServerSpec
    planned: Planned | None = None
    failure: str = ""


async def _plan(chosen: Settings, specs: list[ServerSpec], as_json: bool, detailed: bool) -> int:
    async with session(chosen, work=True, quiet=as_json) as ops:
        if in_one_run(specs):
            from temporal.cli.fleets import plan_all

            drift, seen = await plan_all(ops, specs, as_json)
            return FAILED if not seen else DRIFT if detailed and drift else DONE
        found = await look_at(ops, specs, as_json)
    if as_json:
        emit(_as_json(found))
    else:
        show(found)
    if any(each.planned is None for each in found):
        return FAILED
    drift = any(each.planned is not None and not each.planned.empty for each in found)
    return DRIFT if detailed and drift else DONE


async def look_at(ops: Ops, specs: Sequence[ServerSpec], quiet: bool) -> list[Looked]:
    """A plan for each, by PlanServer, some at a time."""
    limit = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int, spec: ServerSpec) -> Looked:
        async with limit:
            handle = await ops.start("PlanServer", spec)
            # One view is enough: it says if no worker is there.
            planned, failure = await result_of(handle, ops, quiet or number > 0)
            return Looked(spec, planned, failure)

    return list(await asyncio.gather(*(one(n, spec) for n, spec in enumerate(specs))))


async def result_of(
    handle: WorkflowHandle[Any, Any], ops: Ops, quiet: bool
) -> tuple[Any | None, str]:
    """What a run gives, or nothing and why it failed; shows meanwhile how far it is."""
    from temporalio.client import WorkflowFailureError

    from temporal.cli import follow
    from temporal.cli.run import why
    from temporal.runs import failure_text

    tty = sys.stderr.isatty() and not quiet
    view = follow.view_for(console(stderr=True)) if tty else follow.Quiet()
    watching = None if quiet else asyncio.create_task(follow.show(handle, ops, view))
    try:
        return await handle.result(), ""
    except WorkflowFailureError as error:
        return None, why(error, failure_text) or str(error.__cause__ or error)
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def show(found: Sequence[Looked]) -> None:
    """Plans on standard output, coloured on a terminal; failures on standard error."""
    out = console()
    for each in found:
        if each.planned is None:
            say(f"error: {each.failure}")
            continue
        print_plan(each.planned.render())
    good = [each.planned for each in found if each.planned is not None]
    if len(found) > 1:
        drift = sum(not planned.empty for planned in good)
        same, lost = len(good) - drift, len(found) - len(good)
        out.print(f"{drift} servers differ, {same} are as declared, {lost} could not be looked at.")


def _as_json(found: Sequence[Looked]) -> dict[str, Any]:
    return {
        "drift": any(each.planned is not None and not each.planned.empty for each in found),
        "servers": [
            {"host": each.spec.name, "failure": each.failure}
            if each.planned is None
            else {**each.planned.model_dump(mode="json"), "summary": each.planned.summary}
            for each in found
        ],
    }


async def _apply(chosen: Settings, specs: list[ServerSpec], yes: bool, as_json: bool) -> int:
    async with session(chosen, work=True, quiet=as_json) as ops:
        if in_one_run(specs):
            from temporal.cli.fleets import apply_all

            return await apply_all(ops, specs, yes, as_json)
        found = await look_at(ops, specs, as_json)
        if not as_json:
            show(found)
        ready = [
            each.spec.model_copy(update={"approved": each.planned})
            for each in found
            # What is as declared may still have to answer as declared.
            if each.planned is not None and (not each.planned.empty or each.spec.answers)
        ]
        lost = [each for each in found if each.planned is None]
        changes = any(spec.approved and not spec.approved.empty for spec in ready)
        if changes and not yes and not await asyncio.to_thread(_agreed, len(ready)):
            say("nothing was changed")
            return FAILED
        live = not as_json and len(ready) == 1
        done = await asyncio.gather(*(_provision(ops, spec, as_json, live) for spec in ready))
    if as_json:
        emit({"planned": _as_json(found), "applied": done})
    failed = bool(lost) or any(each["status"] != "completed" for each in done)
    return FAILED if failed else DONE


def _agreed(servers: int) -> bool:
    what = "this server" if servers == 1 else f"these {servers} servers"
    return asked(f"Bring {what} to what is declared?")


async def _provision(ops: Ops, spec: ServerSpec, as_json: bool, live: bool) -> dict[str, Any]:
    handle = await ops.start("ProvisionServer", spec)
    if not as_json:
        say(f"run {handle.id}")
    try:
        result, failure = await result_of(handle, ops, not live)
    except asyncio.CancelledError:
        say(f"left: `temporal-ops runs show {handle.id}` says how far it is")
        raise
    about = {"host": spec.name, "id": handle.id}
    if result is None:
        if not as_json:
            say(f"error: {failure}")
        return {**about, "status": "failed", "failure": failure}
    if not as_json:
        print_plan(result.render())
    return {**about, "status": "completed", "result": result.model_dump(mode="json")}
