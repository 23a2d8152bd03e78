"""What is wrong with an inventory, as a type."""

from __future__ import annotations

from converge.errors import ConvergeError


class InventoryError(ConvergeError):
    """An inventory is wrong; the message names file and line."""
