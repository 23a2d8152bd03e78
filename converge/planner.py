"""Wanted and found -> plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converge.changes import Change
from converge.graph import Spec
from converge.plans import Plan
from converge.resource import Around, State

_ACTS = {"create", "update", "remove", "unknown"}


def compare(spec: Spec, states: Sequence[State]) -> dict[int, Change]:
    """Index of each resource that differs -> how, in the order of the spec."""
    changes: dict[int, Change] = {}
    by_id = {resource.id: index for index, resource in enumerate(spec.resources)}
    bringing: list[str] = []
    for index, (resource, state) in enumerate(zip(spec.resources, states, strict=True)):
        triggers = tuple(
            ref
            for ref in resource.listens()
            if (change := changes.get(by_id[ref])) is not None and change.action in _ACTS
        )
        around = Around(tuple(bringing), triggers, spec.provided)
        change = resource.diff(state, around)
        if change is None:
            continue
        changes[index] = change
        if resource.brings and change.action in ("create", "update", "unknown"):
            bringing.append(resource.id)
    return changes


def make_plan(host: str, spec: Spec, changes: dict[int, Change]) -> Plan:
    return Plan(host=host, resources=spec.resources, changes=tuple(changes.values()))


@dataclass(frozen=True)
class Step:
    """Resources settled by one piece of script."""

    members: tuple[int, ...]
    needs: tuple[int, ...]
    """Indices; if one of them failed or was skipped, so is this step."""


def steps(spec: Spec, changes: dict[int, Change]) -> list[Step]:
    """Neighbours of a type that coalesces become one step, if they wait for the same things.

    Only then: else the failure of one would skip what does not depend on it.
    """
    made: list[Step] = []
    for index, change in changes.items():
        if change.action == "blocked":
            continue
        kind = type(spec.resources[index])
        needs = tuple(need for need in spec.needs[index] if need in changes)
        if made and kind.coalesces:
            last = made[-1]
            if type(spec.resources[last.members[0]]) is kind and last.needs == needs:
                made[-1] = Step((*last.members, index), needs)
                continue
        made.append(Step((index,), needs))
    return made
