"""`temporal-ops up`, in a network of its own: started, found, refused, drained, stopped."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from temporal.cli.common import DONE, INTERRUPTED, WRONG
from tests.temporal.cli.support import Running, Shell, network_of, until


@pytest.fixture
def up(shell: Shell, island: list[str]) -> Iterator[Running]:
    """A running `up`; `shell` is in its network then."""
    shell.inside = island
    shell.env |= {"TEMPORAL_MODULES": "night", "TEMPORAL_LOG_FORMAT": "text"}
    running = shell.start("up", "--json")
    running.says(r"\}\n")
    shell.inside = network_of(running.process.pid)
    yield running


def test_up_says_where_everything_is_and_a_second_one_says_it_runs(
    shell: Shell, up: Running
) -> None:
    where = json.loads(up.out)
    assert where["address"] == "127.0.0.1:7233" and where["ui"] == "http://127.0.0.1:8233"
    second = shell("up")
    assert second.status == WRONG
    assert "runs already" in second.err and where["ui"] in second.err
    ran = shell("run", "TestWorkflow", "-i", '"World"')
    assert (ran.status, ran.out) == (DONE, "Hello, World!\n")
    assert "embedded one for this command" not in ran.err, "it uses the one that runs"
    assert where["address"] in shell("config").err


def test_up_refuses_where_a_server_is_configured(shell: Shell) -> None:
    done = shell("up", TEMPORAL_ADDRESS="temporal.example:7233")
    assert (done.status, done.out) == (WRONG, "")
    assert "TEMPORAL_ADDRESS" in done.err and "temporal-ops worker" in done.err


def in_progress(shell: Shell) -> str:
    """A run whose activity has begun; it ends when the file `go` is there."""
    run_id = shell("run", "Patient", "-i", f'"{shell.folder}/go"', "--no-wait").out.strip()
    until(
        lambda: "waiting" in shell("runs", "show", run_id).out,
        lambda: shell("runs", "show", run_id).out,
    )
    return run_id


def test_sigterm_drains_what_runs(shell: Shell, up: Running) -> None:
    in_progress(shell)
    up.process.send_signal(signal.SIGTERM)
    up.says("draining: what runs gets up to")
    assert up.process.poll() is None, "it waits for the activity"
    (shell.folder / "go").write_text("")
    assert up.ends() == DONE
    assert up.err.rstrip().endswith("stopped")


def test_a_second_sigint_stops_at_once_and_nothing_is_lost(
    shell: Shell, up: Running, island: list[str]
) -> None:
    run_id = in_progress(shell)
    up.process.send_signal(signal.SIGINT)
    up.says("draining")
    up.process.send_signal(signal.SIGINT)
    assert up.ends() == INTERRUPTED
    (shell.folder / "go").write_text("")
    shell.inside = island
    again = shell.start("up")
    again.says("web UI")
    shell.inside = network_of(again.process.pid)
    until(
        lambda: shell("runs", "show", run_id, "--json").json["result"] == "waited",
        lambda: shell("runs", "show", run_id).out,
    )
