"""Runs, as a person asks about them: which there are, how far each is, what it did.

Plain functions over a connection; the command line is one face of them.
"""

from temporal.runs.asking import cancel, follow, list_runs, look, pollers, terminate
from temporal.runs.failures import failure_text
from temporal.runs.history import RunReport, Step, report
from temporal.runs.state import NoSuchRun, PendingActivity, Run

__all__ = [
    "NoSuchRun",
    "PendingActivity",
    "Run",
    "RunReport",
    "Step",
    "cancel",
    "failure_text",
    "follow",
    "list_runs",
    "look",
    "pollers",
    "report",
    "terminate",
]
