"""Where a project keeps its state. Imports next to nothing: each command asks it first."""

from __future__ import annotations

import os

STATE_FOLDER = ".temporal-ops"
PROJECT_MARKS = (STATE_FOLDER, "pyproject.toml", ".git")
"""What the root folder of a project is known by."""


def default_state_dir(start: str | os.PathLike[str] | None = None) -> str:
    """`.temporal-ops` in the project that `start` (default: the working folder) stands in."""
    first = folder = os.path.realpath(start or ".")
    while not any(os.path.exists(os.path.join(folder, mark)) for mark in PROJECT_MARKS):
        above = os.path.dirname(folder)
        if above == folder:
            return os.path.join(first, STATE_FOLDER)
        folder = above
    return os.path.join(folder, STATE_FOLDER)
