"""pytest fixtures that hand out lab servers: shared ones, and fresh ones.

For a whole project: `-p lab.testing`. For one folder, in its conftest.py:
`from lab.testing import fresh_lab, lab_machines, machine,
make_lab, session_lab`.

The labs are owned by the test run's process: they go down at its end, and when it
was killed, the start of the next run collects them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from lab import Lab, Machine, gc, missing


class Servers(Protocol):
    """`lab_machines(2)`: that many running servers which the tests of this run share."""

    def __call__(self, count: int = 1, release: str = "bookworm") -> list[Machine]: ...


class FreshServer(Protocol):
    """`machine()`: a fresh server, removed after the test. With `disk_mib` its disk can be filled."""

    def __call__(self, release: str = "bookworm", disk_mib: int = 0) -> Machine: ...


class LabMaker(Protocol):
    """`make_lab()`: a lab of one test with nothing in it yet."""

    def __call__(self, name: str = "one", owner: int | None = None) -> Lab: ...


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for `condition`, and fail naming `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.002)


def _own_lab(purpose: str) -> Iterator[Lab]:
    if reasons := missing():
        pytest.skip("no lab on this machine: " + "; ".join(reasons))
    gc()
    lab = Lab(f"test-{purpose}-{os.getpid()}-{secrets.token_hex(2)}", owner=os.getpid())
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def session_lab() -> Iterator[Lab]:
    """The lab of the shared servers; skips, saying what is missing, where there can be none."""
    yield from _own_lab("shared")


@pytest.fixture(scope="session")
def fresh_lab() -> Iterator[Lab]:
    """The lab of the fresh servers, apart, so that nobody is handed them as shared ones."""
    yield from _own_lab("fresh")


@pytest.fixture(scope="session")
def lab_machines(session_lab: Lab) -> Servers:
    """Servers shared by the tests of this run: leave them as usable as you found them."""

    def hand_out(count: int = 1, release: str = "bookworm") -> list[Machine]:
        return session_lab.up(count, release)[:count]

    return hand_out


@pytest.fixture
def machine(fresh_lab: Lab) -> Iterator[FreshServer]:
    """A maker of fresh servers, each in about a second; they are removed after the test.

    `Lab(server.lab)` is their lab, for its faults and its exec.
    """
    made: list[str] = []

    def make(release: str = "bookworm", disk_mib: int = 0) -> Machine:
        (fresh,) = fresh_lab.add(1, release, disk_mib=disk_mib)
        made.append(fresh.name)
        return fresh

    yield make
    fresh_lab.down(made)


@pytest.fixture
def make_lab() -> Iterator[LabMaker]:
    """A maker of labs of one test; each goes down after it, whatever happened."""
    if reasons := missing():
        pytest.skip("no lab on this machine: " + "; ".join(reasons))
    made: list[Lab] = []

    def make(name: str = "one", owner: int | None = None) -> Lab:
        unique = f"t-{name}-{os.getpid()}-{secrets.token_hex(2)}"
        made.append(Lab(unique, owner=os.getpid() if owner is None else owner))
        return made[-1]

    yield make
    for lab in made:
        lab.down()
