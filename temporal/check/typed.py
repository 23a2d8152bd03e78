"""Parameters of workflows and activities without a type."""

from __future__ import annotations

from collections.abc import Iterator

from temporal.check.context import Context, finding
from temporal.check.findings import Finding


def find(context: Context) -> Iterator[Finding]:
    """Findings of untyped-input."""
    definitions = context.definitions
    for one in (*definitions.workflows.values(), *definitions.activities.values()):
        if one.function is None:
            continue
        for parameter in one.function.positional:
            if parameter.annotation is None:
                yield finding(
                    "untyped-input",
                    f"{one.kind} {one.name!r}: parameter {parameter.arg!r} has no annotation",
                    one.function.module,
                    parameter,
                )
