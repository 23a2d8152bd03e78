"""A fleet that is followed on a terminal and from a pipe, by who started it and by somebody else."""

from __future__ import annotations

import json
import re
import uuid

from temporal.cli.common import FAILED, INTERRUPTED, WRONG
from tests.temporal.cli.support import Shell, Terminal

HOSTS = [
    {"address": f"127.9.9.{number}", "port": 1, "user": "root", "alias": f"gone{number}"}
    for number in range(1, 7)
]


def fleet(ops: Shell, **rollout: object) -> str:
    """A file with a fleet of hosts on which nothing listens."""
    file = ops.folder / "fleet.yml"
    motd = {"file": "/etc/motd", "content": "x"}
    file.write_text(json.dumps({"hosts": HOSTS, "resources": [motd], "rollout": rollout}))
    return str(file)


def test_a_fleet_is_shown_paused_aborted_and_summed_up(ops: Shell) -> None:
    name = f"fleet-{uuid.uuid4().hex[:6]}"
    file = fleet(ops, canary=0, wave=3, max_failures="100%")
    terminal = Terminal(ops, "run", "ProvisionFleet", "-f", file, "--id", name)
    at = terminal.shows(r"ProvisionFleet wave 1 of 2 0 of 6 done")
    terminal.shows(r"gone1 (connecting \()?try \d of 4[\s\S]*nothing listens on port 1")
    ops("runs", "pause", name, "--why", "lunch")
    at = terminal.shows(rf"paused by {ops.env['TEMPORAL_STARTED_BY']}: lunch", at)
    terminal.shows(rf"temporal-ops runs resume {name}", at)
    at = terminal.shows(r"! gone1 unreachable: [\s\S]*nothing listens", at)
    at = terminal.shows(r"wave 1 of 2 3 of 6 done", at)
    watch = ops.start("runs", "watch", name)
    watch.says("6 hosts, 2 waves\n")
    watch.says("! gone1: unreachable: .*nothing listens on port 1")
    watch.says(f"paused by .*: lunch: temporal-ops runs resume {name}\n")
    assert "gone4" not in watch.err, "a host that waits is not of note"
    ops("runs", "abort", name, "--why", "wrong fleet")
    assert terminal.ends() == FAILED == watch.ends()
    left = " ".join(terminal.text[at:].split())
    assert re.search(r"failed after .*aborted by .*3 unreachable, 3 not begun", left), left[-2000:]
    assert "wrong fleet" in watch.err and "3 not begun" in watch.err
    again = ops("runs", "watch", name)
    assert again.status == FAILED and "3 not begun" in again.err, "the end can be looked at later"


def test_a_run_that_is_no_fleet_is_watched_as_well_and_may_be_left(ops: Shell) -> None:
    [name] = ops("run", "Patient", "-i", f'"{ops.folder}/go"', "--no-wait").out.split()
    terminal = Terminal(ops, "runs", "watch", name)
    terminal.shows("wait_for_file web1 1/3 waiting")
    terminal.press("\x03")
    terminal.shows("eave it")
    terminal.press("l\r")
    assert terminal.ends() == INTERRUPTED
    (ops.folder / "go").write_text("")
    done = ops("runs", "watch", name)
    assert (done.status, done.out) == (0, "waited\n")


def test_a_run_that_is_not_there_cannot_be_watched(ops: Shell) -> None:
    done = ops("runs", "watch", "nobody")
    assert done.status == WRONG and "there is no run 'nobody'" in done.err
