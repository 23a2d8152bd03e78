"""`temporal-ops run`: start a workflow and, by default, follow it to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

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
    is_own,
    say,
    session,
    settings,
    wrong,
)
from temporal.cli.showing import as_text
from temporal.cli.words import took

if TYPE_CHECKING:
    from temporalio.api.failure.v1 import Failure
    from temporalio.client import WorkflowHandle

    from temporal.client import Ops
    from temporal.config import Settings
    from temporal.registry import Entry
    from temporal.runs import Run

T = TypeVar("T")
Told: TypeAlias = "Callable[[Ops, WorkflowHandle[Any, Any], Run, bool], Awaitable[int]]"
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
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="follow the run to its end, or only start it")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Start a workflow and follow it; its result goes to standard output.

    Ctrl-C asks whether to cancel the run or to leave it running.
    """
    chosen = settings()
    from temporal import registry

    entry = registry.load(chosen).workflow(workflow)
    values = read_input(entry, input, file)
    raise Exit(execute(run_to_end(chosen, entry, values, id, wait, as_json)))


def read_input(entry: Entry, text: str | None, file: str | None) -> list[Any]:
    """The workflow's arguments from the command line, as the types it declares.

    Raises:
        SpecError: it does not parse or does not fit; names file, line, field and value.
    """
    from temporal.client import check_input
    from temporal.shared.errors import SpecError
    from temporal.shared.specs import reading

    if text is not None and file is not None:
        wrong("give --input or --file, not both")
    if file is not None:
        name = "standard input" if file == "-" else file
        raw = sys.stdin.read() if file == "-" else reading.read_text(Path(file))
        types = entry.arg_types
        if types and len(types) == 1:
            folder = Path() if file == "-" else Path(file).parent
            return [reading.parse(raw, types[0], name, folder=folder)]
        return [reading.plain(raw, name)]
    if text is None:
        try:
            return check_input(entry, [])
        except SpecError as error:
            wrong(f"{error}. Give it as --input JSON or --file FILE")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        wrong(
            f"--input is not JSON: {error.msg} at column {error.colno}. A text needs its own "
            f"quotes, as in --input '\"World\"'"
        )
    return check_input(entry, [value])


async def run_to_end(
    chosen: Settings,
    entry: Entry,
    values: list[Any],
    workflow_id: str | None,
    wait: bool,
    as_json: bool,
    told: Told | None = None,
) -> int:
    """Starts a workflow and follows it to its end; gives the command's exit code.

    `told` says how it ended, and gives that code; default: its result, or why it failed.
    """
    begun: WorkflowHandle[Any, Any] | None = None
    while True:
        async with session(chosen, work=wait, quiet=as_json or begun is not None) as ops:
            if begun is None:
                begun = await ops.start(entry.name, *values, id=workflow_id)
                if not wait:
                    return _started(begun, ops, as_json)
                if not as_json:
                    say(f"run {begun.id}")
            handle = ops.client.get_workflow_handle(
                begun.id,
                result_type=entry.ret_type,  # the latest run of it, if it goes on as new
            )
            try:
                last = await _follow(handle, ops, as_json)
            except follow.Orphaned:
                say("the server ended with the command that had started it: going on with our own")
                continue
            if last is not None:
                if told is not None:
                    return await told(ops, handle, last, as_json)
                return await _outcome(handle, last, as_json)
            if as_json:
                emit({"id": handle.id, "status": "running"})
            say(_left(handle.id, ops))
            return INTERRUPTED


def _started(handle: WorkflowHandle[Any, Any], ops: Ops, as_json: bool) -> int:
    if as_json:
        emit({"id": handle.id, "run_id": handle.result_run_id})
        return DONE
    print(handle.id)
    if is_own(ops):
        say("it goes on as soon as a worker runs: `temporal-ops up`")
    return DONE


def _left(workflow_id: str, ops: Ops) -> str:
    if is_own(ops):
        return (
            f"left: server and worker end with this command, and the run is kept in "
            f"{ops.settings.state_dir}. It goes on with `temporal-ops up`."
        )
    return f"left running; `temporal-ops runs show {workflow_id}` says how far it is"


async def _follow(handle: WorkflowHandle[Any, Any], ops: Ops, as_json: bool) -> Run | None:
    """Shows the run until it ends; None if the person left it running.

    Ctrl-C asks, a second one leaves; SIGTERM leaves without asking. From then on signals end the
    process.
    """
    from temporal import runs

    asked, told = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, asked.set)
    loop.add_signal_handler(signal.SIGTERM, told.set)
    try:
        while True:
            view = follow.Quiet() if as_json else follow.view_for(console(stderr=True))
            run = await _unless(follow.show(handle, ops, view), asked, told)
            if run is not None:
                return run
            if told.is_set() or not sys.stdin.isatty():
                return None
            asked.clear()
            ended = asyncio.create_task(follow.show(handle, ops, follow.Quiet()))
            choice = await _unless(_choice(ended), asked, told) or "leave"
            if choice == "leave":
                ended.cancel()
                say("")
                return None
            if choice == "cancel":
                await runs.cancel(ops, handle.id)
                say("asked it to cancel; it has ended when nothing of it goes on any more")
            ended.cancel()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGINT, lambda: os._exit(INTERRUPTED))


async def _unless(doing: Coroutine[Any, Any, T], *events: asyncio.Event) -> T | None:
    """What `doing` gives; None if one of the events comes first."""
    task = asyncio.ensure_future(doing)
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        for each in (task, *waits):
            each.cancel()
        await asyncio.gather(task, *waits, return_exceptions=True)


async def _choice(ended: asyncio.Task[Run]) -> str:
    """What to do with the run: cancel, leave, or watch on (also when it ends meanwhile)."""
    while not ended.done():
        sys.stderr.write("\n[c]ancel the run, [l]eave it, or [w]atch on? (Ctrl-C leaves) ")
        sys.stderr.flush()
        line = asyncio.ensure_future(_line())
        await asyncio.wait([line, ended], return_when=asyncio.FIRST_COMPLETED)
        if not line.done():
            line.cancel()
            say("\nit has ended meanwhile")
            break
        answer = line.result()
        if answer is None:
            return "leave"
        for choice in ("cancel", "leave", "watch"):
            if answer and choice.startswith(answer):
                return choice
    return "watch"


async def _line() -> str | None:
    """The next line of standard input, in lower case and without blanks; None at its end."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()
    number = sys.stdin.fileno()

    def read() -> None:
        if not came.done():
            came.set_result(os.read(number, 4096))

    loop.add_reader(number, read)
    try:
        raw = await came
    finally:
        loop.remove_reader(number)
    return raw.decode(errors="replace").strip().lower() if raw else None


async def _outcome(handle: WorkflowHandle[Any, Any], last: Run, as_json: bool) -> int:
    from temporalio.client import WorkflowFailureError

    from temporal.runs import failure_text

    try:
        result = await handle.result()
    except WorkflowFailureError as error:
        text = why(error, failure_text)
        if as_json:
            emit({"id": handle.id, "status": last.status, "failure": text})
        else:
            say(f"{last.status} after {took(last.seconds)}" + (f": {text}" if text else ""))
        return STATUS.get(last.status, FAILED)
    if as_json:
        emit({"id": handle.id, "status": last.status, "result": result})
        return DONE
    text = as_text(result)
    if text:
        print(text, flush=True)
    if sys.stderr.isatty():
        say(f"completed after {took(last.seconds)}")
    return DONE


def why(error: BaseException, explain: Callable[[Failure], str]) -> str:
    """Why a run has failed, as `explain` tells it; nothing where its status says all."""
    from temporalio.exceptions import CancelledError

    cause = error.__cause__
    failure = getattr(cause, "failure", None)
    if failure is None:
        return "" if isinstance(cause, CancelledError) else str(cause or error)
    if failure.HasField("canceled_failure_info"):
        return ""  # the status says it
    if failure.HasField("terminated_failure_info"):
        return str(failure.message)
    return str(explain(failure))
