"""See whether a host is as declared."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge.changes import Action, Change
from temporal.activities.automation.converging import plan_host
from temporal.shared import options
from temporal.shared.specs.automation import Planned
from temporal.shared.specs.automation.drift import SHOWN, Drifted, DriftOutcome
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.provisioning import DIGITS, Shape

MARKS: dict[Action, str] = {
    "create": "+",
    "update": "~",
    "remove": "-",
    "unknown": "?",
    "blocked": "!",
}
_NAMED = 10


@activity.defn
@options(
    start_to_close=timedelta(minutes=10),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=5), maximum_attempts=3),
)
async def detect_drift_on(shape: Shape, member: Member) -> DriftOutcome:
    """What of a host is not as declared. One round trip; changes nothing there.

    Raises:
        Retryable: the host was not reached.
        Permanent: it refused us, or the resources contradict each other.
    """
    return outcome_of(await plan_host(shape.at(member)))


def outcome_of(planned: Planned) -> DriftOutcome:
    """A plan as an outcome: short, so that ten thousand of them fit."""
    if planned.empty:
        return DriftOutcome(host=planned.host, ending="unchanged")
    named = tuple(f"{MARKS[each.action]} {each.resource}" for each in planned.changes)
    return DriftOutcome(
        host=planned.host,
        ending="drifted",
        changed=tuple(each.resource for each in planned.changes)[:SHOWN],
        digest=planned.digest[:DIGITS],
        drift=Drifted(
            host=planned.host,
            digest=digest_of(planned.changes),
            changes=named[:_NAMED],
            more=max(0, len(named) - _NAMED),
        ),
    )


def digest_of(changes: tuple[Change, ...]) -> str:
    """Of what differs, and of nothing else: a resource that is added to the spec and is as declared
    everywhere is no other drift."""
    text = json.dumps([each.model_dump(mode="json") for each in changes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
