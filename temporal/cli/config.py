"""`temporal-ops config`: every setting, its value, and where it came from."""

from __future__ import annotations

from temporal.cli.common import AsJson, console, emit, settings


def config(as_json: AsJson = False) -> None:
    """Print each setting with its value and where it came from; secrets stay hidden."""
    from temporal.config import describe

    rows = describe(settings())
    if as_json:
        emit([vars(row) for row in rows])
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("setting", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", style="cyan", overflow="fold")
    table.add_column("", style="dim", overflow="fold")
    for row in rows:
        table.add_row(row.name, row.value, row.origin, row.description)
    console().print(table)
