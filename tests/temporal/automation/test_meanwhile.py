"""What somebody says or does to a run just when it is at something else."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from lab import Lab, Machine
from lab.testing import LabMaker, make_lab  # noqa: F401 - fixture
from temporal import config, registry
from temporal.plugin import Defaults
from temporal.shared import Permanent
from temporal.shared.specs.automation import ServerSpec
from temporal.shared.specs.automation.creating import Created, CreateServer
from temporal.shared.specs.automation.decommissioning import Discard
from temporal.shared.specs.automation.drift import DriftSpec
from temporal.shared.specs.automation.fleet import Member
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.patching import Patch, Patched, PatchSpec
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.automation.rollout import Word
from temporal.testing import Environment
from temporal.workflows.automation.patch_fleet import PatchFleet
from temporal.workflows.automation.provision_server import ProvisionServer
from tests.temporal.automation.conftest import says
from tests.temporal.support import PATIENCE_S, failure, until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
GATE = "echo came >>/root/came; while [ ! -e /root/go ]; do sleep 0.1; done; touch /root/went"
AWAY = "rm -f /root/came /root/go /root/went"


class Doing:
    """Activities in place of those that want a cloud or a reboot: they end when they are told to, at a
    moment that the real ones come to only by chance."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.rebooted = 0
        self.destroyed = ""

    @activity.defn
    async def patch_host(self, patch: Patch, member: Member) -> Patched:
        """Is done, and hears only then that it is cancelled."""
        self.begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._told()
        return Patched(
            outcome=HostOutcome(host=member.host.name, ending="changed"), boot="1", reboot="asked"
        )

    @activity.defn
    async def reboot_host(self, patch: Patch, member: Member, patched: Patched) -> HostOutcome:
        self.rebooted += 1
        return patched.outcome

    @activity.defn
    async def create_server(self, request: CreateServer) -> Created:
        raise Permanent("no quota is left")

    @activity.defn
    async def discard_server(self, request: Discard) -> tuple[str, ...]:
        self.begun.set()
        await self._told()
        self.destroyed = request.token
        return (request.token,)

    async def _told(self) -> None:
        while not self.go.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def worker(env: Environment, doing: Doing) -> AsyncIterator[Callable[..., Any]]:
    """Starts runs of workflows that do it so."""
    ops, queue = env.ops, f"meanwhile-{uuid.uuid4()}"
    client = await Client.connect(
        ops.settings.address,
        namespace=ops.client.namespace,
        data_converter=ops.client.data_converter,
    )
    everything = [doing.patch_host, doing.reboot_host, doing.create_server, doing.discard_server]

    async def start(run: Any, spec: Any) -> WorkflowHandle[Any, Any]:
        return await client.start_workflow(run, spec, id=f"{queue}-run", task_queue=queue)

    async with Worker(
        client,
        task_queue=queue,
        workflows=[PatchFleet, ProvisionServer],
        activities=everything,
        interceptors=[Defaults(registry.load(config.load({"TEMPORAL_TASK_QUEUE": queue})))],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_heartbeat_throttle_interval=timedelta(seconds=0.1),
    ):
        yield start


async def ended(run: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(run.result(), PATIENCE_S)
    return (await run.describe()).status


async def test_a_host_is_not_rebooted_for_who_has_cancelled(env: Environment) -> None:
    doing = Doing()
    spec = PatchSpec.model_validate(PatchSpec.of({}, [{"host": "web1"}]))
    async with worker(env, doing) as start:
        run = await start(PatchFleet.run, spec)
        await asyncio.wait_for(doing.begun.wait(), PATIENCE_S)
        await run.cancel()
        assert await ended(run) == WorkflowExecutionStatus.CANCELED
        assert not doing.rebooted


async def test_what_is_being_destroyed_is_destroyed_though_somebody_cancels(
    env: Environment,
) -> None:
    doing = Doing()
    create = {"provider": "lab", "lab_name": "nowhere", "name": "web1"}
    spec = ServerSpec.model_validate(
        {"create": create, "resources": [{"file": "/srv/x", "content": "x"}]}
    )
    async with worker(env, doing) as start:
        run = await start(ProvisionServer.run, spec)
        await asyncio.wait_for(doing.begun.wait(), PATIENCE_S)
        await run.cancel()

        async def heard() -> bool:
            kinds = [event.event_type for event in (await run.fetch_history()).events]
            return kinds[-1] != kinds[0] and _cancelled_and_taken_in(kinds)

        await until_async(heard)
        doing.go.set()
        said = str(await failure(run))
        assert "no quota is left" in said and "is destroyed" in said
        assert doing.destroyed


def _cancelled_and_taken_in(kinds: list[Any]) -> bool:
    """Is a workflow task done since it was cancelled?"""
    from temporalio.api.enums.v1 import EventType

    asked = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return asked in kinds and done in kinds[kinds.index(asked) :]


@pytest.mark.lab
async def test_drift_that_is_being_repaired_is_not_aborted_in_vain(
    env: Environment, shared: Machine
) -> None:
    says(shared, AWAY)
    value = {
        "hosts": [{"lab": shared.name, "lab_name": shared.lab}],
        "resources": [{"command": GATE, "creates": "/root/went"}],
        "repair": "100%",
    }
    reading = DriftSpec.read_as(value, Path())
    run = await env.start("DetectDrift", DriftSpec.model_validate(reading.value))

    async def came() -> bool:
        return says(shared, "cat /root/came 2>/dev/null || :") == "came"

    try:
        await until_async(came)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await run.execute_update("abort", Word(by="bob"))
        assert f"{run.id}-repair-" in str(refused.value.cause)
        says(shared, "touch /root/go")
        assert (await run.result()).repair.hosts == 1
    finally:
        says(shared, "touch /root/go")
        says(shared, AWAY)


@pytest.mark.lab
async def test_cancelled_it_stops_behind_a_sudo_password_too(
    env: Environment, shared: Machine, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse")
    says(shared, f"{AWAY}; id asks >/dev/null 2>&1 || useradd -m -s /bin/sh asks")
    says(
        shared,
        "echo 'asks:correct horse' | chpasswd; echo 'asks ALL=(ALL) ALL' >/etc/sudoers.d/asks;"
        " mkdir -p ~asks/.ssh; cp /root/.ssh/authorized_keys ~asks/.ssh; chown -R asks: ~asks/.ssh",
    )
    host = {
        "address": shared.address,
        "user": "asks",
        "key": str(shared.key),
        "known_hosts": str(shared.known_hosts),
        "sudo": True,
        "sudo_password": f"file://{password}",
    }
    value = FleetSpec.of(
        {"resources": [{"command": GATE, "creates": "/root/went"}]}, [{"host": host}]
    )
    run = await env.start("ProvisionFleet", FleetSpec.model_validate(value))

    async def came() -> bool:
        return says(shared, "cat /root/came 2>/dev/null || :") == "came"

    try:
        await until_async(came)
        await run.cancel()
        await ended(run)
        left = says(shared, "systemctl list-units --no-legend 'converge-*' | grep -c running || :")
        assert left == "0"
    finally:
        says(shared, "touch /root/go")
        says(shared, "rm -f /etc/sudoers.d/asks; userdel -rf asks 2>/dev/null || :")


@pytest.mark.lab
async def test_a_server_that_has_the_id_of_the_one_that_is_gone_stays(
    env: Environment,
    make_lab: LabMaker,  # noqa: F811
    tmp_path: Path,
) -> None:
    lab: Lab = make_lab()
    lab.marked("web1/ops-one")
    drain = f"touch {tmp_path}/came; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"
    value = {
        "server": {"provider": "lab", "lab_name": lab.name, "name": "web1"},
        "drain": [{"run": drain, "host": "local"}],
    }
    run = await env.start("DecommissionServer", value)

    async def came() -> bool:
        return (tmp_path / "came").exists()

    try:
        await until_async(came)
        (old,) = lab.machines()
        await asyncio.to_thread(lab.down, [old.name])
        other = await asyncio.to_thread(lab.marked, "db1/ops-two")
        assert other.name == old.name
    finally:
        (tmp_path / "go").touch()
    assert not (await run.result()).destroyed
    assert [each.mark for each in lab.machines()] == ["db1/ops-two"]
