"""Amounts as people read them."""

from __future__ import annotations


def size(count: float | None) -> str:
    """Bytes; a dash where nobody knows.

    >>> size(None), size(512), size(1536), size(5 * 2**30)
    ('-', '512 B', '1.5 KiB', '5.0 GiB')
    """
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
