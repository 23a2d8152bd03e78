"""How the programs of the contest are told where the servers are: a JSON file of hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from converge import Host, Resource
from converge.resources import BY_KEY


def hosts(file: Path) -> list[Host]:
    """The hosts in `file`."""
    return [Host(one.pop("address"), **one) for one in json.loads(file.read_text())]


def wanted(items: list[dict[str, Any]]) -> list[Resource]:
    """Resources from plain data; the first key of each names its type."""
    return [BY_KEY[next(iter(item))].model_validate(item) for item in items]


def described(address: str, port: int, key: Path, known_hosts: Path) -> dict[str, Any]:
    """One host, as the file has it."""
    return {
        "address": address,
        "port": port,
        "user": "root",
        "key": str(key),
        "known_hosts": str(known_hosts),
    }
