"""What came of an apply, as a value: for each resource, and in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from converge.changes import Change
from converge.errors import ApplyFailed
from converge.graph import Spec
from converge.journal import Pass
from converge.render import printable, render_change

Status = Literal["unchanged", "changed", "failed", "skipped", "unknown"]


class Outcome(BaseModel):
    """One resource. The status is what the probe saw afterwards, not what a command returned."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    resource: str
    status: Status
    change: Change | None = None
    """What was to change when the run began."""
    remaining: Change | None = None
    """What still differs: wanted and found."""
    because: str = ""
    """Skipped: the id of what it needed. Failed: what stands in the way, if it was known."""
    output: str = ""
    """What a failed step printed, or a command that ran; its last 16 KiB."""

    def __str__(self) -> str:
        text = f"{self.resource}: {self.status}"
        if self.status == "skipped":
            return f"{text}, it needs {self.because}"
        if self.because:
            text += f": {self.because}"
        if self.remaining is not None and self.remaining.fields:
            text += f"; wanted {self.remaining.wanted}; found {self.remaining.found}"
        return printable(text)


class Report(BaseModel):
    """All of an apply."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    host: str
    run_id: str
    passes: int
    """How many times the host was worked on; 0 if it was as wanted."""
    attached: bool
    """Was the run already there (after a lost connection or controller)?"""
    outcomes: tuple[Outcome, ...]

    @property
    def changed(self) -> bool:
        return any(outcome.status == "changed" for outcome in self.outcomes)

    @property
    def ok(self) -> bool:
        """Is everything as wanted?"""
        return all(outcome.status in ("unchanged", "changed") for outcome in self.outcomes)

    def of(self, *statuses: Status) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status in statuses]

    @property
    def summary(self) -> str:
        kinds: tuple[Status, ...] = ("changed", "unchanged", "failed", "skipped", "unknown")
        counts = [(status, len(self.of(status))) for status in kinds]
        text = ", ".join(f"{n} {status}" for status, n in counts if n or status == "changed")
        return f"{self.host}: {text}"

    def render(self) -> str:
        lines = [printable(self.host)]
        for outcome in self.outcomes:
            if outcome.status == "changed" and outcome.change is not None:
                lines += render_change(outcome.change)
            elif outcome.status != "unchanged":
                lines.append(f"  ! {outcome}")
                lines += [f"      | {printable(line)}" for line in outcome.output.splitlines()]
        return "\n".join([*lines, "", self.summary]) + "\n"

    def raise_for_failure(self) -> Report:
        """Self if all is as wanted, else raises ApplyFailed naming what is not."""
        if not self.ok:
            bad = self.of("failed", "unknown", "skipped")
            raise ApplyFailed("; ".join(str(outcome) for outcome in bad), host=self.host)
        return self


def settle(
    host: str,
    run_id: str,
    spec: Spec,
    passes: Sequence[Pass],
    first: Mapping[int, Change],
    remaining: Mapping[int, Change],
    *,
    attached: bool,
) -> Report:
    """Report of a run whose last look at the host found `remaining` still to differ."""
    worked = [p for p in passes if not p.void]
    changed = {index for p in worked for index in p.changed}
    began: dict[int, Change] = dict(first)
    for p in reversed(worked):
        began.update(p.changes)
    outcomes: list[Outcome] = []
    bad: dict[int, str] = {}
    for index, resource in enumerate(spec.resources):
        left = remaining.get(index)
        told = [text for p in reversed(worked) for text in (p.failed.get(index), p.said.get(index))]
        output = next((text for text in told if text), "")
        status: Status
        because = ""
        back = next((p.reverted[index] for p in reversed(worked) if index in p.reverted), "")
        if back:
            status, because = "failed", back.partition("\n")[0]
            output = output or back.partition("\n")[2]
            bad[index] = resource.id
        elif left is None:
            status = "changed" if index in changed else "unchanged"
        else:
            culprit = _culprit(index, spec, worked, bad)
            if culprit is not None and left.action != "blocked":
                status, because = "skipped", spec.resources[culprit].id
            else:
                status = "unknown" if left.action == "unknown" and not output else "failed"
                because = left.why
            bad[index] = resource.id
        outcomes.append(
            Outcome(
                resource=resource.id,
                status=status,
                change=began.get(index),
                remaining=left,
                because=because,
                output=output,
            )
        )
    return Report(
        host=host, run_id=run_id, passes=len(worked), attached=attached, outcomes=tuple(outcomes)
    )


def _culprit(index: int, spec: Spec, worked: Sequence[Pass], bad: Mapping[int, str]) -> int | None:
    """What this was skipped with: told by the last pass, or, if none ran, by the order."""
    if worked and index in worked[-1].skipped:
        return worked[-1].skipped[index]
    if not worked or index not in {i for p in worked for i in p.failed}:
        return next((need for need in spec.needs[index] if need in bad), None)
    return None
