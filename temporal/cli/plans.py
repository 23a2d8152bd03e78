"""Plans on a terminal: in colours, and the question whether they are to be done."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from temporal.cli.common import console

if TYPE_CHECKING:
    from rich.text import Text

    from temporal.runs.approving import Awaited

_STYLES = {"+": "green", "~": "yellow", "-": "red", "?": "cyan", "!": "bold red", "@": "cyan"}
_MARKED = re.compile(r"(?:  (?P<resource>[+~\-?!]) |      (?P<diff>[+\-@]))")


def coloured(text: str) -> list[Text]:
    """A plan's lines in the colours that its marks have everywhere."""
    from rich.text import Text

    lines: list[Text] = []
    for number, line in enumerate(text.splitlines()):
        found = _MARKED.match(line)
        style = _STYLES[found["resource"] or found["diff"]] if found else ""
        if number == 0 or line.startswith(("Plan:", "No changes.")):
            style = "bold"
        lines.append(Text(line, style=style))
    return lines


def print_plan(text: str) -> None:
    """On standard output, coloured on a terminal."""
    for line in coloured(text):
        console().print(line, soft_wrap=True)


def show_awaited(found: Awaited) -> None:
    """What a run waits for: each group of hosts, then what is asked."""
    for group in found.groups:
        print_plan(group.render())
    print_plan(found.model_copy(update={"groups": ()}).render().lstrip("\n"))


def asked(question: str) -> bool:
    """Whether somebody at the terminal says yes, in full."""
    sys.stderr.write(f"\n{question} Only 'yes' is taken: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"
