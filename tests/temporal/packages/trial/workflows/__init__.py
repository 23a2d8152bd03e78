"""Every trial workflow."""

from trial.workflows.calls import CallActivity, CallChild, ItemName, ManyArguments, Remembers, Says
from trial.workflows.fleet.patrol import Patrol
from trial.workflows.relays import Relays

WORKFLOWS: list[type] = [
    CallActivity,
    CallChild,
    ItemName,
    ManyArguments,
    Remembers,
    Says,
    Patrol,
    Relays,
]
