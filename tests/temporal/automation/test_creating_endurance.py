"""The worker dies while a server is made, and the command goes on: there is one server afterwards."""

from __future__ import annotations

import signal

import pytest
import yaml

from lab.testing import LabMaker, make_lab  # noqa: F401 - fixture
from temporal.cli.common import DONE, WRONG
from tests.temporal.cli.support import Shell, until

pytestmark = pytest.mark.lab


def test_killed_while_it_makes_one_there_is_one(
    shell: Shell,
    make_lab: LabMaker,  # noqa: F811
) -> None:
    lab = make_lab()
    create = {"provider": "lab", "lab_name": lab.name, "name": "web1"}
    path = shell.folder / "new.yml"
    resources = [{"file": "/srv/x", "content": "x"}]
    path.write_text(yaml.safe_dump({"create": create, "resources": resources}))

    plan = shell("provision", "plan", str(path))
    assert plan.status == WRONG and "web1 is not there yet" in plan.err, plan.err

    first = shell.start("worker")
    first.says("serves")
    running = shell.start("run", "ProvisionServer", "-f", str(path), "--id", "make")
    until(lambda: bool(lab.machines()), lambda: f"a server\n{running.err}")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    shell.start("worker").says("serves")
    assert running.ends() == DONE, running.err
    (server,) = lab.machines()
    assert server.state == "running"
    result = shell("runs", "show", "make", "--json").json["result"]
    assert result["created"]["id"] == server.name and result["created"]["fresh"]
