"""What a run survives, and what a cancelled one leaves: nothing done twice, nothing going on."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from temporal.cli.common import DONE, ENDED
from tests.temporal.automation.conftest import Gated
from tests.temporal.cli.support import Running, Shell, until

pytestmark = pytest.mark.lab
PACKAGE = "tree"


def spec_file(shell: Shell, gated: Gated, *resources: dict[str, Any]) -> str:
    path = shell.folder / "spec.yml"
    path.write_text(yaml.safe_dump({"host": gated.spec, "resources": list(resources)}))
    return str(path)


def start(shell: Shell, gated: Gated) -> tuple[Running, str]:
    """A run that has come to the gate: its unit runs on the host."""
    spec = spec_file(
        shell, gated, {"package": PACKAGE}, {"file": "/srv/after", "content": "made\n"}
    )
    running = shell.start("run", "ProvisionServer", "-f", spec, "--id", "provision")
    until(lambda: gated.arrivals() == 1, lambda: f"the gate\n{running.err}")
    return running, "provision"


def shown(shell: Shell, run_id: str) -> Any:
    return shell("runs", "show", run_id, "--json").json


def test_a_killed_worker_is_followed_by_another_and_nothing_is_done_twice(
    shell: Shell, gated: Gated
) -> None:
    first = shell.start("worker")
    first.says("serves")
    running, run_id = start(shell, gated)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    units = gated.says("systemctl list-units --no-legend 'converge-*' | wc -l")
    assert units == "1", "the host goes on by itself"
    shell.start("worker").says("serves")
    until_slowly(lambda: shown(shell, run_id)["run"]["activities"][0]["attempt"] == 2)
    gated.open()
    assert running.ends() == DONE, running.err

    result = shown(shell, run_id)["result"]["report"]
    assert result["attached"] and result["passes"] == 1
    assert {o["status"] for o in result["outcomes"]} == {"changed"}
    # And now the host's own word for it.
    assert gated.arrivals() == 1, "apt installed once"
    history = gated.says("cat /var/log/apt/history.log")
    assert history.count(f"Install: {PACKAGE}:") == 1
    journals = gated.says("ls /var/lib/converge/runs/*/ | grep -c ^journal")
    assert journals == "1", "one pass"
    started = gated.says("journalctl -q --no-pager | grep -c 'Started converge-.*converge run'")
    assert started == "1", "one unit"
    assert gated.says("cat /srv/after") == "made"


def until_slowly(look: Any) -> None:
    """The server takes a silent worker for dead after the activity's 30 s without a heartbeat."""
    for _ in range(4):
        try:
            until(look, lambda: "the next try")
            return
        except (AssertionError, IndexError):
            continue
    raise AssertionError("no other try was made")


def test_a_cancelled_run_stops_its_unit_on_the_host(shell: Shell, gated: Gated) -> None:
    shell.start("worker").says("serves")
    running, run_id = start(shell, gated)
    assert shell("runs", "cancel", run_id).status == DONE
    assert running.ends() == ENDED
    assert "cancelled" in running.err
    # The run has ended: so has its work, and it does not come back when the gate opens.
    assert gated.says("systemctl list-units --no-legend 'converge-*' | wc -l") == "0"
    assert gated.says("pgrep -c apt-get || true") == "0"
    gated.open()
    assert gated.says(f"dpkg -l {PACKAGE} 2>/dev/null | grep -c ^ii || true") == "0"
    assert gated.says("ls /srv") == ""


def test_a_stopped_worker_leaves_the_unit_alone(shell: Shell, gated: Gated) -> None:
    shell.env["TEMPORAL_DRAIN_TIMEOUT"] = "0"
    first = shell.start("worker")
    first.says("serves")
    running, run_id = start(shell, gated)
    first.process.send_signal(signal.SIGTERM)
    assert first.ends() == DONE
    assert gated.says("systemctl list-units --no-legend 'converge-*' | wc -l") == "1"
    shell.start("worker").says("serves")
    gated.open()
    assert running.ends() == DONE, running.err
    assert gated.arrivals() == 1
    assert shown(shell, run_id)["result"]["report"]["attached"]


def test_a_secret_goes_to_the_host_and_nowhere_else(
    shell: Shell, gated: Gated, tmp_path: Path
) -> None:
    secret = "correct horse/battery+staple"
    worker = shell.start("worker", DEMO_SECRET=secret)
    worker.says("serves")
    spec = spec_file(
        shell,
        gated,
        {"file": "/etc/app.key", "secret": "env://DEMO_SECRET"},
        {"file": "/dev/null/below", "content": "cannot be: its parent is a device\n"},
    )
    run = shell("run", "ProvisionServer", "-f", spec, "--id", "secret")
    again = shell("run", "ProvisionServer", "-f", spec, "--id", "again", "--json")
    assert gated.says("cat /etc/app.key") == secret
    assert gated.says("stat -c %a /etc/app.key") == "600"
    show = shell("runs", "show", "secret")
    said = [run.out, run.err, again.out, again.err, show.out, worker.out, worker.err]
    said += [raw_history(shell, run_id) for run_id in ("secret", "again")]
    said.append(gated.says("cat /var/lib/converge/runs/*/journal.* ; journalctl -q --no-pager"))
    said.append(gated.says("grep -rs . /run/converge /proc/[0-9]*/cmdline || true"))
    assert "env://DEMO_SECRET" in said[-3] and "/dev/null/below" in show.out
    for text in said:
        for form in forms(secret):
            assert form not in text


def forms(secret: str) -> list[str]:
    import base64
    import shlex
    from urllib.parse import quote

    return [secret, quote(secret), base64.b64encode(secret.encode()).decode(), shlex.quote(secret)]


def raw_history(shell: Shell, run_id: str, there: str = "app.key") -> str:
    """The whole history as JSON, and every payload in it once more in the clear; `there` is in one."""
    import asyncio
    import base64
    import re

    from temporalio.client import Client

    async def fetch() -> str:
        client = await Client.connect(shell.env["TEMPORAL_ADDRESS"])
        return (await client.get_workflow_handle(run_id).fetch_history()).to_json()

    text = asyncio.run(fetch())
    assert json.loads(text)["events"]
    blobs = re.findall(r'"data": ?"([^"]+)"', text)
    clear = [base64.b64decode(blob).decode(errors="replace") for blob in blobs]
    assert any(there in part for part in clear), "the payloads are what we look into"
    return "\n".join([text, *clear])
