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

    for kind, title in (("workflow", "Workflows"), ("activity", "Activities")):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name, style in (("name", "bold"), ("domain", ""), ("takes", ""), ("queue", "cyan")):
            table.add_column(name, style=style, no_wrap=True)
        table.add_column("what it does", style="dim")
        for row in rows:
            if row["kind"] == kind:
                table.add_row(
                    row["name"], row["domain"] or "-", row["takes"], row["queue"], row["summary"]
                )
        console().print(table)
        console().print()
