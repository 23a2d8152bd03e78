"""What would change on the server for its schedules to be as a file declares them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

import yaml

from temporal.client import Ops
from temporal.schedules.declared import Declared, File
from temporal.schedules.found import Found, look, names
from temporal.schedules.shaping import View, arguments, digest_in, schedule_of, view_of

Kind = Literal["create", "change", "remove", "same", "taken", "foreign"]
MARKS: dict[Kind, str] = {"create": "+", "change": "~", "remove": "-", "taken": "!"}
_LONGEST_LINE = 160
_MOST_LINES = 60


@dataclass(frozen=True)
class Step:
    """One schedule, and what is to be done with it.

    Attributes:
        kind: `taken`: it is declared, and one of that name is somebody else's; `foreign`: it is
            not declared and not ours: left alone.
        before, after: what it is and what it is to be.
        because: more about it, for people.
        found: what is there.
    """

    name: str
    kind: Kind
    before: View | None = None
    after: View | None = None
    because: str = ""
    found: Found | None = None
    declared: Declared | None = None

    @property
    def diff(self) -> list[str]:
        """What changes, as a unified diff."""
        before, after = (_lines(view) for view in (self.before, self.after))
        rows = list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]
        shown = [row for row in rows if not row.startswith("@@")]
        more = [f"... {len(shown) - _MOST_LINES} more lines"] if len(shown) > _MOST_LINES else []
        return [_clipped(row) for row in shown[:_MOST_LINES]] + more

    def render(self) -> str:
        """For people: a line, and what changes below it."""
        why = f"  ({self.because})" if self.because else ""
        rows = self.diff if self.kind in ("create", "change", "remove") else []
        head = f"  {MARKS.get(self.kind, ' ')} {self.name}{why}"
        return "\n".join([head, *(f"      {row}" for row in rows)])


@dataclass(frozen=True)
class Plan:
    """What would change, schedule by schedule."""

    owner: str
    steps: tuple[Step, ...]

    def of(self, *kinds: Kind) -> tuple[Step, ...]:
        """The steps of these kinds."""
        return tuple(step for step in self.steps if step.kind in kinds)

    @property
    def empty(self) -> bool:
        """Is the server as declared?"""
        return not self.of("create", "change", "remove", "taken")

    @property
    def summary(self) -> str:
        """In one line."""
        count = {kind: len(self.of(kind)) for kind in ("create", "change", "remove", "same")}
        if self.empty:
            return f"No changes. {count['same']} schedules are as declared."
        return (
            f"Plan: {count['create']} to create, {count['change']} to change, "
            f"{count['remove']} to remove, {count['same']} unchanged."
        )

    def render(self) -> str:
        """For people, as a plan is known from Terraform."""
        lines = [f"schedules of {self.owner}"]
        lines += [step.render() for step in self.of("create", "change", "remove", "taken")]
        if foreign := self.of("foreign"):
            lines += ["", "not ours, left alone:"]
            lines += [
                f"    {each.name}" + (f"  ({each.because})" if each.because else "")
                for each in foreign
            ]
        return "\n".join([*lines, "", self.summary])


async def plan(ops: Ops, file: File, *, adopt: bool = False) -> Plan:
    """What would change; changes nothing.

    Args:
        adopt: schedules of a declared name that are nobody's or somebody else's become ours.

    Raises ConnectError.
    """
    declared = {each.name: each for each in file.schedules}
    found = await look(ops, sorted({*declared, *await names(ops)}))
    steps = [
        _declared(ops, file.owner, each, found.get(each.name), adopt) for each in file.schedules
    ]
    for name, there in found.items():
        if name in declared:
            continue
        if there.owner == file.owner:
            why = "not declared any more"
            steps.append(Step(name, "remove", before=there.view, because=why, found=there))
        else:
            whose = f"of {there.owner}" if there.owner else ""
            steps.append(Step(name, "foreign", because=whose, found=there))
    return Plan(file.owner, tuple(steps))


def _declared(ops: Ops, owner: str, declared: Declared, found: Found | None, adopt: bool) -> Step:
    wanted = schedule_of(ops, owner, declared)
    after = view_of(wanted, arguments(ops, declared))
    if found is None:
        return Step(declared.name, "create", None, after, declared=declared)
    before = found.view
    if declared.entry.paused is None:
        # Whether it rests is then up to people, and with it the note that says why.
        after = {**after, "paused": before.get("paused", False)}
        if after["paused"]:
            after["note"] = before.get("note", "")
    step = Step(declared.name, "change", before, after, found=found, declared=declared)
    if found.owner != owner:
        whose = f"{found.owner}'s" if found.owner else "not made from a file"
        if adopt and found.schedule is not None:
            return _because(step, f"{whose} until now")
        return _because(step, f"it is there already and {whose}; --adopt takes it over", "taken")
    # A note is written over by whoever pauses and unpauses: that alone is no change.
    differs = {key for key in {*before, *after} if before.get(key) != after.get(key)} - {"note"}
    if found.digest == digest_in(wanted):
        return (
            _because(step, "changed on the server by hand")
            if differs
            else _because(step, "", "same")
        )
    return step if differs or step.diff else _because(step, "only what is noted of it")


def _because(step: Step, why: str, kind: Kind | None = None) -> Step:
    return Step(
        step.name, kind or step.kind, step.before, step.after, why, step.found, step.declared
    )


def _lines(view: View | None) -> list[str]:
    if view is None:
        return []
    text = yaml.safe_dump(view, sort_keys=False, allow_unicode=True, width=10_000)
    return text.splitlines()


def _clipped(row: str) -> str:
    return row if len(row) <= _LONGEST_LINE else row[: _LONGEST_LINE - 1] + "…"
