"""Lab servers with restic and every kind of database, for the tests of this folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Protocol

import pytest

from lab import Lab, Machine, gc, missing
from lab.testing import eventually
from tests.temporal.automation.conftest import shell  # noqa: F401 - a fixture

BACKUP_PACKAGES = ("restic", "postgresql", "mariadb-server", "redis-server", "sqlite3")
_ANSWERS = """
runuser -u postgres -- psql -Atqc 'SELECT 1' && mariadb -e 'SELECT 1' && redis-cli ping
"""


class BackupServer(Protocol):
    """`backup_server()`: the server of a release that the tests of this run share."""

    def __call__(self, release: str = "bookworm") -> Machine: ...


@pytest.fixture(scope="session")
def backup_lab() -> Iterator[Lab]:
    """A lab whose servers have what is backed up; skips where there can be none."""
    if reasons := missing():
        pytest.skip("no lab on this machine: " + "; ".join(reasons))
    gc()
    name = f"test-backup-{os.getpid()}-{secrets.token_hex(2)}"
    lab = Lab(name, owner=os.getpid(), packages=BACKUP_PACKAGES)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def backup_server(backup_lab: Lab) -> BackupServer:
    """Servers on which all databases answer: leave them as usable as you found them."""
    ready: dict[str, Machine] = {}

    def hand_out(release: str = "bookworm") -> Machine:
        if release not in ready:
            server = backup_lab.up(1, release)[0]
            eventually(
                lambda: backup_lab.exec(server, ["sh", "-c", _ANSWERS]).returncode == 0,
                "PostgreSQL, MariaDB and Redis answer",
            )
            ready[release] = server
        return ready[release]

    return hand_out
