"""What the tests of ssh share."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from converge.transport import close
from converge.transport.pool import pool
from tests.converge.transport.sshd import Site, keygen


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    place = Site(tmp_path)
    keygen(tmp_path / "host_key")
    keygen(tmp_path / "key")
    shutil.copy(tmp_path / "key.pub", tmp_path / "authorized_keys")
    yield place
    for server in place.servers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(autouse=True)
async def ended() -> object:
    yield
    await close()
    assert not pool().slots and not pool().ending
