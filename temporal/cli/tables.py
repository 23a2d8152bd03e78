"""Tables that stay one line a row, however narrow the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Cell: TypeAlias = str | tuple[str, str]
"""Text, or text and its rich style; never read as markup."""
Rows: TypeAlias = Sequence[Sequence[Cell]]

_GAP = 2
_LEAST = 10  # columns for the last one, even if the line is then too long


def print_table(out: Console, headers: Sequence[str], rows: Rows) -> None:
    """All columns but the last keep their width, since what stands in them is there to be copied;
    the last gets what is left, and is cut there."""
    for line in lines(headers, rows, out.width):
        out.print(line, soft_wrap=True)


def lines(headers: Sequence[str], rows: Rows, width: int) -> list[Text]:
    """The table as lines of at most `width` columns, if the last column can give that much."""
    from rich.text import Text

    cells = [[Text(header, style="bold") for header in headers]]
    cells += [[_text(cell) for cell in row] for row in rows]
    widths = [max(row[place].cell_len for row in cells) for place in range(len(headers))]
    left = max(width - sum(each + _GAP for each in widths[:-1]), _LEAST)
    made = []
    for row in cells:
        line = Text()
        for cell, size in zip(row[:-1], widths[:-1], strict=True):
            line.append_text(cell).append(" " * (size - cell.cell_len + _GAP))
        row[-1].truncate(left, overflow="ellipsis")
        line.append_text(row[-1])
        line.rstrip()
        made.append(line)
    return made


def _text(cell: Cell) -> Text:
    from rich.text import Text

    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(" ".join(text.splitlines()), style=style)
