"""ProvisionServer on real servers: what it makes, what it says, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowFailureError

from lab import Machine
from lab.testing import FreshServer
from temporal.shared.specs import reading
from temporal.shared.specs.automation import Provisioned, ServerSpec
from temporal.testing import Environment
from tests.temporal.automation.conftest import says
from tests.temporal.support import failure, until_async

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
WEB = Path(__file__).resolve().parents[3] / "examples" / "servers" / "web.yml"


def at(machine: Machine, *resources: dict[str, Any], **host: Any) -> dict[str, Any]:
    """A spec for a lab server, by its place in the lab, or by its address if that is said."""
    place: dict[str, Any] = host or {"lab": machine.name, "lab_name": machine.lab}
    return {"host": place, "resources": list(resources)}


async def test_the_example_is_made_and_a_second_run_changes_nothing(
    env: Environment, machine: FreshServer
) -> None:
    server = machine()
    data = yaml.safe_load(WEB.read_text())
    data["host"] = {"lab": server.name, "lab_name": server.lab}
    spec = reading.parse(yaml.safe_dump(data), ServerSpec, str(WEB))
    first: Provisioned = await env.run("ProvisionServer", spec)
    assert first.report.ok and {o.status for o in first.report.outcomes} == {"changed"}
    assert first.report.host == server.name, "the host is called as the spec calls it"
    assert "It is as it was declared." in first.answers[0].body
    assert (
        says(server, "systemctl is-active nginx; systemctl is-enabled nginx") == "active\nenabled"
    )
    assert says(server, "stat -c '%U:%G %a' /var/www/html/index.html") == "deploy:www-data 644"
    assert "deploy@example.org" in says(server, "cat ~deploy/.ssh/authorized_keys")
    before = says(
        server, "stat -c '%n %Z %i' /var/www/html/index.html /etc/nginx/conf.d/limits.conf"
    )
    pid = says(server, "systemctl show -p MainPID nginx")
    second: Provisioned = await env.run("ProvisionServer", spec)
    assert {o.status for o in second.report.outcomes} == {"unchanged"}
    assert second.report.passes == 0 and "nothing changed" in second.render()
    after = says(
        server, "stat -c '%n %Z %i' /var/www/html/index.html /etc/nginx/conf.d/limits.conf"
    )
    assert (before, pid) == (after, says(server, "systemctl show -p MainPID nginx"))


async def test_what_fails_is_named_with_what_it_takes_along_and_nothing_else(
    env: Environment, shared: Machine
) -> None:
    mine = f"/srv/{uuid.uuid4().hex[:8]}"
    spec = at(
        shared,
        {"file": "/dev/null/below", "content": "x"},
        {"file": f"{mine}/after", "content": "x", "needs": ["file:/dev/null/below"]},
        {"file": f"{mine}/apart", "content": "x\n"},
    )
    error = await failure(await env.start("ProvisionServer", spec))
    text = str(error)
    assert text.splitlines()[0].startswith(f"HostFailed: {shared.name}: "), text
    assert "1 failed" in text and "1 skipped" in text
    assert "file:/dev/null/below: failed" in text
    assert f"file:{mine}/after: skipped, it needs file:/dev/null/below" in text
    assert says(shared, f"cat {mine}/apart; ls {mine}") == "x\napart"


async def test_an_answer_that_does_not_come_is_told(env: Environment, shared: Machine) -> None:
    spec = at(shared, {"file": "/srv/here", "content": "x"})
    spec["answers"] = [{"http": "/", "port": 81, "within": 0.5}]
    error = await failure(await env.start("ProvisionServer", spec))
    assert f"http://{shared.address}:81/: no answer" in str(error)


async def test_a_lab_server_that_is_not_there(env: Environment, shared: Machine) -> None:
    spec = at(shared, {"file": "/srv/x", "content": "x"}, lab="server99", lab_name=shared.lab)
    error = await failure(await env.start("ProvisionServer", spec))
    assert "no running server 'server99'" in str(error) and shared.name in str(error)


def address_of(machine: Machine, folder: Path, **more: Any) -> dict[str, Any]:
    """The server by its address, with a key that it knows."""
    base = {"address": machine.address, "user": "root", "key": str(machine.key)}
    return {**base, "known_hosts": str(machine.known_hosts), **more}


def new_key(folder: Path) -> Path:
    key = folder / f"key-{uuid.uuid4().hex[:6]}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=30
    )
    return key


async def test_by_address_it_is_the_same_host(
    env: Environment, shared: Machine, tmp_path: Path
) -> None:
    spec = at(shared, {"file": "/srv/addr", "content": "x"}, **address_of(shared, tmp_path))
    done: Provisioned = await env.run("ProvisionServer", spec)
    assert done.report.host == shared.address


async def test_a_refused_key_fails_at_once_naming_the_host(
    env: Environment, shared: Machine, tmp_path: Path
) -> None:
    host = address_of(shared, tmp_path, key=str(new_key(tmp_path)))
    error = await failure(
        await env.start("ProvisionServer", at(shared, {"file": "/x", "content": ""}, **host))
    )
    assert shared.address in str(error) and "root" in str(error), str(error)
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("known", ["another key", "no key"])
async def test_a_host_key_that_is_not_the_one_known(
    env: Environment, shared: Machine, tmp_path: Path, known: str
) -> None:
    hosts = tmp_path / "known_hosts"
    other = new_key(tmp_path).with_suffix(".pub").read_text()
    hosts.write_text(f"{shared.address} {other}" if known == "another key" else "")
    host = address_of(shared, tmp_path, known_hosts=str(hosts))
    error = await failure(
        await env.start("ProvisionServer", at(shared, {"file": "/x", "content": ""}, **host))
    )
    assert shared.address in str(error) and "key" in str(error), str(error)
    assert len(str(error).splitlines()) <= 2


async def test_a_host_that_is_down_is_tried_again_and_named(
    env: Environment, shared: Machine, tmp_path: Path
) -> None:
    from temporal.runs import look

    host = address_of(shared, tmp_path, port=1)
    handle = await env.start("ProvisionServer", at(shared, {"file": "/x", "content": ""}, **host))

    async def why() -> str | None:
        run = await look(handle, env.ops)
        return run.activities[0].last_failure if run.activities else None

    text = await until_async(why)
    assert shared.address in text and len(text.splitlines()) == 1, text
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()


async def test_a_scratch_folder_on_this_machine(env: Environment, tmp_path: Path) -> None:
    spec = {"host": "local", "resources": [{"file": f"{tmp_path}/etc/motd", "content": "hi\n"}]}
    first: Provisioned = await env.run("ProvisionServer", spec)
    journal = Path("/var/lib/converge/runs", first.report.run_id)
    shutil.rmtree(journal, ignore_errors=True)
    assert first.report.changed and (tmp_path / "etc" / "motd").read_text() == "hi\n"
    second: Provisioned = await env.run("ProvisionServer", spec)
    assert not second.report.changed and second.report.host == "local"
