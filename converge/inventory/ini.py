"""Ansible's INI inventories.

Source of the rules: "How to build your inventory" of Ansible's documentation: sections are groups,
`:children` and `:vars` say more of them; values are Python literals where they can be read so.
"""

from __future__ import annotations

import ast
import re
import shlex
from typing import Any

from converge.inventory.errors import InventoryError
from converge.inventory.model import Tree
from converge.inventory.ranges import expand, split_port
from converge.inventory.selection import ALL, UNGROUPED

_SECTION = re.compile(r"\[(?P<name>[^\]:\s]+)(?::(?P<kind>\w+))?\]\s*(?:[#;].*)?")


def read_ini(text: str, name: str, tree: Tree) -> None:
    """Adds what the text says. Raises InventoryError."""
    section, kind = UNGROUPED, "hosts"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        where = f"{name}:{number}"
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and (found := _SECTION.fullmatch(line)):
            section, kind = found["name"], found["kind"] or "hosts"
            if kind not in ("hosts", "children", "vars"):
                raise InventoryError(f"{where}: :{kind} is neither :children nor :vars")
            tree.group(section, where)
        elif line.startswith("[") and not re.match(r"\[[^\]]*:", line):
            raise InventoryError(f"{where}: {line!r} is no section such as [web] or [web:vars]")
        elif kind == "vars":
            key, equals, value = line.partition("=")
            if not equals or not key.strip():
                raise InventoryError(f"{where}: a variable is written NAME=value, not {line!r}")
            tree.group(section).variables[key.strip()] = literal(value.strip())
        elif kind == "children":
            child = line.split("#", 1)[0].strip()
            tree.group(section).children[child] = None
        else:
            _host(line, where, section, tree)


def _host(line: str, where: str, section: str, tree: Tree) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise InventoryError(f"{where}: {error} in {line!r}") from None
    variables: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InventoryError(f"{where}: expected NAME=value after a host, not {word!r}")
        variables[key] = literal(value)
    pattern, port = split_port(words[0])
    try:
        names = expand(pattern)
    except ValueError as error:
        raise InventoryError(f"{where}: {error}") from None
    for host in names:
        if section not in (ALL,):
            tree.group(section, where).hosts[host] = None
        entry = tree.host(host, where)
        if port is not None:
            entry.variables.setdefault("ansible_port", port)
        entry.variables |= variables


def literal(value: str) -> Any:
    """A Python literal if it is one, else the text. `yes` and `true` stay text, as in Ansible."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return value
