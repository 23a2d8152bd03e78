"""`python -m benchmarks [FOLDER]`: measures, prints a table, writes JSON and a plot into FOLDER.

Exit status 1 if a figure misses its bound.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import startup, throughput
from benchmarks.figures import Figure, document
from benchmarks.plot import draw


def main() -> int:
    """Measure everything that has a bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/bench"))
    parser.add_argument("--turns", type=int, default=5, help="turns of each figure; default 5")
    chosen = parser.parse_args()
    figures = [startup.help_time(), *startup.first_run(chosen.turns)]
    figures += throughput.measure(chosen.turns)
    found = document(figures)
    caption = f"{found['machine']}; {found['date']}"
    show(figures, caption)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    (chosen.folder / "foundation.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(figures, caption, chosen.folder / "foundation.png")
    return 0 if all(figure.kept for figure in figures) else 1


def show(figures: list[Figure], caption: str) -> None:
    """The table."""
    table = Table("figure", "median (spread)", "bound", "", caption=caption)
    for figure in figures:
        table.add_row(*figure.row())
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
