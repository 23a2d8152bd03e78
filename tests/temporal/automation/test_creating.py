"""ProvisionServer with `create`, and DecommissionServer, on a lab: real servers come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from converge.inventory import read_inventory
from lab import Lab
from lab.testing import LabMaker, make_lab  # noqa: F401 - fixture
from temporal.shared.specs.automation import Provisioned
from temporal.testing import Environment
from tests.temporal.automation.conftest import says
from tests.temporal.support import PATIENCE_S, failure, until_async

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
NEVER = {"file": "/dev/null/below", "content": "x"}


@pytest.fixture
def empty(make_lab: LabMaker) -> Lab:  # noqa: F811
    """A lab with nothing in it."""
    return make_lab()


def new(lab: Lab, *resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    create = {"provider": "lab", "lab_name": lab.name, "name": "web1", **more}
    return {"create": create, "resources": list(resources or [{"file": "/srv/x", "content": "x"}])}


def gone(lab: Lab, **more: Any) -> dict[str, Any]:
    return {"server": {"provider": "lab", "lab_name": lab.name, "name": "web1"}, **more}


async def test_made_brought_to_its_state_written_down_and_unmade(
    env: Environment, empty: Lab, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts.d"
    spec = new(empty)
    spec["register_in"] = {"inventory": str(hosts), "groups": ["web", "prod"]}
    done: Provisioned = await env.run("ProvisionServer", spec)
    (server,) = empty.machines()
    assert done.created and done.created.fresh and done.created.id == server.name
    assert done.report.changed and done.report.host == "web1" and says(server, "cat /srv/x") == "x"
    assert done.registered == str(hosts / "web1.yml")
    (entry,) = read_inventory(hosts).select("web,&prod")
    assert (entry.name, entry.host.address) == ("web1", server.address)
    drain = [
        {"run": "echo bye >/srv/bye; test -e /srv/x"},
        {"run": f"echo web1 >>{tmp_path}/out", "host": "local"},
    ]
    away = await env.run("DecommissionServer", gone(empty, drain=drain, forget=str(hosts)))
    assert away.destroyed and [each.failure for each in away.drained] == ["", ""]
    assert not empty.machines() and not (hosts / "web1.yml").exists()
    assert (tmp_path / "out").read_text() == "web1\n"
    again = await env.run("DecommissionServer", gone(empty, drain=drain, forget=str(hosts)))
    assert not again.destroyed and "gone already" in again.summary
    assert len(again.drained) == 1, "what is gone has no need of its own hook"


async def test_what_fails_is_destroyed_and_told(env: Environment, empty: Lab) -> None:
    said = str(await failure(await env.start("ProvisionServer", new(empty, NEVER))))
    assert "file:/dev/null/below: failed" in said
    assert "web1 (lab server1) was made by this run, and is destroyed" in said
    assert not empty.machines()


async def test_what_is_to_be_kept_is_kept(env: Environment, empty: Lab) -> None:
    handle = await env.start("ProvisionServer", new(empty, NEVER, keep_on_failure=True))
    said = str(await failure(handle))
    assert "web1 (lab server1) is kept, as keep_on_failure says" in said
    (server,) = empty.machines()
    assert server.state == "running" and server.mark.startswith("web1/ops-")
    said = str(await failure(await env.start("ProvisionServer", new(empty))))
    assert "has a server 'web1' already (server1)" in said
    used: Provisioned = await env.run("ProvisionServer", new(empty, if_there="use"))
    assert used.created and not used.created.fresh and used.created.id == server.name
    assert "was there already" in used.render()


async def test_cancelled_it_is_destroyed_too(env: Environment, empty: Lab) -> None:
    waits = {"command": "sleep 600", "creates": "/srv/never"}
    handle = await env.start("ProvisionServer", new(empty, waits))

    async def at_work() -> bool:
        there = [each for each in empty.machines() if each.state == "running"]
        return bool(there) and "sleep 600" in says(there[0], "ps -eo args")

    await until_async(at_work)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE_S)
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert not empty.machines()


async def test_a_hook_that_fails_keeps_the_server_unless_forced(
    env: Environment, empty: Lab
) -> None:
    await env.run("ProvisionServer", new(empty))
    drain = [{"run": "echo it still serves; exit 3"}]
    said = str(await failure(await env.start("DecommissionServer", gone(empty, drain=drain))))
    assert "so web1 is left as it is" in said and "it still serves" in said
    assert len(empty.machines()) == 1
    done = await env.run("DecommissionServer", gone(empty, drain=drain, force=True))
    assert done.destroyed and "it still serves" in done.render() and not empty.machines()


async def test_a_lab_server_that_none_of_ours_made(env: Environment, empty: Lab) -> None:
    (other,) = empty.up(1)
    spec: dict[str, Any] = gone(empty)
    spec["server"]["name"] = other.name
    said = str(await failure(await env.start("DecommissionServer", spec)))
    assert "does not bear our mark" in said and len(empty.machines()) == 1
