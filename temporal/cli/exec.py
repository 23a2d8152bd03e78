"""`temporal-ops exec`: run a command once on many hosts, and show what it said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal.cli.common import DONE, FAILED, AsJson, Exit, execute, say, settings, wrong

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.runs import Run
    from temporal.shared.specs.automation.command import CommandSpec

Set = list[str] | None
Hosts = Annotated[Set, typer.Option("--host", help="user@address:port, lab:NAME, local")]
InventoryFile = Annotated[
    str | None, typer.Option("--inventory", "-i", help="hosts to choose from: ours or Ansible's")
]
Limit = Annotated[
    str | None, typer.Option("--limit", "-l", help="which of them: web,&tag:prod,!web3 or web*")
]


def exec_(
    command: Annotated[
        list[str],
        typer.Argument(help="one word: a line for sh; several: a program and its arguments"),
    ],
    inventory: InventoryFile = None,
    limit: Limit = None,
    host: Hosts = None,
    user: Annotated[str | None, typer.Option("--user", help="run it as this user")] = None,
    env: Annotated[Set, typer.Option("--env", help="NAME=value, a variable of it")] = None,
    secret: Annotated[
        Set, typer.Option("--secret", help="NAME=env://OTHER, a variable from a secret reference")
    ] = None,
    timeout: Annotated[float, typer.Option(help="seconds on a host, then it is ended")] = 600.0,
    canary: Annotated[str | None, typer.Option(help="hosts of a first wave: 1, 5%")] = None,
    wave: Annotated[str | None, typer.Option(help="hosts of each wave after it: 10, 25%")] = None,
    parallel: Annotated[int | None, typer.Option(help="at a time within a wave")] = None,
    max_failures: Annotated[
        str | None, typer.Option(help="with more failed ones nothing new begins: 0, 5%")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="workflow id; if it runs already, that is followed")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a command once on many hosts; hosts that say the same stand together.

    Never twice on a host, whatever breaks. Ends with 0 if it did everywhere, else with 1.
    """
    if limit is not None and inventory is None:
        wrong("--limit chooses hosts of an inventory: give --inventory FILE as well")
    if bool(host) == (inventory is not None):
        wrong("say where: --inventory FILE (with --limit), or --host, not both")
    where = {"hosts": host} if host else {"inventory": inventory}
    steps = {"canary": canary, "wave": wave, "parallel": parallel, "max_failures": max_failures}
    value: dict[str, Any] = {
        **where,
        **({} if limit is None else {"limit": limit}),
        **({"command": command[0]} if len(command) == 1 else {"argv": command}),
        "user": user,
        "environment": _pairs("--env", env),
        "secrets_environment": _pairs("--secret", secret),
        "timeout": timeout,
        "rollout": {name: given for name, given in steps.items() if given is not None},
    }
    raise Exit(execute(_exec(_spec(value), id, as_json)))


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for each in given or ():
        name, equals, text = each.partition("=")
        if not equals or not name:
            wrong(f"{option} takes NAME=value")
        pairs[name] = text
    return pairs


def _spec(value: dict[str, Any]) -> CommandSpec:
    """Raises SpecError."""
    from pydantic import ValidationError

    from temporal.payloads import explain_validation
    from temporal.shared.errors import SpecError
    from temporal.shared.specs.automation.command import CommandSpec
    from temporal.shared.specs.reading import Misfit

    try:
        return CommandSpec.model_validate(CommandSpec.read_as(value, Path()).value)
    except Misfit as error:
        raise SpecError(str(error)) from None
    except ValidationError as error:
        raise SpecError(f"the command {explain_validation(error)}") from None


async def _exec(spec: CommandSpec, workflow_id: str | None, as_json: bool) -> int:
    from temporal import registry
    from temporal.cli.run import run_to_end

    chosen = settings()
    entry = registry.load(chosen).workflow("RunCommand")
    return await run_to_end(chosen, entry, [spec], workflow_id, True, as_json, told=_told)


async def _told(ops: Ops, handle: WorkflowHandle[Any, Any], last: Run, as_json: bool) -> int:
    from temporalio.client import WorkflowFailureError

    from temporal.cli.outputs import show_outputs
    from temporal.cli.run import STATUS, why
    from temporal.runs import failure_text

    report = await show_outputs(ops, last, as_json)
    status = STATUS.get(last.status, FAILED)
    if status != DONE and not as_json:
        try:
            await handle.result()
        except WorkflowFailureError as error:
            # Of a fleet's failure the rest is the report, which has been shown.
            say(": ".join([last.status, *why(error, failure_text).splitlines()[:1]]))
    if status == DONE and report is not None and report.state.failed:
        return FAILED
    return status
