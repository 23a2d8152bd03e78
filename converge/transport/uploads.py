"""What is too large for a script: it goes to the host beside it, by its hash, and is there before the
script runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from converge.errors import InvalidResources

SPOOL = ".local/state/converge/spool"
"""Below the login user's home: writable without sudo, readable for root, and nobody else's."""
KEPT = 24 * 3600
"""Seconds that a file which no run took stays in the spool."""
CHUNK = 256 * 1024


@dataclass(frozen=True)
class Upload:
    """A file for the host's spool, named by its SHA-256: bytes, or a path on this machine."""

    source: bytes | Path
    sha256: str

    @classmethod
    def of(cls, source: bytes | Path) -> Upload:
        """With the hash worked out here. Raises InvalidResources if a file cannot be read."""
        if isinstance(source, bytes):
            return cls(source, hashlib.sha256(source).hexdigest())
        try:
            with source.open("rb") as file:
                return cls(source, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise InvalidResources(f"{source} cannot be read: {error.strerror}") from None

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size
