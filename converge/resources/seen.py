"""What stat(1) said of a path, and how two texts differ, for all types that keep things on disk."""

from __future__ import annotations

import difflib
import stat
from typing import Literal

from converge.render import printable

SHOWN = 64 * 1024
"""Bytes of old and new text that a plan compares line by line."""

Kind = Literal["file", "directory", "symbolic link", "special file"]


def kind(bits: int) -> Kind:
    if stat.S_ISREG(bits):
        return "file"
    if stat.S_ISDIR(bits):
        return "directory"
    return "symbolic link" if stat.S_ISLNK(bits) else "special file"


def looked(words: list[str]) -> tuple[Kind, str, str, str] | None:
    """What `stat -c '%f %U %G'` printed -> (kind, mode, owner, group)."""
    try:
        raw, owner, group = words
        bits = int(raw, 16)
    except ValueError:
        return None
    return kind(bits), f"{stat.S_IMODE(bits):04o}", owner, group


def unified(path: str, before: bytes, after: bytes) -> str | None:
    """A unified diff of two texts; None if they are too long or no text."""
    if max(len(before), len(after)) > SHOWN or b"\0" in before or b"\0" in after:
        return None
    try:
        old, new = before.decode(), after.decode()
    except UnicodeDecodeError:
        return None
    lines: list[str] = []
    shown = printable(path)
    for line in difflib.unified_diff(
        old.splitlines(True), new.splitlines(True), f"{shown} (found)", f"{shown} (wanted)"
    ):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(lines)
