"""What the journals of a run say, pass by pass. Pure; takes records as they stream in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from converge.changes import Change
from converge.framing import Record
from converge.graph import Spec
from converge.planner import Step, steps

Redact = Callable[[str], str]


@dataclass
class Pass:
    """One pass: what it set out to do, what came of it, and how things were afterwards."""

    number: int
    spec_digest: str = ""
    changes: dict[int, Change] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    """Index -> what its step said."""
    said: dict[int, str] = field(default_factory=dict)
    """The same of a step that went well and has something to tell."""
    skipped: dict[int, int] = field(default_factory=dict)
    """Index -> index of what it needed."""
    reverted: dict[int, str] = field(default_factory=dict)
    """Index -> why the host took the change back by itself."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    """What the probes found after the steps."""
    end: str | None = None
    """ok, locked, stale or aborted; None: the journal just stops."""
    holder: str = ""
    error: str = ""

    @property
    def void(self) -> bool:
        """Did it end before it began?"""
        return self.end in ("locked", "stale")


class Journals:
    """Takes the records of a launcher's stream."""

    def __init__(
        self,
        spec: Spec,
        on_step: Callable[[int, str], None] = lambda index, resource: None,
        on_plan: Callable[[Mapping[int, Change]], None] = lambda changes: None,
        on_start: Callable[[Sequence[int]], None] = lambda indices: None,
    ) -> None:
        self.passes: list[Pass] = []
        self.error = ""
        self._spec = spec
        self._on_step = on_step
        self._on_plan = on_plan
        self._on_start = on_start
        self._steps: list[Step] = []
        self._total = ""

    def over(self, words: tuple[str, ...]) -> bool:
        """Is the record that begins with `words` the last one of the last journal?"""
        last = self.last
        return words[:1] == ("end",) and last is not None and str(last.number) == self._total

    @property
    def last(self) -> Pass | None:
        return self.passes[-1] if self.passes else None

    def take(self, record: Record, redact: Redact = str) -> None:
        match record.words:
            case ("journal", number, _, total):
                self._total = total
                # A stream may begin anew (a lost connection): the later telling counts.
                self.passes = [p for p in self.passes if p.number < int(number)]
                self.passes.append(Pass(int(number)))
                self._steps = []
                return
            case ("error",):
                self.error = record.body.decode(errors="replace").strip()
                return
        now = self.last
        if now is None:
            return
        match record.words:
            case ("plan",):
                self._plan(now, record.body)
            case ("start", step) if found := self._step(step):
                self._on_start(found.members)
            case ("reverted", _, *members):
                why = redact(_text(record.body)) or "not confirmed"
                for index in _numbers(" ".join(members)):
                    now.reverted[index] = f"reverted: {why}"
                    now.changed.discard(index)
            case ("skip", step, need) if (found := self._step(step)) and need.isdecimal():
                now.skipped.update(dict.fromkeys(found.members, int(need)))
                self._tell(found)
            case ("done", step, _, *marks) if found := self._step(step):
                self._done(now, found, " ".join(marks), redact(_text(record.body)))
                self._tell(found)
            case ("probe", key):
                now.bodies[key] = record.body
            case ("holder",):
                now.holder = record.body.decode(errors="replace").strip()
            case ("end", how):
                now.end = how

    def _plan(self, now: Pass, body: bytes) -> None:
        try:
            data = json.loads(body)
            now.spec_digest = str(data["spec"])
            now.changes = {int(k): Change.model_validate(v) for k, v in data["changes"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
            return  # cut off: the pass did not get to its first step
        if now.spec_digest == self._spec.digest:
            self._steps = steps(self._spec, now.changes)
            self._on_plan(now.changes)

    def _step(self, number: str) -> Step | None:
        if number.isdecimal() and int(number) < len(self._steps):
            return self._steps[int(number)]
        return None

    @staticmethod
    def _done(now: Pass, step: Step, marks: str, output: str) -> None:
        changed, _, failed = marks.partition("failed=")
        now.changed |= _numbers(changed.removeprefix("changed=")) & set(step.members)
        for index in _numbers(failed) & set(step.members):
            now.failed[index] = output
        if output:
            now.said.update(dict.fromkeys(now.changed & set(step.members), output))

    def _tell(self, step: Step) -> None:
        for index in step.members:
            self._on_step(index, self._spec.resources[index].id)


def _numbers(text: str) -> set[int]:
    return {int(word) for word in text.split() if word.isdecimal()}


def _text(body: bytes) -> str:
    return body.decode(errors="replace").strip("\n")


def redactor(secrets: Mapping[str, bytes]) -> Redact:
    """Takes secret values out of what a command printed. The last net, not the plan."""
    values = sorted(
        {
            piece
            for value in secrets.values()
            for piece in (value.decode(errors="replace"), *value.decode(errors="replace").split())
            if len(piece) >= 4
        },
        key=len,
        reverse=True,
    )

    def redact(text: str) -> str:
        for value in values:
            text = text.replace(value, "(secret)")
        return text

    return redact
