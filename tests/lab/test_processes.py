"""A recycled pid is not the process that was meant."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.processes import ProcessId, alive, boot_id, identify, parse_stat, same_process


def stat(pid: int, command: str, state: str, started: int) -> str:
    middle = " ".join(["0"] * 18)
    return f"{pid} ({command}) {state} {middle} {started} 0 0"


@given(
    pid=st.integers(1, 4_194_304),
    command=st.text(min_size=0, max_size=15),
    state=st.sampled_from("RSDTtI"),
    started=st.integers(0, 2**63),
    other=st.integers(0, 2**63),
)
def test_only_the_same_start_time_is_the_same_process(
    pid: int, command: str, state: str, started: int, other: int
) -> None:
    line = stat(pid, command, state, started)
    assert parse_stat(line) == (state, started)
    wanted = ProcessId(pid, other, "boot")
    assert same_process(wanted, line, "boot") == (other == started)


def test_command_names_with_parentheses_and_blanks() -> None:
    assert parse_stat(stat(7, "a) R 1 2 (b", "S", 99)) == ("S", 99)


@pytest.mark.parametrize("broken", ["", "7 (sh", "7 (sh) S 1", "7 (sh) S " + "x " * 30])
def test_what_is_no_stat_line_is_nobody(broken: str) -> None:
    assert parse_stat(broken) is None
    assert not same_process(ProcessId(7, 1, "boot"), broken, "boot")


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_is_dead(state: str) -> None:
    assert not same_process(ProcessId(7, 5, "boot"), stat(7, "sh", state, 5), "boot")


def test_another_boot_is_another_process() -> None:
    assert not same_process(ProcessId(7, 5, "before"), stat(7, "sh", "S", 5), "after")
    assert not same_process(ProcessId(7, 5, "boot"), None, "boot")


def test_of_this_machine() -> None:
    me = identify(os.getpid())
    assert me is not None
    assert me.boot == boot_id()
    assert alive(me)
    assert not alive(replace(me, started=me.started + 1))
    assert ProcessId.from_json(dict(me.as_json())) == me
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = identify(child.pid)
    assert theirs is not None
    assert alive(theirs)
    child.communicate()
    assert not alive(theirs)
