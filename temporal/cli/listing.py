"""`temporal-ops list`: what is registered."""

from __future__ import annotations

from temporal.cli.common import AsJson, console, emit, settings


def listing(as_json: AsJson = False) -> None:
    """List the workflows and activities, with domain, queue and what they take."""
    from temporal import registry
    from temporal.shared.options import effective_options

    rows = []
    for entry in registry.load(settings()).entries():
        types = [getattr(t, "__name__", str(t)) for t in entry.arg_types or []]
        row: dict[str, str | None] = {
            "kind": entry.kind,
            "name": entry.name,
            "domain": entry.domain,
            "queue": entry.queue,
            "takes": ", ".join(types),
            "summary": entry.summary,
            "place": f"{entry.file}:{entry.line}",
        }
        if entry.kind == "activity":
            options = effective_options(entry.target)
            row["start_to_close"] = str(options.start_to_close or "")
            row["heartbeat"] = str(options.heartbeat or "")
        rows.append(row)
    if as_json:
        emit(rows)
        return
    from rich.table import Table
    from rich.text import Text

    out = console()
    queues = sorted({row["queue"] or "" for row in rows})
    everywhere = f", all on queue {queues[0]}" if len(queues) == 1 else ""
    for kind, title in (("workflow", "Workflows"), ("activity", "Activities")):
        shown = [row for row in rows if row["kind"] == kind]
        table = Table(
            title=Text(title + everywhere), title_justify="left", box=None, pad_edge=False
        )
        columns = ["name", "domain", "takes", *(["queue"] if len(queues) > 1 else [])]
        for name in columns:
            table.add_column(name, style="bold" if name == "name" else "", no_wrap=True)
        table.add_column("what it does", style="dim", no_wrap=True, overflow="ellipsis")
        for row in shown:
            table.add_row(*(Text(row[name] or "-") for name in [*columns, "summary"]))
        out.print(table)
        out.print()
