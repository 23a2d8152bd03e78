"""Runs, as a person asks about them: which there are, how far each is, what it did.

Plain functions over a connection; the command line is one face of them.
"""

from temporal.runs.asking import cancel, follow, list_runs, look, pollers, tell, terminate
from temporal.runs.failures import failure_text
from temporal.runs.history import RunReport, Step, report
from temporal.runs.state import NoSuchRun, PendingActivity, Run, RunRefused

__all__ = [
    "NoSuchRun",
    "PendingActivity",
    "Run",
    "RunRefused",
    "RunReport",
    "Step",
    "cancel",
    "failure_text",
    "follow",
    "list_runs",
    "look",
    "pollers",
    "report",
    "tell",
    "terminate",
]
