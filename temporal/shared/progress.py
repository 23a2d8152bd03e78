"""Progress of a running activity: sent as its heartbeat, read by whoever follows the run."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity


class Progress(BaseModel):
    """How far an activity is.

    Attributes:
        done: units finished, 0 or more.
        total: units in all; 0 where nobody can know.
        what: what is being worked on now, a few words.
        host: the host it is about, if one.
    """

    done: int = 0
    total: int = 0
    what: str = ""
    host: str = ""


def beat(progress: Progress) -> None:
    """Send `progress` as the heartbeat of the running activity."""
    from temporal.shared.secrets import redactor

    clean = progress.model_copy(update={"what": redactor.redact(progress.what)})
    activity.heartbeat(clean)
