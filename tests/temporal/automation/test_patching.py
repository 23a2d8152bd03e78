"""PatchFleet on real servers: upgrades, reboots, and what comes in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle

from converge.tasks import ask
from lab.testing import FreshServer
from temporal.activities.automation.hosts import open_host
from temporal.activities.automation.patch_sh import reboot_script, said
from temporal.activities.automation.patch_sh import told as told_by
from temporal.shared.specs.automation.hosts import HostSpec
from temporal.shared.specs.automation.outcome import FleetReport
from temporal.shared.specs.automation.patching import Patched, PatchSpec
from temporal.testing import Environment
from tests.temporal.automation.patchable import Patchable, prepare
from tests.temporal.support import fetch

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]

Patchables = Callable[[int], list[Patchable]]
BOTH = {"before": "echo before >>/root/log", "after": "echo after >>/root/log"}


@pytest.fixture
def patchables(machine: FreshServer) -> Patchables:
    return lambda count: [prepare(machine()) for _ in range(count)]


def fleet(servers: list[Patchable], **rest: Any) -> PatchSpec:
    members = [{"host": server.place} for server in servers]
    return PatchSpec.model_validate(PatchSpec.of(rest, members))


async def patched(
    env: Environment, servers: list[Patchable], **rest: Any
) -> WorkflowHandle[Any, Any]:
    return await env.start("PatchFleet", fleet(servers, **rest))


async def report(run: WorkflowHandle[Any, Any]) -> FleetReport:
    found: FleetReport = await asyncio.wait_for(run.result(), 120)
    return found


async def told(run: WorkflowHandle[Any, Any]) -> str:
    """Why it failed."""
    with pytest.raises(WorkflowFailureError) as caught:
        await asyncio.wait_for(run.result(), 120)
    return str(caught.value.cause)


async def results(run: WorkflowHandle[Any, Any]) -> list[Any]:
    """What its activities gave, in order, as plain values."""
    found = []
    for event in (await run.fetch_history()).events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            for payload in event.activity_task_completed_event_attributes.result.payloads:
                found.append(json.loads(payload.data))
    return found


async def test_upgrades_what_is_wanted_and_restarts_what_used_the_old(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    pid = server.says("systemctl show -p MainPID --value lab-serve")
    server.says("echo mine >/etc/lab-web.conf")
    # One archive is named for security.
    run = await patched(env, [server], upgrade="security", **BOTH)
    assert (await report(run)).state.counts == {"changed": 1}
    assert [server.has(p) for p in ("lab-sec", "lab-web", "lab-kept")] == ["2.0", "1.0", "1.0"]
    # All but one.
    run = await patched(
        env, [server], exclude=["lab-k*"], answers=[{"http": "/", "contains": "2.0"}]
    )
    assert (await report(run)).state.counts == {"changed": 1}
    assert [server.has(p) for p in ("lab-web", "lab-kept")] == ["2.0", "1.0"]
    (result,) = await results(run)
    assert Patched.model_validate(result).outcome.changed == (
        "lab-web 1.0 -> 2.0",
        "restarted lab-serve.service, which used replaced files",
    )
    assert server.says("systemctl show -p MainPID --value lab-serve") != pid
    assert server.says("cat /etc/lab-web.conf") == "mine", "local settings stay"
    # The pin was for that run only; and where nothing is to do, nothing is drained.
    run = await patched(env, [server])
    await report(run)
    assert server.has("lab-kept") == "2.0"
    run = await patched(env, [server], **BOTH)
    assert (await report(run)).state.counts == {"unchanged": 1}
    assert server.says("cat /root/log").split() == ["before", "after"]
    assert server.boots() == 0


async def test_three_reboot_one_at_a_time_while_a_client_is_answered(
    env: Environment, patchables: Patchables
) -> None:
    servers = patchables(3)
    before = [server.says("cat /proc/sys/kernel/random/boot_id") for server in servers]
    for server in servers:
        server.needs_reboot()
    run = await patched(env, servers, answers=[{"http": "/", "contains": "2.0"}], **BOTH)
    ending = asyncio.create_task(report(run))
    unanswered, down = [], 0
    while not ending.done():
        asked = await asyncio.gather(*(answer(server) for server in servers))
        down = max(down, asked.count(""))
        if not any(asked):
            unanswered.append(asked)
    found = await ending
    assert found.state.counts == {"changed": 3}
    assert not unanswered and down <= 1, "one is away at a time"
    assert [server.boots() for server in servers] == [1, 1, 1]
    assert [await answer(server) for server in servers] == ["2.0"] * 3
    for server, old in zip(servers, before, strict=True):
        assert server.says("cat /proc/sys/kernel/random/boot_id") != old
        assert server.says("cat /root/log").split() == ["before", "after"]
        assert server.says("systemctl is-active lab-serve") == "active"
    outcomes = [each for each in await results(run) if "ending" in each]
    assert len(outcomes) == 3, "two activities a host"
    upgraded = [f"{name} 1.0 -> 2.0" for name in ("lab-kept", "lab-sec", "lab-web")]
    assert outcomes[0]["changed"][:3] == upgraded
    assert outcomes[0]["changed"][3].startswith(
        "rebooted: /run/reboot-required is there, for lab-web (boot "
    )


async def answer(server: Patchable) -> str:
    try:
        return (await fetch(f"http://{server.machine.address}/"))[1]
    except OSError:
        return ""


async def test_a_reboot_that_does_not_come_back_stops_the_wave(
    env: Environment, patchables: Patchables
) -> None:
    first, second = patchables(2)
    first.postinst("touch /run/reboot-required; systemctl -q mask --no-reload ssh.service\n")
    why = await told(await patched(env, [first, second], reboot_within=8))
    assert "1 hosts failed, 0 may" in why and "1 not begun" in why
    name = first.machine.name
    assert f"{name}: it did not come back from its reboot within 8 s (boot before: " in why
    assert "it ran boot " in why and "since then: " in why
    assert (first.boots(), second.boots(), second.has("lab-web")) == (1, 0, "1.0")


async def test_a_host_that_does_not_go_down_has_failed(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    server.says(
        "systemd-run -q --unit=clings -p TimeoutStopSec=infinity -p KillMode=none "
        "-p ExecStop='/bin/sleep infinity' sleep infinity"
    )
    boot = server.says("cat /proc/sys/kernel/random/boot_id")
    run = await patched(env, [server], upgrade="none", reboot="always", reboot_within=5)
    why = await told(run)
    assert "did not come back from its reboot within 5 s" in why
    assert f"it ran boot {boot[:8]}" in why
    assert server.boots() == 0


async def test_a_service_that_does_not_come_back_is_named(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    server.postinst(
        "touch /run/reboot-required; rm /usr/lib/lab-web/serve; systemctl -q mask ssh.socket\n"
    )
    run = await patched(env, [server], **BOTH)
    why = await told(run)
    assert "after its reboot: not active: lab-serve.service" in why
    assert "failed, and was not before: lab-serve.service" in why
    assert server.says("cat /root/log") == "before", "it stays drained"


async def test_without_a_reboot_it_says_that_one_is_needed(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    server.needs_reboot()
    run = await patched(env, [server], reboot="never", exclude=["lab-sec"])
    assert (await report(run)).state.counts == {"changed": 1}
    (result,) = await results(run)
    assert result["outcome"]["changed"][-1] == (
        "not rebooted, though it should be: /run/reboot-required is there, for lab-web"
    )
    # Left over from then, it is made up for later.
    assert (await report(await patched(env, [server], upgrade="none"))).state.counts == {
        "changed": 1
    }
    assert server.boots() == 1


async def test_half_done_packages_are_mended_first(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    server.postinst("exit 1\n")
    why = await told(await patched(env, [server]))
    assert "apt-get failed" in why and "lab-web" in why
    assert server.says("dpkg-query -W -f='${db:Status-Abbrev}' lab-web") == "iF"
    server.says("rm /root/postinst")
    run = await patched(env, [server])
    await report(run)
    assert server.says("dpkg-query -W -f='${db:Status-Abbrev}' lab-web") == "ii"


async def test_a_failing_before_leaves_the_host_as_it_is(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    why = await told(await patched(env, [server], before="echo not now; exit 3"))
    assert "before failed with status 3: not now" in why
    assert server.has("lab-web") == "1.0" and server.boots() == 0


async def test_a_list_that_cannot_be_fetched_is_a_failure(
    env: Environment, patchables: Patchables
) -> None:
    (server,) = patchables(1)
    server.says("echo 'deb [trusted=yes] file:/srv/nowhere ./' >>/etc/apt/sources.list")
    why = await told(await patched(env, [server]))
    assert "apt-get update failed" in why and "/srv/nowhere" in why
    assert server.has("lab-web") == "1.0"


async def test_an_order_to_reboot_ends_only_the_boot_that_it_names(patchables: Patchables) -> None:
    (server,) = patchables(1)
    host = await open_host(HostSpec.model_validate(server.place))
    other = "00000000-0000-0000-0000-000000000000"
    records = await ask(host, reboot_script(other, 5))
    boot = server.says("cat /proc/sys/kernel/random/boot_id")
    assert told_by(records, "seen") == (boot, "running")
    server.says(
        "mkdir -p /var/lib/converge; echo ann >/var/lib/converge/lock;"
        " systemd-run -q flock /var/lib/converge/lock sleep infinity;"
        " while flock -n /var/lib/converge/lock true; do sleep 0.05; done"
    )
    records = await ask(host, reboot_script(boot, 0))
    assert said(records, "holder") == "ann" and told_by(records, "seen") == (boot, "running")
    assert server.boots() == 0


async def test_a_full_disk_is_named(env: Environment, machine: FreshServer) -> None:
    server = prepare(machine(disk_mib=160))
    build = r"""
    set -e; cd /srv; mkdir -p b/DEBIAN b/srv
    printf '%s\n' 'Package: lab-kept' 'Version: 3.0' 'Architecture: all' \
      'Maintainer: lab <lab@example.org>' 'Description: large' >b/DEBIAN/control
    head -c 40000000 /dev/urandom >b/srv/blob
    dpkg-deb -Znone --build b main >/dev/null; rm -rf b
    apt-ftparchive packages main | sed 's,^Filename: main/,Filename: ,' >P; mv P main/Packages
    """
    assert server.says(build) == ""
    server.lab.fill_disk(server.machine, keep=8 << 20)
    why = await told(await patched(env, [server]))
    assert "the disk is full (" in why and " free" in why
    server.lab.restore_disk(server.machine)
    await report(await patched(env, [server]))
    assert server.has("lab-kept") == "3.0"
