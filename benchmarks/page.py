"""The page of figures: each benchmark writes a section of its own."""

from __future__ import annotations

from pathlib import Path


def into(page: Path, name: str, section: str) -> None:
    """Put the section `name` into the page, in the place of the one before."""
    begin, end = f"<!-- {name}: begin, written by benchmarks.{name} -->", f"<!-- {name}: end -->"
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    before, found, rest = text.partition(begin)
    after = rest.partition(end)[2] if found else ""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{before.rstrip()}\n\n{begin}\n{section}{end}\n{after.lstrip()}")
