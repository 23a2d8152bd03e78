"""What every command shares: errors and exit codes, output, the connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from temporalio.runtime import Runtime

    from temporal.client import Ops
    from temporal.config import Settings

T = TypeVar("T")

DONE, FAILED, WRONG, UNREACHABLE, ENDED, INTERRUPTED = 0, 1, 2, 3, 4, 130
EXIT_CODES = (
    "Exit codes: 0 done; 1 it ran and failed, or there are findings; 2 wrong use, input or "
    "settings; 3 the Temporal server cannot be reached; 4 the run was cancelled, terminated or "
    "timed out; 130 interrupted (the run goes on)."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class Exit(Exception):
    """Ends the command with a status and, on standard error, a message."""

    def __init__(self, status: int, message: str = "") -> None:
        self.status = status
        self.message = message
        super().__init__(message)


def guarded(app: Callable[..., Any]) -> int:
    """Run the command line; turns every known error into one message and its exit code."""
    try:
        app(standalone_mode=True, prog_name="temporal-ops")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except Exit as end:
        if end.message:
            say(f"error: {end.message}")
        return end.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        status = _status_of(error)
        if status is None:
            raise
        say(f"error: {error}")
        return status
    return DONE


def _status_of(error: Exception) -> int | None:
    from temporal.shared.errors import ConnectError, OpsError

    if isinstance(error, ConnectError):
        return UNREACHABLE
    if isinstance(error, OpsError):
        return WRONG
    if type(error).__module__.partition(".")[0] in ("lab", "converge"):
        return FAILED  # their errors are messages for people as well
    return None


def wrong(message: str) -> NoReturn:
    """End the command: wrong use or input."""
    raise Exit(WRONG, message)


def say(text: str) -> None:
    """For a person, on standard error, so that standard output stays clean; on a terminal it is
    broken between words."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        text = "\n".join(_broken(line, width) for line in text.splitlines())
    print(text, file=sys.stderr, flush=True)


def _broken(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,  # a path or address is there to be copied
        break_on_hyphens=False,
    )


def emit(value: Any) -> None:
    """`value` (a pydantic model, or what JSON knows) as JSON on standard output."""
    from pydantic_core import to_jsonable_python

    print(json.dumps(to_jsonable_python(value), indent=2, ensure_ascii=False), flush=True)


def console(*, stderr: bool = False) -> Console:
    """Rich's console; plain where the output is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 200
    return Console(stderr=stderr, highlight=False, width=width)


def settings(**overrides: Any) -> Settings:
    """The settings, as every command reads them."""
    from temporal import config

    return config.load(**overrides)


def execute(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(main)


@contextlib.asynccontextmanager
async def session(
    chosen: Settings, *, work: bool = False, quiet: bool = False
) -> AsyncIterator[Ops]:
    """A connection to the server there is; where none is configured or listens, the embedded one,
    started for as long as the command takes.

    Args:
        work: run a worker as well, if the server is ours: somebody has to do the run.
        quiet: do not say so.
    """
    from temporal import client, logs, server
    from temporal.config import OWN, Origin
    from temporal.worker import Crew, build_id, identity

    located = server.locate(chosen)
    if located is not None:
        yield await client.connect(located, runtime=_silent_runtime())
        return
    from temporal import registry

    catalogue = registry.load(chosen)
    async with server.embedded(chosen, usual_ports=False, await_end=False) as record:
        if not quiet:
            say(
                "No Temporal server is configured or running: using an embedded one for this "
                f"command, web UI {record.ui}\n(its data stay in {chosen.state_dir}; "
                "`temporal-ops up` keeps it running)"
            )
        # Whoever leaves such a run wants the prompt back: its activities are not waited for, and
        # what they began on hosts goes on there.
        here = chosen.lively().model_copy(update={"drain_timeout": 0.0})
        here = here.at(record.address, Origin(OWN, str(chosen.state_dir)))
        signed = identity(build_id(chosen, catalogue))
        ops = await client.connect(
            here, catalogue=catalogue, runtime=_silent_runtime(), identity=signed
        )
        if not work:
            yield ops
            return
        # What activities log would tear up the view; why one failed is shown there anyway.
        logs.set_up(chosen, chosen.state_dir / "worker.log")
        async with Crew(ops):
            yield ops


def _silent_runtime() -> Runtime:
    """The SDK's core writes its warnings to standard output, where only results belong. What they
    tell, that a server does not answer, the command says itself."""
    from temporalio.runtime import Runtime, TelemetryConfig

    return Runtime(telemetry=TelemetryConfig(logging=None))


def is_own(ops: Ops) -> bool:
    """Whether server and worker end with this command."""
    from temporal.config import OWN

    return ops.settings.origin("address").kind == OWN
