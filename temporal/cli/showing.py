"""A run and its results, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporal.cli.tables import Cell, print_table
from temporal.cli.words import clock, took

if TYPE_CHECKING:
    from rich.console import Console

    from temporal.runs import RunReport, Step

STYLES = {
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timed out": "red",
    "terminated": "yellow",
    "cancelled": "yellow",
}
_INPUT_LINES = 16


def as_text(value: Any) -> str:
    """A result: one that knows how to show itself does, text as it is, all else as YAML."""
    if value is None:
        return ""
    if hasattr(value, "render"):
        return str(value.render()).rstrip("\n")
    if isinstance(value, str):
        return value
    return as_yaml(value).rstrip("\n")


def as_yaml(value: Any) -> str:
    """A value as a person would have written it: what was left at its default is left out."""
    import yaml
    from pydantic import BaseModel
    from pydantic_core import to_jsonable_python

    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    text = yaml.dump(
        to_jsonable_python(value),
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
    )
    return text.removesuffix("...\n")


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Text of many lines as a block, not in quotes."""

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def print_report(out: Console, found: RunReport) -> None:
    """A run's head, input, steps and outcome."""
    from rich.markup import escape

    run = found.run
    out.print(f"[bold]{escape(run.id)}[/]  {escape(run.workflow)}  {_styled(run.status)}")
    length = f"took {took(run.seconds)}" if run.closed else f"for {took(run.seconds)} now"
    out.print(f"started  {clock(run.started)} by {escape(run.started_by or '-')}, {length}")
    out.print(f"queue    {escape(run.queue)}, {run.events} events")
    out.print(f"run id   {run.run_id}")
    for value in found.input:
        _print_block(out, "input", as_yaml(value), _INPUT_LINES)
    if found.steps:
        out.print()
        _print_steps(out, found)
    if run.stuck:
        out.print()
        _print_block(out, "stuck", run.stuck, style="red")
    if found.failure:
        out.print()
        _print_block(out, run.status, found.failure, style=STYLES.get(run.status, ""))
    if found.result is not None:
        out.print()
        _print_block(out, "result", as_text(found.result))


def _print_steps(out: Console, found: RunReport) -> None:
    tries = any(step.attempts > 1 for step in found.steps)
    rows: list[list[Cell]] = []
    for step in found.steps:
        seconds = (step.ended - step.started).total_seconds() if step.ended else None
        rows.append(
            [
                f"+{took((step.started - found.run.started).total_seconds())}",
                step.name,
                (step.status, STYLES.get(step.status, "")),
                took(seconds) if seconds is not None else "",
                *([str(step.attempts)] if tries else []),
                step.detail.splitlines()[0] if step.detail else "",
            ]
        )
    headers = ["at", "step", "status", "took", *(["tries"] if tries else []), ""]
    print_table(out, headers, rows)
    for step in found.steps:
        if _untold(step, found.failure):
            _print_block(out, step.name, step.detail)


def _untold(step: Step, failure: str | None) -> bool:
    """Whether there is more to say of a step than its line and the run's own failure have said."""
    first, _, rest = step.detail.partition("\n")
    return bool(rest) and first not in (failure or "")


def _print_block(
    out: Console, name: str, text: str, lines: int | None = None, style: str = ""
) -> None:
    """One line beside its name; more stand below it, as they are."""
    from rich.text import Text

    rows = text.splitlines()
    label = Text(f"{name:<8} ", style=style)
    # Lines are not broken here: the terminal does, and what is copied from it stays whole.
    if len(rows) <= 1:
        out.print(label.append(text, style="default"), soft_wrap=True)
        return
    out.print(label, soft_wrap=True)
    for row in rows[:lines]:
        out.print(Text(f"  {row}"), soft_wrap=True)
    if lines is not None and len(rows) > lines:
        out.print(f"  ... {len(rows) - lines} more lines; --json has all", style="dim")


def _styled(status: str) -> str:
    return f"[{STYLES.get(status, 'default')}]{status}[/]"
