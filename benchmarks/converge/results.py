"""What was measured, as values: cells of a table, and what they come to against each other."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

FIRST, CHANGE, NONE = "first apply", "one change", "no change"
PHASES = (FIRST, CHANGE, NONE)
LEAST = {1: (8.0, 25.0), 48: (15.0, 40.0)}
"""Hosts -> how many times faster a run without a change is to be than pyinfra and Ansible."""


@dataclass
class Cell:
    """One contestant doing one thing; a list has one entry a turn.

    Attributes:
        seconds: of the whole command, by the clock.
        cpu_here: CPU seconds on this side, all hosts together.
        cpu_servers: CPU seconds of all the lab's servers.
        date: when, if not when its sheet was.
    """

    who: str
    phase: str
    seconds: list[float] = field(default_factory=list)
    cpu_here: list[float] = field(default_factory=list)
    cpu_servers: list[float] = field(default_factory=list)
    date: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Sheet:
    """All that was measured with so many hosts at such a round trip.

    Attributes:
        rtt: seconds.
        load, load_after: the machine's load (1 min) before it began and at its end. Much more
            than the cores after a run is the run's own; before it, somebody else's.
        memory: most MiB that the worker had resident; None if it did not take part.
    """

    hosts: int
    rtt: float
    date: str
    load: float
    cells: list[Cell] = field(default_factory=list)
    memory: float | None = None
    load_after: float | None = None

    def cell(self, who: str, phase: str) -> Cell | None:
        found = (one for one in self.cells if one.who == who and one.phase == phase)
        return next((one for one in found if one.seconds), None)

    def add(self, who: str, phase: str) -> Cell:
        found = next((one for one in self.cells if (one.who, one.phase) == (who, phase)), None)
        if found is None:
            found = Cell(who, phase)
            self.cells.append(found)
        return found

    def ratio(self, slow: str, fast: str, phase: str) -> float | None:
        """How many times longer `slow` takes than `fast`."""
        a, b = self.cell(slow, phase), self.cell(fast, phase)
        return a.median / b.median if a and b else None

    @staticmethod
    def of(value: dict[str, Any]) -> Sheet:
        return Sheet(**{**value, "cells": [Cell(**one) for one in value["cells"]]})


def merged(old: Iterable[Sheet], new: Iterable[Sheet], *, more: bool = False) -> list[Sheet]:
    """The sheets of both, in order; what was measured anew takes the place of the old, or with `more`
    joins it, turn by turn."""
    sheets = {(one.rtt, one.hosts): one for one in old}
    for one in new:
        before = sheets.get((one.rtt, one.hosts))
        sheets[one.rtt, one.hosts] = _anew(before, one, more) if before else one
    return [sheets[key] for key in sorted(sheets)]


def _anew(old: Sheet, new: Sheet, more: bool) -> Sheet:
    if more:
        new = replace(new, cells=[_joined(old, new, one) for one in new.cells])
    measured = {(one.who, one.phase) for one in new.cells}
    kept = [
        replace(one, date=one.date or old.date)
        for one in old.cells
        if (one.who, one.phase) not in measured
    ]
    both = more or bool(kept)
    most = [one.memory for one in (old, new) if one.memory is not None and (one is new or both)]
    return replace(new, cells=[*kept, *new.cells], memory=max(most, default=None))


def _joined(old: Sheet, new: Sheet, cell: Cell) -> Cell:
    before = old.cell(cell.who, cell.phase)
    if before is None:
        return cell
    return replace(
        cell,
        seconds=before.seconds + cell.seconds,
        cpu_here=before.cpu_here + cell.cpu_here,
        cpu_servers=before.cpu_servers + cell.cpu_servers,
        date=f"{before.date or old.date} and {new.date}",
    )


def verdicts(sheet: Sheet, ours: str = "temporal-ops", library: str = "converge") -> list[str]:
    """The bounds that apply to a sheet, each in a line that ends with kept or MISSED."""
    lines = []
    for peer, least in zip(("pyinfra", "ansible"), LEAST.get(sheet.hosts, ()), strict=False):
        found = sheet.ratio(peer, ours, NONE)
        if found is not None and sheet.rtt == 0:
            lines.append(_line(f"no change, {found:.1f} times faster than {peer}", found, least))
    bare = sheet.ratio(library, "limit", NONE)
    if bare is not None:
        word = "kept" if bare <= 2 else "MISSED"
        lines.append(f"no change, library {bare:.2f} times the bare limit (at most 2): {word}")
    for peer in ("pyinfra", "ansible"):
        for who in (ours, library):
            found = sheet.ratio(peer, who, FIRST)
            if found is not None:
                name = f"first apply, {who} {found:.1f} times faster than {peer}"
                lines.append(_line(name, found, 1.0))
    if sheet.memory is not None and sheet.hosts == 48:
        word = "kept" if sheet.memory < 300 else "MISSED"
        lines.append(f"worker's memory {sheet.memory:.0f} MiB (under 300): {word}")
    return lines


def _line(name: str, found: float, least: float) -> str:
    return f"{name} (at least {least:g}): {'kept' if found >= least else 'MISSED'}"
