"""From a list of resources to their order. Everything that can be refused without a host is."""

from __future__ import annotations

import difflib
import hashlib
import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converge.errors import InvalidResources
from converge.resource import Resource


@dataclass(frozen=True)
class Spec:
    """Resources in the order they are settled in, and what each waits for."""

    resources: tuple[Resource, ...]
    needs: tuple[tuple[int, ...], ...]
    """For each resource, the indices of those it is skipped with."""
    provided: frozenset[str]
    digest: str
    """Of the wanted state. Holds secret references, never values."""

    def of_type(self, kind: type[Resource]) -> list[tuple[int, Resource]]:
        return [(i, r) for i, r in enumerate(self.resources) if type(r) is kind]


def arrange(resources: Iterable[Resource]) -> Spec:
    """The declared order, moved only where an edge demands it.

    Raises InvalidResources for contradictions, references to nothing and cycles, naming all
    resources concerned.
    """
    unique = _unique(resources)
    _references(unique)
    providers: dict[str, list[int]] = {}
    for index, resource in enumerate(unique):
        for token in resource.provides():
            providers.setdefault(token, []).append(index)
    _contradictions(unique, providers)
    edges: list[set[int]] = []
    for index, resource in enumerate(unique):
        tokens = {*resource.requires(), *resource.needs}
        edges.append({p for token in tokens for p in providers.get(token, ()) if p != index})
    order = _order(unique, _with_wishes(unique, edges, providers))
    place = {old: new for new, old in enumerate(order)}
    return Spec(
        resources=tuple(unique[old] for old in order),
        needs=tuple(tuple(sorted(place[p] for p in edges[old])) for old in order),
        provided=frozenset(token for token in providers if not token.startswith("no-")),
        digest=digest([resource.model_dump(mode="json") for resource in unique]),
    )


def digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _unique(resources: Iterable[Resource]) -> list[Resource]:
    found: dict[str, Resource] = {}
    for resource in resources:
        if not isinstance(resource, Resource):
            raise InvalidResources(f"{resource!r} is no resource")
        other = found.setdefault(resource.id, resource)
        if other != resource:
            mine, theirs = resource.model_dump(), other.model_dump()
            differing = ", ".join(
                name if name == "content" else f"{name} {theirs[name]!r} and {mine[name]!r}"
                for name in mine
                if mine[name] != theirs[name]
            )
            raise InvalidResources(f"{resource.id} is declared twice and differs: {differing}")
    return list(found.values())


def _references(resources: Sequence[Resource]) -> None:
    ids = {resource.id for resource in resources}
    for resource in resources:
        for ref in (*resource.needs, *resource.listens()):
            if ref == resource.id:
                raise InvalidResources(f"{resource.id} refers to itself")
            if ref not in ids:
                near = difflib.get_close_matches(ref, ids, 1, 0.6)
                hint = f"; perhaps {near[0]}" if near else ""
                raise InvalidResources(
                    f"{resource.id} refers to {ref}, which is not declared{hint}"
                )


def _contradictions(resources: Sequence[Resource], providers: dict[str, list[int]]) -> None:
    for index, resource in enumerate(resources):
        for token, why in resource.forbids().items():
            for other in providers.get(token, ()):
                if other != index:
                    raise InvalidResources(
                        f"{resource.id} and {resources[other].id} contradict each other: {why}"
                    )


def _with_wishes(
    resources: Sequence[Resource], edges: Sequence[set[int]], providers: dict[str, list[int]]
) -> list[set[int]]:
    """The edges, and those of `follows` that close no cycle."""
    all_edges = [set(needed) for needed in edges]
    for index, resource in enumerate(resources):
        for token in sorted(resource.follows()):
            for other in providers.get(token, ()):
                if other != index and not _reaches(all_edges, other, index):
                    all_edges[index].add(other)
    return all_edges


def _reaches(edges: Sequence[set[int]], start: int, goal: int) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        index = waiting.pop()
        if index == goal:
            return True
        waiting += edges[index] - seen
        seen |= edges[index]
    return False


def _order(resources: Sequence[Resource], edges: Sequence[set[int]]) -> list[int]:
    waiting = [len(needed) for needed in edges]
    followers: list[list[int]] = [[] for _ in resources]
    for index, needed in enumerate(edges):
        for other in needed:
            followers[other].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for follower in followers[index]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(resources):
        raise InvalidResources(f"these wait for each other: {_cycle(resources, edges, set(order))}")
    return order


def _cycle(resources: Sequence[Resource], edges: Sequence[set[int]], done: set[int]) -> str:
    path: list[int] = []
    index = next(i for i in range(len(resources)) if i not in done)
    while index not in path:
        path.append(index)
        index = min(other for other in edges[index] if other not in done)
    loop = [*path[path.index(index) :], index]
    return " needs ".join(resources[i].id for i in loop)
