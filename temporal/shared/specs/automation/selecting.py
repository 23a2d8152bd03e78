"""Hosts of an inventory, as specs take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converge.inventory import InventoryError, read_inventory
from converge.inventory.connections import settings_of
from converge.inventory.trees import PREFIX
from temporal.shared.errors import SpecError


@dataclass(frozen=True)
class Chosen:
    """One host: what stands in place of the spec's, and its variables."""

    host: dict[str, Any]
    variables: Mapping[str, Any]


def chosen(path: Path, limit: object = None) -> list[Chosen]:
    """The hosts of the inventory at `path` that `limit` leaves; all without one.

    The words of `limit` are the same in every spec and on every command line: names of hosts and
    groups, globs, tags (see converge.inventory.selection). Raises SpecError.
    """
    if limit is not None and not isinstance(limit, str):
        raise SpecError(f"limit: must be a text such as web,!web3, and is {limit!r}")
    try:
        return [
            Chosen(
                {"alias": entry.name, **settings_of(entry)},
                {
                    **{k: v for k, v in entry.variables.items() if not k.startswith(PREFIX)},
                    "inventory_hostname": entry.name,
                    "group_names": list(entry.groups),
                },
            )
            for entry in read_inventory(path).select(limit)
        ]
    except InventoryError as error:
        raise SpecError(str(error)) from None
