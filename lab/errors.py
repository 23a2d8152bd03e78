"""The one error the lab raises: what happened, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """A lab operation that could not be done.

    Args:
        what: what happened, in one sentence.
        where: the lab, machine or file it happened to.
        do: what the reader can do about it.
        details: lines that prove it (the end of a log, a command's output).
    """

    def __init__(self, what: str, *, where: str = "", do: str = "", details: str = "") -> None:
        self.what = what
        self.where = where
        self.do = do
        self.details = details
        text = f"{where}: {what}" if where else what
        if do:
            text += f"\n  what to do: {do}"
        if details.strip():
            text += "\n" + "\n".join(f"  | {line}" for line in details.rstrip().splitlines())
        super().__init__(text)


class LabMissing(LabError):
    """This machine cannot run a lab; `reasons` says what it lacks, each with what to do."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = list(reasons)
        super().__init__(
            "this machine cannot run a lab",
            details="\n".join(self.reasons),
        )
