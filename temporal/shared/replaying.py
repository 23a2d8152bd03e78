"""Whether workflow code runs for the first time, or is replayed: also where the SDK does not say."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from temporalio import workflow

_activation = threading.local()


@contextlib.contextmanager
def telling(is_replaying: bool) -> Iterator[None]:
    """Notes, for as long as one activation takes, whether it is a replay.

    The SDK decodes inputs and results before the workflow's event loop runs, where
    `workflow.unsafe.is_replaying` knows nothing yet.
    """
    _activation.replaying = is_replaying
    try:
        yield
    finally:
        _activation.replaying = False


def replaying() -> bool:
    """Whether this thread is at the replay of a workflow; False outside of workflows."""
    if workflow.in_workflow():
        return workflow.unsafe.is_replaying()
    return getattr(_activation, "replaying", False)
