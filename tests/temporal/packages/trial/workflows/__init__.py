"""Every trial workflow."""

from trial.workflows.calls import CallActivity, CallChild, ItemName, ManyArguments, Remembers, Says
from trial.workflows.fleet.patrol import Patrol

WORKFLOWS: list[type] = [
    CallActivity,
    CallChild,
    ItemName,
    ManyArguments,
    Remembers,
    Says,
    Patrol,
]
