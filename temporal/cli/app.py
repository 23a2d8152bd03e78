"""All commands, put together. Nothing heavy is imported before one runs: `--help` must answer at
once."""

from __future__ import annotations

import atexit
import contextlib
import sys
from typing import Annotated

import typer

from temporal import __version__
from temporal.cli import (
    backup,
    check,
    config,
    exec,
    labs,
    listing,
    new,
    provision,
    run,
    runs,
    schedule,
    up,
    worker,
)
from temporal.cli.common import EXIT_CODES, guarded

app = typer.Typer(
    name="temporal-ops",
    help="Durable infrastructure operations as Python workflows on Temporal.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # plain help: it answers in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"temporal-ops {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


# The list of commands has one line for each; what does not fit on it would be cut off.
app.command("up", short_help="Run an embedded server, web UI and worker.")(up.up)
app.command("worker", short_help="Serve task queues until told to stop.")(worker.worker)
app.command("run", short_help="Start a workflow and follow it to its result.")(run.run)
app.command(
    "exec",
    short_help="Run a command once on many hosts.",
    context_settings={"allow_interspersed_args": False},
)(exec.exec_)
app.command("new", short_help="Write a workflow, its activity and a test.")(new.new)
app.command("check", short_help="Find what is not wired or not deterministic.")(check.check)
app.command("list", short_help="List workflows and activities.")(listing.listing)
app.command("config", short_help="Print each setting and where it came from.")(config.config)
app.add_typer(runs.app, name="runs")
app.add_typer(provision.app, name="provision", short_help="What would change on servers; do it.")
app.add_typer(backup.app, name="backup", short_help="Back up, see what is protected, restore.")
app.add_typer(schedule.app, name="schedule", short_help="What starts by itself, and when.")
app.add_typer(labs.app, name="lab", short_help="Real throw-away servers on this machine.")


def status() -> int:
    """Runs the command that `sys.argv` names; its exit status. All it had to say is out."""
    found = guarded(app)
    # The SDK's threads may still be handing something to Python; an interpreter that takes itself
    # apart meanwhile aborts ("PyGILState_Release"), and a finished run would look like a crash.
    # So the caller ends by os._exit, and what is due at an exit is done here.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it has gone
            stream.flush()
    return found
