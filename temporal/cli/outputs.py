"""What a command said on many hosts, for people: the same answer of many hosts stands once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from temporal.cli.common import console, emit, say
from temporal.cli.folding import folded

if TYPE_CHECKING:
    from temporal.client import Ops
    from temporal.runs.state import Run
    from temporal.shared.specs.automation.command import CommandResult
    from temporal.shared.specs.automation.outcome import FleetReport

_RULE = "---------------"
# A host that is not ours any more must not steer the terminal of who looks at it.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


@dataclass
class Group:
    """Hosts with the same answer."""

    sample: CommandResult
    hosts: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        """Who they are, and how it failed there."""
        count = f" ({len(self.hosts)})" if len(self.hosts) > 1 else ""
        said = self.sample
        how = "" if said.ok else f": {_short(said)}"
        return f"{folded(self.hosts)}{count}{how}"


def _short(result: CommandResult) -> str:
    """Why it failed, without what it said: that is shown below."""
    return (
        f"exit status {result.status}" if result.ending == "exited" else result.why.split("\n")[0]
    )


def grouped(results: Iterable[CommandResult]) -> list[Group]:
    """Hosts with the same answer together: those with 0 first, of these the most first."""
    groups: dict[tuple[Any, ...], Group] = {}
    for one in results:
        key = (one.ending, one.status, one.stdout.text, one.stderr.text, one.because)
        groups.setdefault(key, Group(one)).hosts.append(one.host)
    return sorted(groups.values(), key=lambda group: (not group.sample.ok, -len(group.hosts)))


async def show_outputs(ops: Ops, run: Run, as_json: bool) -> FleetReport | None:
    """Prints what the command said on each host of `run`, and gives the run's report."""
    from temporal.runs.outputs import outputs, report_of

    results = [each async for each in outputs(ops, run.id)]
    report = await report_of(ops, run)
    heard = {each.host for each in results}
    lost = [each for each in report.state.failures if each.host not in heard] if report else []
    if as_json:
        hosts: list[dict[str, Any]] = [each.model_dump(mode="json") for each in results]
        hosts += [
            each.model_dump(mode="json", include={"host", "ending", "because"}) for each in lost
        ]
        emit({"id": run.id, "status": run.status, "hosts": hosts})
        return report
    if report is not None and report.total == 1 and len(results) == 1:
        _alone(results[0])
        return report
    for group in grouped(results):
        _print(group)
    for each in lost:
        console().print(
            f"{each.host}: {each.ending}: {_line(each.reason)}", style="red", markup=False
        )
    _close(run, report, lost)
    return report


def _close(run: Run, report: FleetReport | None, lost: Sequence[object]) -> None:
    if report is None:
        if run.closed is None:
            say(f"{run.id} is {run.status}: this is what came until now")
        return
    more = report.state.failed - len(report.state.failures)
    if more > 0 and lost:
        say(f"of {more} more that failed, those that were not reached are not listed")
    say(f"{report.total} host{'s' * (report.total != 1)}: {report.summary}")


def _alone(result: CommandResult) -> None:
    """One host: as ssh would."""
    _write(sys.stdout, result.stdout.text)
    _write(sys.stderr, result.stderr.text)
    if not result.ok:
        say(f"{result.host}: {_short(result)}")


def _print(group: Group) -> None:
    out = console()
    style = "bold" if group.sample.ok else "bold red"
    for line in (_RULE, group.head, _RULE):
        out.print(line, style=style, markup=False, soft_wrap=True)
    sys.stdout.flush()
    _write(sys.stdout, _ended(group.sample.stdout.text))
    _write(sys.stdout, _ended(group.sample.stderr.text))


def _write(stream: Any, text: str) -> None:
    stream.write(text.translate(_VISIBLE) if stream.isatty() else text)
    stream.flush()


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _line(text: str) -> str:
    return " ".join(text.split())
