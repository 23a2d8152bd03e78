"""Choosing hosts by words: names of hosts and groups, tags, globs; and, or, not.

    web,db        those in web, and those in db
    web,&prod     those in web that are in prod too
    web,!web3     those in web but web3
    tag:tls,!web* those that bear the tag tls, but none whose name or group begins with web

Additions come first, then what is kept, then what is taken away, whatever the order: Ansible's rule
("Patterns: targeting hosts and groups"). Pure.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from converge.inventory.errors import InventoryError

ALL, UNGROUPED = "all", "ungrouped"
TAG = "tag:"
"""What a word for a tag begins with. No host and no group may be called so."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Choice:
    """What can be chosen from: hosts in their order, and the hosts of each group and of each tag."""

    name: str
    hosts: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    tags: Mapping[str, Sequence[str]]

    def of(self, pattern: str | None) -> list[str]:
        """The hosts that fit, in their order; all without a pattern.

        Raises InventoryError if nothing fits, naming the word after which nothing was left, or if a
        word is of nothing, naming what is near.
        """
        chosen = set(self.hosts)
        if pattern is not None:
            chosen = self._chosen(pattern)
        if not chosen:
            raise InventoryError(f"{self.name}: it has no hosts")
        return [host for host in self.hosts if host in chosen]

    def _chosen(self, pattern: str) -> set[str]:
        parts = [part.strip() for part in pattern.split(",") if part.strip()]
        if not parts:
            # A variable of the caller's that was not set would choose everything.
            raise InventoryError(
                f"{self.name}: the selection {pattern!r} is empty; all is written all"
            )
        meant = [(part, self._meant(part, pattern)) for part in parts]
        added = [hosts for part, hosts in meant if part[0] not in "&!"]
        found = set().union(*added) if added else set(self.hosts)
        for sign in "&!":
            for part, hosts in meant:
                if part[0] != sign or not found:
                    continue
                left = found & hosts if sign == "&" else found - hosts
                if not left:
                    raise InventoryError(
                        f"{self.name}: no host fits {pattern!r}: {part} leaves none of the"
                        f" {len(found)} that the words before it chose ({_some(self.hosts, found)})"
                    )
                found = left
        if not found:
            raise InventoryError(f"{self.name}: no host fits {pattern!r}: there is none in it")
        return found

    def _meant(self, part: str, pattern: str) -> set[str]:
        """The hosts that one word stands for. Raises InventoryError."""
        name = part[1:].strip() if part[0] in "&!" else part
        if not name:
            raise InventoryError(f"{self.name}: {pattern!r}: a word is missing after {part}")
        if name in (ALL, "*"):
            return set(self.hosts)
        if name.startswith(TAG):
            return self._tagged(name.removeprefix(TAG))
        known = [*self.groups, *self.hosts]
        if name.startswith("~"):
            try:
                expression = re.compile(name[1:])
            except re.error as error:
                raise InventoryError(f"{name!r} is no regular expression: {error}") from None
            fits = [each for each in known if expression.match(each)]
        elif name in self.groups or name in self.hosts:
            fits = [name]
        else:
            fits = fnmatch.filter(known, name)
        if not fits:
            near = _near(name, known)
            if not near and name in self.tags:
                near = f"; there is a tag of that name: {TAG}{name}"
            raise InventoryError(f"{self.name}: no host or group is called {name}{near}")
        return {host for each in fits for host in self.groups.get(each, (each,))}

    def _tagged(self, name: str) -> set[str]:
        fits = [name] if name in self.tags else fnmatch.filter(self.tags, name)
        if not fits:
            there = ", ".join(sorted(self.tags)[:10]) or "none"
            near = _near(name, self.tags) or f"; it has {there}"
            raise InventoryError(f"{self.name}: no host bears the tag {name}{near}")
        return {host for each in fits for host in self.tags[each]}


def check_name(name: str, where: str) -> None:
    """Raises InventoryError for a host or group that is called as a word for a tag is."""
    if name.startswith(TAG):
        raise InventoryError(
            f"{where}: {name}: no host and no group can be called so: {TAG} begins a word for a tag"
        )


def check_tags(value: object, where: str) -> list[str]:
    """The tags that `value` lists. Raises InventoryError."""
    if not isinstance(value, list):
        raise InventoryError(f"{where}: tags: must be a list of names, and is {value!r}")
    for tag in value:
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise InventoryError(
                f"{where}: tags: {tag!r} is no name of a tag: letters, digits and _ . -"
            )
    return list(value)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 2, 0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _some(hosts: Sequence[str], chosen: set[str]) -> str:
    first = [host for host in hosts if host in chosen]
    return ", ".join(first[:5]) + (", ..." if len(first) > 5 else "")
