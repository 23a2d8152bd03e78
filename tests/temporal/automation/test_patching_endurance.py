"""What a patching survives: a worker killed while a host upgrades, and while it reboots."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from typing import Any

import pytest
import yaml

from lab import LabError
from lab.testing import FreshServer
from temporal.cli.common import DONE
from tests.temporal.automation.patchable import Patchable, prepare
from tests.temporal.automation.test_endurance import raw_history, until_slowly
from tests.temporal.cli.support import Running, Shell, until

pytestmark = pytest.mark.lab
COMES = "echo came >>/root/came; while [ ! -e /root/go ]; do sleep 0.1; done"


@pytest.fixture
def server(machine: FreshServer) -> Patchable:
    return prepare(machine())


def start(shell: Shell, server: Patchable) -> tuple[Running, Running]:
    """A worker, and a run that has come to where the host waits."""
    worker = shell.start("worker")
    worker.says("serves")
    spec = shell.folder / "patch.yml"
    spec.write_text(yaml.safe_dump({"hosts": [server.place], "after": "echo after >>/root/log"}))
    run = shell.start("run", "PatchFleet", "-f", str(spec), "--id", "patch", "--json")
    until(lambda: server.says("cat /root/came") == "came", lambda: f"it came\n{run.err}")
    return worker, run


def kill(worker: Running) -> None:
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait()


def taken_over(shell: Shell) -> None:
    """Another worker has begun with what the killed one left."""

    def look() -> bool:
        activities: Any = shell("runs", "show", "patch", "--json").json["run"]["activities"]
        return any(each["attempt"] == 2 for each in activities)

    shell.start("worker").says("serves")
    until_slowly(look)


def booted(server: Patchable) -> bool:
    with contextlib.suppress(LabError):  # while it is off
        return server.says("cat /root/boots") == "boot"
    return False


def goes_down_when_told(server: Patchable) -> None:
    """It needs a reboot, and its way down waits for /root/go."""
    server.needs_reboot()
    server.says("cat >/root/stop", COMES)
    server.says(
        "systemd-run -q --unit=holds -p TimeoutStopSec=infinity"
        " -p ExecStop='/bin/sh /root/stop' sleep infinity"
    )


def done_once(server: Patchable, run: Running) -> None:
    assert run.ends() == DONE, run.err
    assert json.loads(run.out)["result"]["state"]["counts"] == {"changed": 1}
    assert server.boots() == 1, "one reboot"
    assert server.has("lab-web") == "2.0" and server.says("cat /root/came") == "came"
    assert server.says("grep -c ^Upgrade: /var/log/apt/history.log") == "1", "one upgrade"
    units = "journalctl -q --no-pager | grep -c 'Started converge-.*converge run'"
    assert server.says(units) == "2", "one unit before the reboot, and one after it"
    assert server.says("cat /root/log") == "after"


def test_a_worker_killed_while_a_host_upgrades(shell: Shell, server: Patchable) -> None:
    server.postinst(f"{COMES}; touch /run/reboot-required\n")
    worker, run = start(shell, server)
    kill(worker)
    taken_over(shell)
    server.says("touch /root/go")
    done_once(server, run)


def test_a_worker_killed_while_a_host_reboots(shell: Shell, server: Patchable) -> None:
    goes_down_when_told(server)
    worker, run = start(shell, server)
    kill(worker)
    # The host comes back while nobody is there to see it go.
    server.says("touch /root/go")
    until_slowly(lambda: booted(server))
    # The next try may have ended before anyone could see it under way: the history keeps it.
    shell.start("worker").says("serves")
    until_slowly(lambda: run.process.poll() is not None)
    done_once(server, run)
    attempts = re.findall(r'"attempt": ?(\d+)', raw_history(shell, "patch", server.place["lab"]))
    assert attempts.count("2") == 1, "another try was made, and one"


def test_a_worker_killed_while_a_host_is_away(shell: Shell, server: Patchable) -> None:
    goes_down_when_told(server)
    worker, run = start(shell, server)
    kill(worker)
    server.lab.cut_network(server.machine)
    try:
        taken_over(shell)
        server.says("touch /root/go")
    finally:
        server.lab.restore_network(server.machine)
    done_once(server, run)
