"""Owners and groups of things on disk: do they exist, or will they?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from converge.resource import Around
from converge.shell import words

LOOK = r"""
owner_accounts() { # user or group, database, names...
  kind=$1 base=$2; shift 2
  { if command -v getent >/dev/null; then getent "$base" "$@"; else cat "/etc/$base"; fi; } |
    while IFS=: read -r name rest; do printf 'account %s\n' "$kind:$name"; done
}
"""


class Owned(Protocol):
    @property
    def owner(self) -> str | None: ...

    @property
    def group(self) -> str | None: ...


def ask(resources: Iterable[Owned]) -> list[str]:
    """Shell that says which of the owners and groups the host knows."""
    asked = list(resources)
    users = sorted({r.owner for r in asked if r.owner and r.owner != "root"})
    groups = sorted({r.group for r in asked if r.group and r.group != "root"})
    lines = [LOOK]
    if users:
        lines.append(f"owner_accounts user passwd {words(users)}")
    if groups:
        lines.append(f"owner_accounts group group {words(groups)}")
    return lines


def known(output: bytes) -> frozenset[str]:
    """Tokens "user:x" and "group:x" of what `ask` found."""
    lines = output.decode(errors="replace").split("\n")
    found = {line.removeprefix("account ") for line in lines if line.startswith("account ")}
    return frozenset(found | {"user:root", "group:root"})


def tokens(resource: Owned) -> set[str]:
    asked = {f"user:{resource.owner}"} if resource.owner else set()
    return asked | ({f"group:{resource.group}"} if resource.group else set())


def refused(resource: Owned) -> dict[str, str]:
    """Tokens of resources that remove the owner or the group."""
    found: dict[str, str] = {}
    if resource.owner:
        found[f"no-user:{resource.owner}"] = f"it removes {resource.owner}, the owner"
    if resource.group:
        found[f"no-group:{resource.group}"] = f"it removes the group {resource.group}"
    return found


def lost(resource: Owned, there: frozenset[str], around: Around) -> str:
    """Why the owner or group cannot be given; empty if it can, or may be later."""
    gone = sorted(tokens(resource) - there - around.provided)
    if not gone or around.packages:
        return ""
    kind, _, name = gone[0].partition(":")
    return f"the {kind} {name} is neither on the host nor declared"
