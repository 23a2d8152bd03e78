"""Values too big for a history, kept beside it: a run carries a reference, and each is kept once.

The SDK's external storage does the referring. What is kept goes by the SHA-256 of what it holds, so a
spec that a thousand hosts share is one file, and what comes back is known to be what was put in.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from temporal.config import Settings
from temporal.shared.errors import Retryable

THRESHOLD = 8 * 1024
"""Bytes from which a value is kept here. A history holds some thousand values and ends at 50 MB; what
is smaller stays readable in the web UI."""
LIMIT = 64 * 1024 * 1024
"""Bytes of one value: it is held in memory as a whole, by each that reads it."""
_CLAIM = "sha256"


class StoreFailed(Retryable):
    """A kept value cannot be read or written: the store is not there, or another machine's."""


class FolderStore(StorageDriver):
    """Keeps values in files of a folder. For several machines, a folder that all of them mount."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def name(self) -> str:
        """What references say; it must stay."""
        return "temporal-ops-folder"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """See base class. Raises StoreFailed: the folder cannot be written."""
        return [await asyncio.to_thread(self._keep, each) for each in payloads]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """See base class. Raises StoreFailed: one is not there, or is not what it was."""
        return [await asyncio.to_thread(self._read, each.claim_data[_CLAIM]) for each in claims]

    def _keep(self, payload: Payload) -> StorageDriverClaim:
        body = payload.SerializeToString(deterministic=True)
        digest = hashlib.sha256(body).hexdigest()
        path = self._path(digest)
        try:
            if path.exists():
                os.utime(path)  # used again: the time that counts when somebody clears up
            else:
                self._write(path, body)
        except OSError as error:
            raise StoreFailed(
                f"{error.filename or path}: {error.strerror}; a value of {len(body)} bytes cannot be "
                "kept (TEMPORAL_STORE says where)"
            ) from None
        return StorageDriverClaim({_CLAIM: digest})

    def _write(self, path: Path, body: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _read(self, digest: str) -> Payload:
        path = self._path(digest)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise StoreFailed(
                f"{path}: {error.strerror}; a run refers to it. Worker and command must use the same "
                "store: TEMPORAL_STORE says which"
            ) from None
        if hashlib.sha256(body).hexdigest() != digest:
            raise StoreFailed(f"{path}: it is not what was kept there")
        return Payload.FromString(body)

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest


def open_store(settings: Settings) -> ExternalStorage | None:
    """The store that `settings` name: TEMPORAL_STORE; for the embedded server of this project a
    folder beside its database; else none, since others could not read it."""
    folder = settings.store
    if folder is None and settings.embedded:
        folder = settings.state_dir / "store"
    if folder is None:
        return None
    return ExternalStorage(drivers=[FolderStore(folder)], payload_size_threshold=THRESHOLD)
