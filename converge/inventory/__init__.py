"""Inventories: which hosts there are, in which groups, with which variables, and how to reach each.

    inventory = read_inventory(Path("inventory.yml"))
    for entry in inventory.select("web,&prod,!web3"):
        host, variables = entry.host, entry.variables

Reads our own YAML and Ansible's as they are: INI, YAML, executables and the JSON they print.
"""

from __future__ import annotations

from converge.inventory.errors import InventoryError
from converge.inventory.model import Entry, Inventory
from converge.inventory.reading import read_inventory

__all__ = ["Entry", "Inventory", "InventoryError", "read_inventory"]
