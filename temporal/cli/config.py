"""`temporal-ops config`: every setting, its value, and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporal.cli.common import AsJson, console, emit, say, settings
from temporal.cli.tables import print_table

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
    out = console()
    shown = [((row.name, "bold"), row.value, (row.origin, "cyan")) for row in rows]
    if out.width < _ROOM_FOR_DESCRIPTIONS:
        print_table(out, ["setting", "value", "from"], shown)
    else:
        described = [
            (*cells, (row.description, "dim")) for cells, row in zip(shown, rows, strict=True)
        ]
        print_table(out, ["setting", "value", "from", ""], described)
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
