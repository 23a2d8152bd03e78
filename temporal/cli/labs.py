"""`temporal-ops lab`: real throw-away servers on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from temporal.cli.common import FAILED, AsJson, Exit, console, emit, say, wrong
from temporal.cli.tables import print_table

app = typer.Typer(
    help="Real throw-away servers on this machine, to try, test and measure on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Option("--lab", help="which lab, if you have several")]
Release = Annotated[str, typer.Option(help="Debian release: bookworm or trixie")]


@app.command(short_help="Start servers until there are COUNT.")
def up(
    count: Annotated[int, typer.Argument(min=1, help="how many servers there should be")] = 1,
    release: Release = "bookworm",
    lab: Name = "default",
    as_json: AsJson = False,
) -> None:
    """Start servers until there are COUNT of the release; those that run already count."""
    from lab import Lab, missing

    lacks = missing()
    if lacks:
        raise Exit(FAILED, "this machine cannot run a lab:\n  " + "\n  ".join(lacks))
    machines = Lab(lab).up(count, release=release, on_event=_silent if as_json else _tell)
    if as_json:
        emit(machines)
        return
    _show(machines)


def _silent(event: str) -> None:
    pass


def _tell(event: str) -> None:
    say(event)


@app.command("ls")
def ls(lab: Name = "default", as_json: AsJson = False) -> None:
    """List the servers."""
    from lab import Lab

    machines = Lab(lab).machines()
    if as_json:
        emit(machines)
    elif not machines:
        which = "" if lab == "default" else f" --lab {lab}"
        print(f"no servers; `temporal-ops lab up{which}` starts one")
    else:
        _show(machines)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def ssh(
    machine: Annotated[str, typer.Argument(help="name of the server")],
    command: Annotated[list[str] | None, typer.Argument(help="command; default: a shell")] = None,
    lab: Name = "default",
) -> None:
    """Log in to a server as root, or run a command there."""
    from lab import Lab

    command = command or []
    # Options end at the server's name, as with ssh; but this one is often put behind it.
    if command[:1] == ["--lab"] and len(command) > 1:
        lab, command = command[1], command[2:]
    elif command and command[0].startswith("-"):
        wrong(f"{command[0]}: options of `lab ssh` stand before the name of the server")
    found = [known for known in Lab(lab).machines() if known.name == machine]
    if not found:
        names = ", ".join(known.name for known in Lab(lab).machines()) or "none"
        wrong(f"there is no server {machine!r} in lab {lab!r}; there are: {names}")
    argv = found[0].ssh_command(*command)
    os.execvp(argv[0], argv)


@app.command()
def down(
    names: Annotated[list[str] | None, typer.Argument(help="which; default: all")] = None,
    lab: Name = "default",
    as_json: AsJson = False,
) -> None:
    """Stop and remove servers; nothing of them stays."""
    from lab import Lab

    gone = Lab(lab).down(names or None)
    if as_json:
        emit({"removed": gone})
    else:
        say(f"removed {', '.join(gone)}" if gone else "no servers to remove")


def _show(machines: Sequence[object]) -> None:
    columns = ("name", "release", "address", "state")
    rows = [[str(getattr(machine, name)) for name in columns] for machine in machines]
    print_table(console(), columns, rows)
