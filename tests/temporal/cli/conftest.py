"""One server and one worker process for all tests that end neither."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.temporal.cli.support import Server, Shell, network_of_its_own, warm_beside

MODULES = "trial,night"


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server."""
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        yield server.address
    finally:
        server.close()


@pytest.fixture(scope="session")
def worker(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The queue of a worker that knows `trial` and `night`."""
    queue = f"night-{uuid.uuid4().hex[:8]}"
    shell = Shell(
        tmp_path_factory.mktemp("worker"),
        {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TASK_QUEUE": queue,
            "TEMPORAL_MODULES": MODULES,
            "TEMPORAL_HEARTBEAT_EVERY": "0.1",
        },
    )
    try:
        shell.start("worker").says("serves")
        yield queue
    finally:
        shell.end()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Commands in an empty folder, nothing configured."""
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def ops(tmp_path: Path, address: str, worker: str) -> Iterator[Shell]:
    """Commands against the server and worker of all tests."""
    made = Shell(
        tmp_path,
        {
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_TASK_QUEUE": worker,
            "TEMPORAL_MODULES": MODULES,
            "TEMPORAL_STARTED_BY": f"ann-{uuid.uuid4().hex[:6]}",
        },
    )
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="session")
def island() -> list[str]:
    """argv in front of a command that gives it a network of its own, where 7233 is free."""
    found = network_of_its_own()
    if not found:
        pytest.skip("no network namespaces here: other programs' ports would decide the test")
    return found


@pytest.fixture(params=["run here", "handed over"])
def either(request: pytest.FixtureRequest, ops: Shell) -> Iterator[Shell]:
    """`ops`, alone and beside a warm process that its commands are handed to: nobody can tell."""
    if request.param == "run here":
        yield ops
        return
    with warm_beside(ops) as forked:
        yield ops
        assert forked(), "no command was handed over"
