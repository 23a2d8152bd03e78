"""Values too big for a history, kept beside it: a run carries a reference, and each is kept once.

The SDK's external storage does the referring. What is kept goes by the SHA-256 of what it holds, so
what comes back is known to be what was put in. A folder is the default (`folder`); a bucket that any
number of machines reach is the other kind (`s3`).
"""

from __future__ import annotations

from pathlib import Path

from temporalio.converter import ExternalStorage, StorageDriver

from temporal.config import Settings
from temporal.store.errors import StoreFailed, StoreRefused
from temporal.store.folder import FolderStore

__all__ = ["LIMIT", "THRESHOLD", "FolderStore", "StoreFailed", "StoreRefused", "open_store"]

THRESHOLD = 8 * 1024
"""Bytes from which a value is kept here. A history holds some thousand values and ends at 50 MB; what
is smaller stays readable in the web UI."""
LIMIT = 64 * 1024 * 1024
"""Bytes of one value: it is held in memory as a whole, by each that reads it."""


def open_store(settings: Settings) -> ExternalStorage | None:
    """The store that `settings` name: TEMPORAL_STORE; for the embedded server of this project a
    folder beside its database; else none, since others could not read it.

    Raises:
        ConfigError: it is a bucket, and what is needed for that is not installed.
    """
    place = settings.store
    if place is None and settings.embedded:
        place = str(settings.state_dir / "store")
    if place is None:
        return None
    return ExternalStorage(drivers=[_driver(place)], payload_size_threshold=THRESHOLD)


def _driver(place: str) -> StorageDriver:
    if not place.startswith("s3://"):
        return FolderStore(Path(place))
    # Imported late: few have a bucket.
    from temporal.store.s3 import S3Store

    return S3Store.at(place, most=LIMIT)
