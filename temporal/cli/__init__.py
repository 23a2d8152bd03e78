"""The command `temporal-ops`: one file a command group, each a thin face over plain functions."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Entry point of the command."""
    from temporal.cli.front import hand_over

    status = hand_over(sys.argv[1:])
    if status is None:
        from temporal.cli import app

        status = app.status()
    os._exit(status)
