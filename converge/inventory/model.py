"""Hosts and groups as values: who is in what, whose variables win, and choosing by pattern."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from converge.host import Host
from converge.inventory.errors import InventoryError
from converge.inventory.selection import ALL, UNGROUPED, Choice, check_name


@dataclass
class Group:
    """A group as the files say it. `variables` are of the inventory, `beside` of group_vars/."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)
    where: str = ""


@dataclass
class Named:
    """A host as the files say it."""

    name: str
    variables: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, None] = field(default_factory=dict)
    where: str = ""


@dataclass
class Tree:
    """What has been read so far, of one file or several."""

    groups: dict[str, Group] = field(default_factory=dict)
    hosts: dict[str, Named] = field(default_factory=dict)

    def group(self, name: str, where: str = "") -> Group:
        found = self.groups.setdefault(name, Group(name))
        found.where = found.where or where
        return found

    def host(self, name: str, where: str = "") -> Named:
        found = self.hosts.setdefault(name, Named(name))
        found.where = found.where or where
        return found


@dataclass(frozen=True)
class Entry:
    """One host of an inventory, everything resolved."""

    name: str
    groups: tuple[str, ...]
    """All it is in, also through their children; without "all"."""
    variables: Mapping[str, Any]
    where: str
    tags: tuple[str, ...] = ()
    """Its own and those of its groups."""

    @cached_property
    def host(self) -> Host:
        """How to reach it. Raises InventoryError for what cannot be done, naming the variable."""
        from converge.inventory.connections import host_of

        return host_of(self)


@dataclass(frozen=True)
class Inventory:
    """All hosts in the order of the files, and the groups they are in."""

    name: str
    entries: Mapping[str, Entry]
    groups: Mapping[str, tuple[str, ...]]
    """Group -> names of its hosts, those of its children too."""

    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tag -> names of the hosts that bear it, by themselves or through a group."""

    def select(self, pattern: str | None = None) -> list[Entry]:
        """Hosts that fit, in the order of the inventory; all without a pattern.

        A pattern is a list with commas of names of hosts and groups and of tags, globs among them:
        `web` adds, `&tag:prod` keeps only those in it, `!web3` takes away; see `selection`.
        Raises InventoryError if nothing fits, or a word is of nothing.
        """
        choice = Choice(self.name, list(self.entries), self.groups, self.tags)
        return [self.entries[name] for name in choice.of(pattern)]


def resolve(tree: Tree, name: str) -> Inventory:
    """Raises InventoryError for groups that lie in each other or are not declared."""
    for group in tree.groups.values():
        for child in group.children:
            if child not in tree.groups:
                near = difflib.get_close_matches(child, tree.groups, 1, 0.6)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InventoryError(
                    f"{group.where or name}: group {group.name} has the child {child}, which is no"
                    f" group{hint}"
                )
    declared = [(each.name, each.where) for each in tree.groups.values()]
    for called, where in [*declared, *((each.name, each.where) for each in tree.hosts.values())]:
        check_name(called, where or name)
    depths = _depths(tree, name)
    everything = tree.group(ALL)
    parents = _parents(tree)
    entries: dict[str, Entry] = {}
    tagged: dict[str, list[str]] = {}
    members: dict[str, list[str]] = {group: [] for group in tree.groups if group != ALL}
    for host in tree.hosts.values():
        mine = _groups_of(host.name, tree, parents)
        ordered = sorted(
            (tree.groups[each] for each in mine),
            key=lambda g: (depths[g.name], _priority(g), g.name),
        )
        variables: dict[str, Any] = dict(everything.variables)
        for group in ordered:
            variables |= group.variables
        variables |= everything.beside
        for group in ordered:
            variables |= group.beside
        variables |= host.variables
        variables |= host.beside
        for each in mine:
            members[each].append(host.name)
        names = tuple(group.name for group in ordered)
        marks = dict.fromkeys([*host.tags, *(tag for group in ordered for tag in group.tags)])
        for tag in marks:
            tagged.setdefault(tag, []).append(host.name)
        entries[host.name] = Entry(host.name, names, variables, host.where or name, tuple(marks))
    groups = {group: tuple(hosts) for group, hosts in members.items()}
    return Inventory(name, entries, groups, {tag: tuple(hosts) for tag, hosts in tagged.items()})


def _priority(group: Group) -> int:
    found = {**group.variables, **group.beside}.get("ansible_group_priority", 1)
    return found if isinstance(found, int) else int(found) if str(found).isdecimal() else 1


def _parents(tree: Tree) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {}
    for group in tree.groups.values():
        for child in group.children:
            parents.setdefault(child, []).append(group.name)
    return parents


def _groups_of(host: str, tree: Tree, parents: Mapping[str, Sequence[str]]) -> list[str]:
    waiting = [group.name for group in tree.groups.values() if host in group.hosts]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name == ALL:
            continue
        found[name] = None
        waiting += parents.get(name, ())
    if not found or set(found) == {UNGROUPED}:
        return [UNGROUPED] if UNGROUPED in tree.groups else []
    return [name for name in found if name != UNGROUPED]


def _depths(tree: Tree, name: str) -> dict[str, int]:
    """Longest way down from the top: what lies deeper is more special, and wins."""
    depths: dict[str, int] = {}
    on_the_way: list[str] = []

    def deeper(group: str, depth: int) -> None:
        if group in on_the_way:
            circle = " > ".join([*on_the_way[on_the_way.index(group) :], group])
            raise InventoryError(
                f"{tree.groups[group].where or name}: groups in a circle: {circle}"
            )
        if depths.get(group, -1) >= depth:
            return
        depths[group] = depth
        on_the_way.append(group)
        for child in tree.groups[group].children:
            deeper(child, depth + 1)
        on_the_way.pop()

    children = {
        child for group in tree.groups.values() if group.name != ALL for child in group.children
    }
    for group in tree.groups:
        if group not in children:
            deeper(group, 0 if group == ALL else 1)
    for group in tree.groups:
        if group not in depths:
            deeper(group, 1)
    return depths
