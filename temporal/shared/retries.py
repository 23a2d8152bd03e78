"""Retry policies, by what is being tried. An activity names one in its options."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy


def get_default_retry_policy() -> RetryPolicy:
    """Five tries in about a minute (1 s, doubling, at most 30 s apart): most activities."""
    return RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=5,
    )


def get_patient_retry_policy() -> RetryPolicy:
    """Tries for ever, at most a minute apart: a host or service that is expected to come back.

    Bound it with the activity's `schedule_to_close`.
    """
    return RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=1),
        maximum_attempts=0,
    )


def get_no_retry_policy() -> RetryPolicy:
    """One try: for what must be looked at by a person before it is tried again."""
    return RetryPolicy(maximum_attempts=1)
