"""Schedules as code: what a file declares, what the server has, and to bring the one to the other.

Plain functions over a connection; the command line is one face of them.
"""

from temporal.schedules.applying import Done, apply
from temporal.schedules.asking import (
    Listed,
    NoSuchSchedule,
    list_schedules,
    pause,
    trigger,
    unpause,
)
from temporal.schedules.declared import Declared, File, read
from temporal.schedules.found import Found
from temporal.schedules.planning import Plan, Step, plan

__all__ = [
    "Declared",
    "Done",
    "File",
    "Found",
    "Listed",
    "NoSuchSchedule",
    "Plan",
    "Step",
    "apply",
    "list_schedules",
    "pause",
    "plan",
    "read",
    "trigger",
    "unpause",
]
