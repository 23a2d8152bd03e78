"""Removing what a lab has in the kernel by its token alone, with its records or without."""

from __future__ import annotations

from lab import cgroups, network


def remove_remains(token: str) -> None:
    """End every process of the lab and remove its control groups, bridge and nft table.

    Nothing there is fine: so it can be done again after a crash in the middle of it.
    """
    cgroups.forget_lab(token)
    network.tear_down(token)
