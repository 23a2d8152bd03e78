"""`temporal-ops check`: is everything wired, and deterministic."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from temporal.cli.common import FAILED, Exit, settings, wrong

Format = Literal["human", "json", "sarif"]
FORMATS: tuple[Format, ...] = ("human", "json", "sarif")


def check(
    format: Annotated[str, typer.Option("--format", help="human, json or sarif")] = "human",
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
) -> None:
    """Find what is not wired or not deterministic; no server needed. Exit 1 on a finding."""
    from temporal import check as checks

    form = next((known for known in FORMATS if known == ("json" if as_json else format)), None)
    if form is None:
        wrong(f"--format {format!r} is not one of {', '.join(FORMATS)}")
    findings = checks.run(settings())
    print(checks.render(findings, form))
    if findings:
        raise Exit(FAILED)
