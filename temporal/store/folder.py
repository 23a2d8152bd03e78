"""Big values in files of a folder: for one machine, or for several that mount it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from temporal.store.errors import StoreFailed

_CLAIM = "sha256"


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
