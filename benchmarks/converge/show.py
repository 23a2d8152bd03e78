"""The results for people: a table in markdown, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from benchmarks.converge.results import PHASES, Sheet, verdicts

NAMES = {
    "temporal-ops": "temporal-ops, command with a worker",
    "converge": "converge, the library alone",
    "pyinfra": "pyinfra",
    "ansible": "ansible-playbook",
    "limit": "bare ssh, one command (limit)",
}


def seconds(value: float) -> str:
    """
    >>> seconds(0.1234), seconds(12.34), seconds(123.4)
    ('0.12', '12.3', '123')
    """
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def markdown(sheets: Sequence[Sheet], heading: Sequence[str], picture: str) -> str:
    """The section of docs/benchmarks.md."""
    lines = ["## converge", "", *heading, "", f"![converge against its peers]({picture})", ""]
    for sheet in sheets:
        many = "1 host" if sheet.hosts == 1 else f"{sheet.hosts} hosts"
        after = "" if sheet.load_after is None else f", {sheet.load_after:.1f} at its end"
        lines += [
            f"### {many}, {sheet.rtt * 1000:g} ms",
            "",
            f"{sheet.date}, load {sheet.load:.1f} before it began{after}. Median seconds of the"
            f" whole command (turns).{_earlier(sheet)}",
            "",
            f"| | {' | '.join(PHASES)} | CPU s a host, here | CPU s a host, there |",
            f"| --- |{' ---: |' * (len(PHASES) + 2)}",
        ]
        for who, name in NAMES.items():
            cells = [sheet.cell(who, phase) for phase in PHASES]
            if not any(cells):
                continue
            row = [f"{seconds(c.median)} ({len(c.seconds)})" if c else "" for c in cells]
            last = cells[-1]
            if last is not None:
                turns = len(last.seconds) * sheet.hosts
                row.append(f"{sum(last.cpu_here) / turns:.3f}")
                row.append(f"{sum(last.cpu_servers) / turns:.3f}")
            else:
                row += ["", ""]
            lines.append(f"| {name} | {' | '.join(row)} |")
        if sheet.memory is not None:
            lines += ["", f"Worker: at most {sheet.memory:.0f} MiB resident."]
        lines += ["", *(f"- {line}" for line in verdicts(sheet)), ""]
    lines.append("CPU is that of the runs without a change.")
    return "\n".join(lines) + "\n"


def _earlier(sheet: Sheet) -> str:
    """What is of another date than its sheet; a contestant is named where not all are."""
    said: dict[str, list[str]] = {}
    for phase in PHASES:
        cells = [cell for cell in sheet.cells if cell.phase == phase]
        for date in dict.fromkeys(cell.date for cell in cells if cell.date not in ("", sheet.date)):
            whose = [NAMES[cell.who] for cell in cells if cell.date == date]
            of = "" if len(whose) == len(cells) else f" of {', '.join(whose)}"
            said.setdefault(date, []).append(phase + of)
    return "".join(f" Measured {date}: {', '.join(what)}." for date, what in said.items())


def draw(sheets: Sequence[Sheet], caption: str, file: Path) -> None:
    """A panel a sheet, a row a round trip: bars for each phase, logarithmic, the figure on each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    colours = {
        "temporal-ops": "#1d6f8c",
        "converge": "#2a9d8f",
        "pyinfra": "#e9a23b",
        "ansible": "#c8553d",
        "limit": "#9aa0a6",
    }
    rows = [[one for one in sheets if one.rtt == rtt] for rtt in sorted({s.rtt for s in sheets})]
    columns = max(map(len, rows))
    width, inches = 0.17, max(9.0, 4.6 * columns)
    page, panels = pyplot.subplots(
        len(rows), columns, figsize=(inches, 3.9 * len(rows) + 0.5), sharey=True, squeeze=False
    )
    places = [panel for row, line in zip(rows, panels, strict=True) for panel in line[: len(row)]]
    for panel in panels.flat:
        panel.set_visible(panel in places)
    for panel, sheet in zip(places, [one for row in rows for one in row], strict=True):
        for place, who in enumerate(NAMES):
            for spot, phase in enumerate(PHASES):
                cell = sheet.cell(who, phase)
                if cell is None:
                    continue
                x = spot + (place - 2) * width
                panel.bar([x], [cell.median], width * 0.92, color=colours[who])
                panel.text(
                    x, cell.median * 1.08, seconds(cell.median), ha="center", va="bottom",
                    fontsize=6, rotation=90,
                )  # fmt: skip
        many = "1 host" if sheet.hosts == 1 else f"{sheet.hosts} hosts"
        panel.set_title(f"{many}, {sheet.rtt * 1000:g} ms round trip", fontsize=9)
        panel.set_yscale("log")
        panel.set_xticks(range(len(PHASES)), PHASES, fontsize=8)
        panel.tick_params(axis="y", labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    low, high = places[0].get_ylim()  # they share it
    places[0].set_ylim(low, high * 2.5)
    for line in panels:
        line[0].set_ylabel("seconds of the whole command", fontsize=8)
    marks = [Patch(color=colours[who]) for who in NAMES]
    page.legend(marks, list(NAMES.values()), loc="upper center", ncols=5, fontsize=7, frameon=False)
    page.text(0.5, 0.01, "\n".join(wrap(caption, int(inches * 18))), ha="center", fontsize=6)
    page.tight_layout(rect=(0, 0.04, 1, 0.96))
    page.savefig(file, dpi=150)
    pyplot.close(page)
