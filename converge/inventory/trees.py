"""Inventories that are trees of values: Ansible's YAML and JSON, and our own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converge.documents import Document
from converge.inventory.errors import InventoryError
from converge.inventory.model import Tree
from converge.inventory.ranges import expand, split_port
from converge.inventory.selection import ALL, UNGROUPED, check_tags

OURS = {"hosts", "groups", "variables", "connection"}
_GROUP = {"hosts", "groups", "variables", "connection", "tags"}
CONNECTION = {
    "address": str,
    "lab": str,
    "local": bool,
    "user": str,
    "port": int,
    "key": str,
    "certificate": str,
    "known_hosts": str,
    "accept_new_host_key": bool,
    "jump": str,
    "sudo": bool,
    "sudo_password": str,
    "concurrency": int,
}
PREFIX = "connection_"
"""Connection settings of our format travel among the variables under names of their own."""


def is_ours(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= OURS


def read_ours(document: Document, tree: Tree) -> None:
    """Adds our own format. Raises InventoryError."""
    value = document.value
    everything = tree.group(ALL)
    everything.variables |= _variables(document, value, ())
    everything.variables |= _connection(document, value.get("connection"), ("connection",))
    _hosts(document, value.get("hosts"), ("hosts",), tree, None)
    groups = _mapping(document, value.get("groups"), ("groups",), "groups")
    for name in groups:
        tree.group(str(name), document.at("groups", name))
    for name, about in groups.items():
        loc: tuple[int | str, ...] = ("groups", name)
        about = _mapping(document, about, loc, f"group {name}")
        for key in about:
            if key not in _GROUP:
                raise InventoryError(
                    f"{document.at(*loc, key)}: {key}: a group has hosts, groups, variables,"
                    " connection and tags"
                )
        group = tree.group(str(name))
        group.variables |= _variables(document, about, loc)
        group.variables |= _connection(document, about.get("connection"), (*loc, "connection"))
        group.tags |= _tags(document, about, loc)
        _hosts(document, about.get("hosts"), (*loc, "hosts"), tree, str(name))
        children = about.get("groups") or []
        if not isinstance(children, list):
            raise InventoryError(f"{document.at(*loc, 'groups')}: groups: must be a list of names")
        for child in children:
            if child not in groups:
                raise InventoryError(
                    f"{document.at(*loc, 'groups')}: group {name} holds {child}, which is no group"
                )
            group.children[str(child)] = None


def _hosts(
    document: Document, value: Any, loc: tuple[int | str, ...], tree: Tree, group: str | None
) -> None:
    if isinstance(value, list):
        items = [(each, None, (*loc, index)) for index, each in enumerate(value)]
    else:
        given = _mapping(document, value, loc, "hosts")
        items = [(name, about, (*loc, str(name))) for name, about in given.items()]
    for pattern, about, place in items:
        where = document.at(*place)
        variables: dict[str, Any] = {}
        tags: dict[str, None] = {}
        about = _mapping(document, about, place, f"host {pattern}")
        if about:
            settings = {key: inner for key, inner in about.items() if key in CONNECTION}
            strange = [key for key in about if key not in (*CONNECTION, "variables", "tags")]
            if strange:
                raise InventoryError(
                    f"{document.at(*place, strange[0])}: {strange[0]}: a host has"
                    f" {', '.join(CONNECTION)}, variables and tags"
                )
            variables |= _variables(document, about, place)
            variables |= _connection(document, settings, place)
            tags = _tags(document, about, place)
        for name in _names(pattern, where):
            entry = tree.host(name, where)
            entry.variables |= variables
            entry.tags |= tags
            tree.group(group or UNGROUPED).hosts[name] = None


def _connection(document: Document, value: Any, loc: tuple[int | str, ...]) -> dict[str, Any]:
    settings = _mapping(document, value, loc, "connection")
    for key, given in settings.items():
        kind = CONNECTION.get(key)
        where = document.at(*loc, key)
        if kind is None:
            raise InventoryError(f"{where}: {key}: a connection has {', '.join(CONNECTION)}")
        if not isinstance(given, kind) or (kind is int and isinstance(given, bool)):
            raise InventoryError(f"{where}: {key}: must be {kind.__name__}, and is {given!r}")
    return {f"{PREFIX}{key}": given for key, given in settings.items()}


def _tags(
    document: Document, about: Mapping[str, Any], loc: tuple[int | str, ...]
) -> dict[str, None]:
    if about.get("tags") is None:
        return {}
    return dict.fromkeys(check_tags(about["tags"], document.at(*loc, "tags")))


def _variables(
    document: Document, value: Mapping[str, Any], loc: tuple[int | str, ...]
) -> dict[str, Any]:
    found = _mapping(document, value.get("variables"), (*loc, "variables"), "variables")
    for key in found:
        if not isinstance(key, str) or key.startswith(PREFIX):
            raise InventoryError(
                f"{document.at(*loc, 'variables', str(key))}: {key!r} is no name of a variable"
            )
    return dict(found)


def read_ansible(document: Document, tree: Tree) -> None:
    """Adds an inventory of Ansible's YAML. Raises InventoryError."""
    value = document.value
    if not isinstance(value, Mapping):
        raise InventoryError(f"{document.name}:1: an inventory in YAML is a mapping of groups")
    if "plugin" in value:
        raise InventoryError(
            f"{document.at('plugin')}: asks Ansible's inventory plugin {value['plugin']!r}, which only"
            " Ansible can run: write down what it finds with `ansible-inventory -i FILE --list"
            " >inventory.json`, or make that an executable script, and give the result"
        )
    for name, about in value.items():
        _ansible_group(document, str(name), about, (name,), tree)


def _ansible_group(
    document: Document, name: str, about: Any, loc: tuple[int | str, ...], tree: Tree
) -> None:
    group = tree.group(name, document.at(*loc))
    about = _mapping(document, about, loc, f"group {name}")
    for key in about:
        if key not in ("hosts", "children", "vars"):
            raise InventoryError(
                f"{document.at(*loc, key)}: {key}: a group of Ansible has hosts, children and vars"
            )
    group.variables |= _mapping(document, about.get("vars"), (*loc, "vars"), "vars")
    hosts = about.get("hosts")
    if isinstance(hosts, str):
        hosts = {hosts: None}
    for pattern, given in _mapping(document, hosts, (*loc, "hosts"), "hosts").items():
        place = (*loc, "hosts", str(pattern))
        variables = _mapping(document, given, place, f"host {pattern}")
        plain, port = split_port(str(pattern))
        for host in _names(plain, document.at(*place)):
            entry = tree.host(host, document.at(*place))
            if port is not None:
                entry.variables.setdefault("ansible_port", port)
            entry.variables |= variables
            if name != ALL:
                group.hosts[host] = None
            else:
                tree.group(UNGROUPED).hosts[host] = None
    for child, inner in _mapping(
        document, about.get("children"), (*loc, "children"), "children"
    ).items():
        group.children[str(child)] = None
        _ansible_group(document, str(child), inner, (*loc, "children", child), tree)


def read_json(value: Any, name: str, tree: Tree) -> list[str]:
    """Adds the JSON of a dynamic inventory; gives the hosts whose variables it leaves open.

    Raises InventoryError.
    """
    if not isinstance(value, Mapping):
        raise InventoryError(f"{name}: the JSON of an inventory is an object with groups")
    refuse_vault(value, name)
    meta = value.get("_meta")
    variables = meta.get("hostvars") if isinstance(meta, Mapping) else None
    for group_name, about in value.items():
        if group_name == "_meta":
            continue
        group = tree.group(str(group_name), name)
        if isinstance(about, list):  # short for {"hosts": [...]}
            about = {"hosts": about}
        if not isinstance(about, Mapping):
            raise InventoryError(f"{name}: group {group_name} must be an object or a list of hosts")
        for host in about.get("hosts") or ():
            tree.host(str(host), name)
            (tree.group(UNGROUPED) if group_name == ALL else group).hosts[str(host)] = None
        for child in about.get("children") or ():
            group.children[str(child)] = None
            tree.group(str(child), name)
        group.variables |= about.get("vars") or {}
    if not isinstance(variables, Mapping):
        return list(tree.hosts)
    for host, given in variables.items():
        if isinstance(given, Mapping):
            tree.host(str(host), name).variables |= given
            if not any(str(host) in group.hosts for group in tree.groups.values()):
                tree.group(UNGROUPED).hosts[str(host)] = None
    return []


def refuse_vault(value: Any, name: str) -> None:
    """JSON tells vault-encrypted values by a key of their own."""
    if isinstance(value, Mapping):
        if "__ansible_vault" in value:
            raise InventoryError(f"{name}: {VAULT}")
        for inner in value.values():
            refuse_vault(inner, name)
    elif isinstance(value, list):
        for inner in value:
            refuse_vault(inner, name)


VAULT = (
    "holds a value encrypted by ansible-vault, which cannot be read here: put a secret reference in"
    " its place, such as env://NAME, file:///path or exec://"
)


def _names(pattern: Any, where: str) -> list[str]:
    if not isinstance(pattern, str | int) or isinstance(pattern, bool):
        raise InventoryError(f"{where}: {pattern!r} is no name of a host")
    try:
        return expand(str(pattern))
    except ValueError as error:
        raise InventoryError(f"{where}: {error}") from None


def _mapping(
    document: Document, value: Any, loc: tuple[int | str, ...], what: str
) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InventoryError(f"{document.at(*loc)}: {what}: must be a mapping, and is {value!r}")
    return dict(value)
