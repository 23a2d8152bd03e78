"""`temporal-ops run`: start a workflow and, by default, follow it to its end."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal.cli import follow
from temporal.cli.common import (
    DONE,
    ENDED,
    FAILED,
    INTERRUPTED,
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

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.config import Settings
    from temporal.registry import Entry
    from temporal.runs import Run

STATUS = {
    "completed": DONE,
    "failed": FAILED,
    "cancelled": ENDED,
    "terminated": ENDED,
    "timed out": ENDED,
}


def run(
    workflow: Annotated[str, typer.Argument(help="name of the workflow, as `list` shows it")],
    input: Annotated[str | None, typer.Option("--input", "-i", help="its input, as JSON")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", help="its input, as a YAML or JSON file; - is stdin"),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="workflow id; if it runs already, that is followed")
    ] = None,
    wait: Annotated[bool, typer.Option(help="follow the run to its end")] = True,
    as_json: AsJson = False,
) -> None:
    """Start a workflow and follow it; its result goes to standard output.

    Ctrl-C asks whether to cancel the run or to leave it running.
    """
    chosen = settings()
    from temporal import registry

    entry = registry.load(chosen).workflow(workflow)
    values = read_input(entry, input, file)
    raise Exit(execute(_run(chosen, entry, values, id, wait, as_json)))


def read_input(entry: Entry, text: str | None, file: str | None) -> list[Any]:
    """The workflow's arguments from the command line, as the types it declares.

    Raises:
        SpecError: it does not parse or does not fit; names file, line, field and value.
    """
    from temporal.client import check_input
    from temporal.shared.specs import reading

    if text is not None and file is not None:
        wrong("give --input or --file, not both")
    if file is not None:
        name = "standard input" if file == "-" else file
        raw = sys.stdin.read() if file == "-" else reading.read_text(Path(file))
        types = entry.arg_types
        if types and len(types) == 1:
            return [reading.parse(raw, types[0], name)]
        return [reading.plain(raw, name)]
    if text is None:
        return check_input(entry, [])
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        wrong(
            f"--input is not JSON: {error.msg} at column {error.colno}. A text needs its own "
            f"quotes, as in --input '\"World\"'"
        )
    return check_input(entry, [value])


async def _run(
    chosen: Settings,
    entry: Entry,
    values: list[Any],
    workflow_id: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    async with session(chosen, work=wait, quiet=as_json) as ops:
        handle = await ops.start(entry.name, *values, id=workflow_id)
        ui = f"run {handle.id}"
        if not wait:
            if as_json:
                emit({"id": handle.id, "run_id": handle.result_run_id})
            else:
                print(handle.id)
                if not ops.settings.address_configured:
                    say("it goes on as soon as a worker runs: `temporal-ops up`")
            return DONE
        if not as_json:
            say(ui)
        last = await _follow(handle, ops, as_json)
        if last is None:
            say(f"left running: `temporal-ops runs show {handle.id}`")
            return INTERRUPTED
        return await _outcome(handle, last, as_json)


async def _follow(handle: WorkflowHandle[Any, Any], ops: Ops, as_json: bool) -> Run | None:
    """Shows the run until it ends; None if the person left it running."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    loop.add_signal_handler(signal.SIGTERM, interrupted.set)
    try:
        while True:
            view = follow.Quiet() if as_json else follow.view_for(console(stderr=True))
            following = asyncio.create_task(follow.show(handle, ops, view))
            stop = asyncio.create_task(interrupted.wait())
            await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if following.done():
                return following.result()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            interrupted.clear()
            choice = await asyncio.to_thread(_ask) if sys.stdin.isatty() else "leave"
            if choice == "leave":
                return None
            if choice == "cancel":
                await handle.cancel()
                say("asked it to cancel; waiting for it to end")
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


def _ask() -> str:
    """What to do with the run: cancel, leave or go on watching."""
    while True:
        say("")
        try:
            answer = input("[c]ancel the run, [l]eave it running, or [w]atch on? ").strip().lower()
        except EOFError:
            return "leave"
        for choice in ("cancel", "leave", "watch"):
            if answer and choice.startswith(answer):
                return choice


async def _outcome(handle: WorkflowHandle[Any, Any], last: Run, as_json: bool) -> int:
    from temporalio.client import WorkflowFailureError

    from temporal.runs import failure_text

    try:
        result = await handle.result()
    except WorkflowFailureError as error:
        text = _failure(error, failure_text)
        if as_json:
            emit({"id": handle.id, "status": last.status, "failure": text})
        else:
            say(f"{last.status}: {text}")
        return STATUS.get(last.status, FAILED)
    if as_json:
        emit({"id": handle.id, "status": last.status, "result": result})
    else:
        show_result(result)
    return DONE


def _failure(error: BaseException, as_text: Any) -> str:
    cause = error.__cause__
    failure = getattr(cause, "failure", None)
    return as_text(failure) if failure is not None else str(cause or error)


def show_result(result: Any) -> None:
    """A result, for people: one that knows how to show itself does, text as it is, else JSON."""
    if hasattr(result, "render"):
        print(result.render())
    elif isinstance(result, str):
        print(result)
    elif result is not None:
        emit(result)
