"""Bounds of a big fleet at small scale: the benchmark's own trial, with 200 hosts on one sshd and a
server that soon asks a run to go on as new."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.fleet import show
from benchmarks.fleet.place import A_ROW, named, place
from benchmarks.fleet.trial import Trial, measure
from lab import missing

pytestmark = pytest.mark.lab
HOSTS, ASK_ANEW = 200, 100
"""A host is some four events; what runs when the server asks, 50 hosts at the most, still ends in the
same history."""


@pytest.fixture(scope="module")
def trial() -> Any:
    if reasons := missing():
        pytest.skip("no lab on this machine: " + "; ".join(reasons))
    with place() as there:
        yield measure(there, HOSTS, ASK_ANEW)


def test_it_goes_on_as_new_and_each_host_is_done_once(trial: Trial) -> None:
    assert trial.counts == {"unchanged": HOSTS}, "carried from run to run"
    assert len(trial.runs) >= 2
    assert trial.longest < HOSTS * 3, "in one it would be about four a host"
    assert sum(run["actions"]["activity"] for run in trial.runs) == HOSTS


def test_an_action_a_host_and_one_a_run(trial: Trial) -> None:
    kinds = {name for run in trial.runs for name in run["actions"]}
    assert kinds == {"workflow started", "activity"}
    assert trial.actions == (HOSTS + len(trial.runs)) / HOSTS <= show.ACTIONS


def test_connections_stay_few(trial: Trial) -> None:
    from converge.transport.pool import KEPT

    at_once = 50
    assert 0 < trial.connections <= KEPT + at_once < HOSTS
    assert trial.files < KEPT + at_once + 50


def test_what_it_shows(trial: Trial) -> None:
    page = show.markdown([trial], "a machine")
    assert f"| hosts | {HOSTS} |" in page and "MISSED" not in page
    assert named(A_ROW + 1)[-2:] == ["127.1.0.250", "127.1.1.1"]
    with pytest.raises(ValueError, match="hosts, not 0"):
        named(0)
