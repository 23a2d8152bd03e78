"""`temporal-ops config`: every setting, its value, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporal.cli.common import AsJson, console, emit, say, settings

if TYPE_CHECKING:
    from temporal.config import Settings


_ROOM_FOR_DESCRIPTIONS = 110


def config(as_json: AsJson = False) -> None:
    """Print each setting with its value and where it came from; secrets stay hidden."""
    from temporal.config import describe

    chosen = settings()
    rows = describe(chosen)
    if as_json:
        emit([vars(row) for row in rows])
        return
    from rich.table import Table
    from rich.text import Text

    out = console()
    described = out.width >= _ROOM_FOR_DESCRIPTIONS
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", style="cyan", overflow="fold")
    if described:
        table.add_column("", style="dim", no_wrap=True, overflow="ellipsis")
    for row in rows:
        cells = (row.name, row.value, row.origin, row.description)
        # As text: a path may hold what would be taken for markup.
        table.add_row(*(Text(cell) for cell in cells[: 4 if described else 3]))
    out.print(table)
    if not chosen.address_configured:
        _say_where(chosen)


def _say_where(chosen: Settings) -> None:
    """No address is set: which server is it, then?"""
    from temporal import server

    record = server.running(chosen)
    if record:
        say(f"\nThe embedded server of {chosen.state_dir} runs on {record.address}: that is used.")
    elif server.locate(chosen) is None:
        say(f"\nNothing listens on {chosen.address}: `run` would start an embedded server.")
