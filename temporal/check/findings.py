"""What a check reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
        rule: id of the rule, a key of :data:`temporal.check.rules.RULES`.
        severity: "error" fails or wedges a run, "warning" misleads, "note" is advice.
        message: what is wrong, and by which path it is reached.
        file: absolute path; None where the problem belongs to no file.
        line, column: both from 1.
        instead: what to do.
    """

    rule: str
    severity: Severity
    message: str
    file: Path | None
    line: int
    column: int
    instead: str

    @property
    def place(self) -> tuple[str, int, int, str]:
        """Where it sorts."""
        return (str(self.file or ""), self.line, self.column, self.rule)
