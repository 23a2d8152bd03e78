"""What can be wrong with a store, and whether another try makes sense."""

from __future__ import annotations

from temporal.shared.errors import OpsError, Permanent, Retryable


class StoreFailed(Retryable, OpsError):
    """A kept value cannot be read or written now: the store is away, or another machine's."""


class StoreRefused(Permanent, OpsError):
    """The store answers, and will not: no such bucket, no right to it, no credentials."""
