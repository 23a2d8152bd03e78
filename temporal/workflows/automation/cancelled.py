"""A cancellation that came while the last activity ended."""

from __future__ import annotations

import asyncio

from temporalio import workflow


def stop_if_cancelled() -> None:
    """Raises CancelledError in a run that somebody cancelled.

    An activity whose cancellation is waited for gives its result all the same if it was done before it
    heard; the SDK then goes on as if nobody had asked.
    """
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError
