"""What a proof is about, and what it found: the same for a restore and for a drill."""

from __future__ import annotations

from datetime import datetime

from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.backup.sources import Kind

SHOWN = 20
"""Differences that a result names; their number is told always."""


class Chosen(Spec):
    """A snapshot of a host's source.

    Attributes:
        snapshot: its whole id.
        proof: where in it the proof is. Beside that, for a database, the dump.
        roots: the other paths that it was made of.
    """

    source: str
    kind: Kind
    snapshot: str
    time: datetime
    proof: str
    roots: tuple[str, ...] = ()


class Proving(Spec):
    """What a comparison of a restored copy with its proof found.

    Attributes:
        proved: how many files, or tables of a database, are as they were when they were backed up.
        unproven: how many files cannot be judged: they were being changed while they were backed up.
        wrong: how many are not what was backed up, or are not there.
        differences: the first of the wrong ones, and what is wrong.
    """

    proved: int = 0
    unproven: int = 0
    wrong: int = 0
    differences: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        """In one line."""
        parts = [f"{self.proved} proved"]
        parts += [f"{self.unproven} unproven"] if self.unproven else []
        parts += [f"{self.wrong} wrong"] if self.wrong else []
        return ", ".join(parts)
