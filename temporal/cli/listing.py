"""`temporal-ops list`: what is registered."""

from __future__ import annotations

from temporal.cli.common import AsJson, console, emit, settings
from temporal.cli.tables import Cell, print_table


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
    out = console()
    queues = sorted({row["queue"] or "" for row in rows})
    everywhere = f", all on queue {queues[0]}" if len(queues) == 1 else ""
    columns = ["name", "domain", "takes", *(["queue"] if len(queues) > 1 else [])]
    for kind, title in (("workflow", "Workflows"), ("activity", "Activities")):
        shown: list[list[Cell]] = [
            [*(row[name] or "-" for name in columns), (row["summary"] or "", "dim")]
            for row in rows
            if row["kind"] == kind
        ]
        out.print(title + everywhere, style="italic")
        print_table(out, [*columns, "what it does"], shown)
        out.print()
