"""Backups as tables, the worst first: what was saved, what is protected, which snapshots there are,
what was proved, what goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from temporal.cli.common import DONE, FAILED, console, emit, say
from temporal.cli.tables import Cell, print_table
from temporal.cli.words import clock, took
from temporal.shared.amounts import size

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from temporal.cli.run import Told
    from temporal.client import Ops
    from temporal.runs import Run
    from temporal.shared.specs.automation.outcome import FleetReport
    from temporal.shared.specs.backup.status import BackupStatus, RepositoryStatus, Row, Snapshots

    Handle = WorkflowHandle[Any, Any]

STYLES = {
    "protected": "green",
    "saved": "green",
    "proved": "green",
    "unproved": "yellow",
    "unproven": "yellow",
    "incomplete": "yellow",
    "stale": "yellow",
    "cancelled": "yellow",
}
"""All other states are red."""
SHOWN = 200
"""Lines of one table for people; --json has all."""
SENTENCES = 30
FEW = 5


def styled(state: str) -> Cell:
    """A state in its colour."""
    return state, STYLES.get(state, "red")


def ago(when: datetime | None, now: datetime) -> str:
    """How long before `now`; a dash for never."""
    from temporal.shared.specs.backup.status import age

    return "-" if when is None else age(now - when)


async def told_backup(ops: Ops, handle: Handle, last: Run, as_json: bool) -> int:
    """What was saved of each source."""
    from temporal.runs.backups import gathered
    from temporal.shared.specs.backup.backup import HostBackup

    hosts = await gathered(ops, last, "back_up_host", HostBackup)
    report = await _report(ops, handle, last, as_json, hosts)
    if as_json:
        return _status(last, report)
    order = ("failed", "cancelled", "incomplete", "saved")
    found = [(each, host.host) for host in hosts for each in host.sources]
    found.sort(key=lambda pair: (order.index(pair[0].ending), pair[1], pair[0].source))
    _table(
        ["", "host", "source", "snapshot", "files", "size", "new", "took"],
        [
            (
                styled(each.ending),
                host,
                each.source,
                each.snapshot[:8] or "-",
                f"{each.files:,}" if each.snapshot else "-",
                size(each.size) if each.snapshot else "-",
                size(each.added) if each.snapshot else "-",
                took(each.seconds) if each.snapshot else "-",
            )
            for each, host in found
        ],
    )
    _why((f"{host}/{each.reason}", each.ending) for each, host in found if each.reason)
    _why((f"{host}/{each.source}: {each.note}", "") for each, host in found if each.note)
    _unreached(report, {host.host for host in hosts if not host.because})
    return _status(last, report)


async def told_drill(ops: Ops, handle: Handle, last: Run, as_json: bool) -> int:
    """What was proved of each source."""
    from temporal.runs.backups import gathered
    from temporal.shared.specs.backup.drilling import DrilledHost

    hosts = await gathered(ops, last, "drill_host", DrilledHost)
    report = await _report(ops, handle, last, as_json, hosts)
    if as_json:
        return _status(last, report)
    order = ("wrong", "failed", "cancelled", "unproven", "proved")
    found = [(each, host.host) for host in hosts for each in host.sources]
    found.sort(key=lambda pair: (order.index(pair[0].ending), pair[1], pair[0].source))
    _table(
        ["", "host", "source", "snapshot", "made", "size", "restored in", "found"],
        [
            (
                styled(each.ending),
                host,
                each.source,
                each.snapshot[:8] or "-",
                clock(each.time) if each.time else "-",
                size(each.size) if each.size else "-",
                took(each.seconds) if each.ending in ("proved", "unproven", "wrong") else "-",
                each.found if each.ending in ("proved", "unproven", "wrong") else "-",
            )
            for each, host in found
        ],
    )
    _why((f"{host}/{each.reason}", each.ending) for each, host in found if each.reason)
    _unreached(report, {host.host for host in hosts if not host.because})
    return _status(last, report)


async def told_maintenance(ops: Ops, handle: Handle, last: Run, as_json: bool) -> int:
    """What goes of each repository, and what was done."""
    from temporal.runs.backups import gathered
    from temporal.shared.specs.backup.maintaining import MaintainChoice, Maintained

    choices = await gathered(ops, last, "choose_maintenance", MaintainChoice)
    done = await gathered(ops, last, "maintain_on_host", Maintained)
    report = await _report(ops, handle, last, as_json, done, choices)
    if as_json:
        return _status(last, report)
    for choice in choices:
        did = next((each for each in done if each.host == choice.host), None)
        print(f"{choice.url or choice.host} (by {choice.host})")
        for line in maintenance_lines(choice, did):
            print(f"  {line}")
    _unreached(report, {choice.host for choice in choices if not choice.because})
    return _status(last, report)


def maintenance_lines(choice: Any, did: Any) -> Iterable[str]:
    """A repository's maintenance for people: a MaintainChoice, and the Maintained it led to, if any."""
    if choice.because:
        yield f"! {choice.because}"
        return
    if choice.refused:
        yield f"! {choice.refused}"
    yield from _goes(choice, "goes" if did is None else "went")
    yield from (f"? {group.name}: {group.left}" for group in choice.left)
    if choice.undeclared:
        yield f"? not in the spec, and left alone: {', '.join(choice.undeclared)}"
    if did is None:
        return
    if did.because:
        yield f"! {did.because}"
        return
    yield from (f"! {problem}" for problem in did.problems)
    if did.forgotten:
        yield f"forgot {did.forgotten} snapshots" + (" and notes" if choice.notes else "")
    if did.freed is not None:
        yield f"pruned: freed {size(did.freed)}, {size(did.size)} are left"
    for check in did.checks:
        yield (
            f"! {check.reason}"
            if check.result != "ok"
            else (f"checked {check.part}: well, in {took(check.seconds)}")
        )
    if did.unlocked:
        yield f"removed {did.unlocked} locks that our own dead had left"


def _goes(choice: Any, word: str) -> Iterable[str]:
    shown = 0
    for group in choice.groups:
        if not group.going:
            continue
        proved = f"; {group.proved[:8]} stays, as the last one proved" if group.proved else ""
        yield f"{group.name}: {len(group.going)} {word}, {group.kept} stay{proved}"
        room = max(0, SHOWN - shown)
        yield from (f"  - {each.id[:8]}  {clock(each.time)}" for each in group.going[:room])
        if len(group.going) > room:
            yield f"  ... and {len(group.going) - room} more"
        shown += len(group.going)
    if choice.more:
        yield f"{choice.more} more go in the next run"
    if not choice.going and not choice.refused:
        yield "no snapshot goes"


def told_status(named: frozenset[str] | None) -> Told:
    """Tells what is protected; with `named` of these hosts only."""

    async def told(ops: Ops, handle: Handle, last: Run, as_json: bool) -> int:
        from temporal.runs.backups import found_by
        from temporal.shared.specs.backup.status import BackupStatus

        status = await found_by(ops, last, BackupStatus)
        if status is None:
            return await _failed(handle, last, as_json)
        rows = [row for row in status.rows if named is None or row.host in named]
        well = status.protected if named is None else _all_well(rows, status)
        if as_json:
            emit({**status.model_dump(mode="json"), "rows": rows, "protected": well})
        else:
            show_status(status, rows)
        return DONE if well else FAILED

    return told


def _all_well(rows: Sequence[Row], status: BackupStatus) -> bool:
    places = any(each.problems for each in status.repositories)
    return all(row.state == "protected" for row in rows) and not places


def show_status(status: BackupStatus, rows: Sequence[Row]) -> None:
    """What is protected, and how the repositories are."""
    from temporal.shared.specs.backup.status import age

    promised = (
        f"rpo {age(timedelta(seconds=status.rpo))}, proof {age(timedelta(seconds=status.proof))}"
    )
    print(f"{status.summary} ({promised})")
    now = status.at
    _table(
        [
            *["state", "host", "source", "newest", "oldest", "count", "size", "proved"],
            "restored in",
        ],
        [
            (
                styled(row.state),
                row.host,
                row.source,
                ago(row.newest, now),
                ago(row.oldest, now),
                str(row.snapshots) if row.state != "unknown" else "?",
                size(row.size),
                ago(row.proof, now) if row.state != "unknown" else "?",
                took(row.took) if row.took is not None else "-",
            )
            for row in rows
        ],
    )
    _why(_reasons(rows))
    more = status.total - len(status.rows)
    if more > 0:
        print(f"... and {more} more, none of them worse")
    told = {row.because for row in rows}
    well = [place for place in status.repositories if not place.problems]
    for place in status.repositories:
        # Why a host was not reached stands at its sources.
        if place in well[:FEW] or (place.problems and place.because not in told):
            _show_repository(place, now)
    if len(well) > FEW:
        print(f"... and {len(well) - FEW} more repositories without problems")


def _reasons(rows: Sequence[Row]) -> Iterable[tuple[str, str]]:
    """Why rows are as they are; what is so for all sources of a host stands once."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.because:
            alike.setdefault((row.host, row.because), []).append(row)
    for (host, because), same in alike.items():
        named = ", ".join(row.source for row in same)
        yield f"{host}/{named}: {because}", same[0].state


def _show_repository(place: RepositoryStatus, now: datetime) -> None:
    parts = [f"checked {ago(place.checked, now)} ago" if place.checked else "never checked"]
    parts += [f"which came to no end ({place.result})"] if place.result == "failed" else []
    parts += [size(place.size)] if place.size is not None else []
    out = console()
    line = f"{place.name}: {', '.join(parts)}" if not place.because else place.name
    out.print(line, markup=False, soft_wrap=True)
    for problem in place.problems:
        out.print(f"  ! {problem}", style="red", markup=False, soft_wrap=True)
    for each in place.future:
        out.print(f"  ? {each}", style="yellow", markup=False, soft_wrap=True)
    if place.undeclared:
        named = ", ".join(str(each) for each in place.undeclared)
        out.print(f"  ? not in the spec, and left alone: {named}", markup=False, soft_wrap=True)


def told_snapshots(hosts: frozenset[str], sources: frozenset[str]) -> Told:
    """Tells which snapshots there are; of these hosts and sources only, if some are named."""

    async def told(ops: Ops, handle: Handle, last: Run, as_json: bool) -> int:
        from temporal.runs.backups import found_by
        from temporal.shared.specs.backup.status import Snapshots

        found = await found_by(ops, last, Snapshots)
        if found is None:
            return await _failed(handle, last, as_json)
        kept = [
            each
            for each in found.snapshots
            if (not hosts or each.host in hosts) and (not sources or each.source in sources)
        ]
        if as_json:
            emit({"total": found.total, "snapshots": kept, "problems": found.problems})
        else:
            _show_snapshots(found, kept)
        return FAILED if found.problems and not found.total else DONE

    return told


def _show_snapshots(found: Snapshots, kept: Sequence[Any]) -> None:
    _table(
        ["snapshot", "made", "host", "source", "size", "proof"],
        [
            (
                each.id[:8],
                clock(each.time),
                each.host,
                each.source,
                size(each.size),
                ("damaged", "red") if each.damaged else styled(each.proof) if each.proof else "-",
            )
            for each in kept
        ],
    )
    if not kept:
        print("no snapshots")
    older = found.total - len(found.snapshots)
    if older > 0:
        print(f"... and {older} older ones")
    for problem in found.problems:
        say(f"! {problem}")


async def _report(
    ops: Ops, handle: Handle, last: Run, as_json: bool, *shown: Sequence[object]
) -> FleetReport | None:
    """The fleet's report; as JSON all there is."""
    from temporal.runs.outputs import report_of

    report = await report_of(ops, last)
    if as_json:
        found = [each for some in shown for each in some]
        emit({"id": last.id, "status": last.status, "report": report, "results": found})
    elif report is None:
        await _failed(handle, last, as_json)
    return report


def _unreached(report: FleetReport | None, told: set[str]) -> None:
    """Hosts of which nothing was shown, and why; at the end how many there are of each kind."""
    if report is None:
        return
    for each in report.state.failures:
        if each.host not in told:
            line = f"{each.ending} {each.host}: {' '.join(each.reason.split())}"
            console().print(line, style="red", markup=False, soft_wrap=True)
    say(f"{report.total} host{'s' * (report.total != 1)}: {report.summary}")


async def _failed(handle: Handle, last: Run, as_json: bool) -> int:
    """A run that says nothing of backups: it was cancelled, or failed for another reason."""
    from temporalio.client import WorkflowFailureError

    from temporal.cli.run import why
    from temporal.runs import failure_text

    text = ""
    try:
        await handle.result()
    except WorkflowFailureError as error:
        text = why(error, failure_text)
    if as_json:
        emit({"id": last.id, "status": last.status, "failure": text})
    else:
        say(": ".join(filter(None, [last.status, text])))
    return _status(last)


def _status(last: Run, report: FleetReport | None = None) -> int:
    """However many hosts may fail before the run does: what failed is no success."""
    from temporal.cli.run import STATUS

    status = STATUS.get(last.status, FAILED)
    bad = report is not None and (
        report.state.failed > 0 or report.state.counts.get("incomplete", 0) > 0
    )
    return FAILED if bad and status == DONE else status


def _why(lines: Iterable[tuple[str, str]]) -> None:
    """What is not as it should be, in whole sentences, each in the colour of its state."""
    every = list(lines)
    for text, state in every[:SENTENCES]:
        line = " ".join(text.split())
        style = STYLES.get(state, "red") if state else ""
        console().print(f"! {line}" if state else line, style=style, markup=False, soft_wrap=True)
    if len(every) > SENTENCES:
        print(f"... and {len(every) - SENTENCES} more: --json has all")


def _table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    if not rows:
        return
    print_table(console(), headers, rows[:SHOWN])
    if len(rows) > SHOWN:
        print(f"... and {len(rows) - SHOWN} more: --json has all")
