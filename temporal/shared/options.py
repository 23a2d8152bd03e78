"""Options of an activity, declared once, beside `@activity.defn`.

    @activity.defn
    @options(start_to_close=timedelta(minutes=30), heartbeat=timedelta(seconds=30))
    async def restore_files(request: RestoreFiles) -> Restored: ...

A workflow then calls `execute_activity("restore_files", request)` and says nothing of time or queue:
the project's interceptor fills in what the call left open. What the call does say wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.common import RetryPolicy

from temporal.shared.retries import get_default_retry_policy

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__temporal_ops_options__"


@dataclass(frozen=True)
class ActivityOptions:
    """How long one activity may take, how often it says it lives, and how it is tried again.

    Attributes:
        start_to_close: one attempt, from start to end.
        schedule_to_close: all attempts together; None is no bound.
        schedule_to_start: waiting for a worker; None is no bound.
        heartbeat: longest silence of an attempt; None means that it never beats.
        retry: the retry policy; None is the project's default.
    """

    start_to_close: timedelta | None = None
    schedule_to_close: timedelta | None = None
    schedule_to_start: timedelta | None = None
    heartbeat: timedelta | None = None
    retry: RetryPolicy | None = None

    def __post_init__(self) -> None:
        for name in ("start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"):
            value = getattr(self, name)
            if value is not None and value <= timedelta(0):
                raise ValueError(f"{name} must be longer than zero, not {value}")


DEFAULT_OPTIONS = ActivityOptions(
    start_to_close=timedelta(minutes=10), retry=get_default_retry_policy()
)


def options(
    *,
    start_to_close: timedelta | None = None,
    schedule_to_close: timedelta | None = None,
    schedule_to_start: timedelta | None = None,
    heartbeat: timedelta | None = None,
    retry: RetryPolicy | None = None,
) -> Callable[[F], F]:
    """Declare an activity's options; above or below `@activity.defn`, both work.

    Raises:
        ValueError: a duration that is not longer than zero.
    """
    declared = ActivityOptions(
        start_to_close, schedule_to_close, schedule_to_start, heartbeat, retry
    )

    def mark(fn: F) -> F:
        setattr(fn, _ATTRIBUTE, declared)
        return fn

    return mark


def declared_options(fn: Callable[..., Any]) -> ActivityOptions | None:
    """The options that stand on `fn`, or None."""
    found: ActivityOptions | None = getattr(fn, _ATTRIBUTE, None)
    return found


def effective_options(fn: Callable[..., Any] | None) -> ActivityOptions:
    """The options of `fn` with the project's defaults where it declares none.

    Temporal asks for at least one of start_to_close and schedule_to_close: an activity that declares
    only the second is left so.
    """
    declared = declared_options(fn) if fn else None
    if declared is None:
        return DEFAULT_OPTIONS
    unbounded = declared.start_to_close is None and declared.schedule_to_close is None
    return replace(
        declared,
        start_to_close=DEFAULT_OPTIONS.start_to_close if unbounded else declared.start_to_close,
        retry=declared.retry or DEFAULT_OPTIONS.retry,
    )
