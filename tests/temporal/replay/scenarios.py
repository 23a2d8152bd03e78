"""The runs of which histories are kept: for each workflow, one for each way through its code.

A new workflow is one more entry: an async context manager that prepares what the run needs and gives
its arguments. Then `make histories` records it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from temporal.shared.specs.automation.command import CommandSpec
from temporal.shared.specs.automation.patching import PatchSpec
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.backup.backup import BackupSpec

HISTORIES = Path(__file__).parent / "histories"
# Stands in the recorded history, so it is the same on every machine.
_SCRATCH = Path("/var/tmp/temporal-ops-recording")


@dataclass(frozen=True)
class Scenario:
    """One recorded run.

    Attributes:
        workflow: name of the workflow.
        name: which way through its code.
        arguments: prepares and gives the run's arguments.
        meanwhile: what somebody says to the run before it ends.
    """

    workflow: str
    name: str
    arguments: Callable[[], AbstractAsyncContextManager[list[Any]]]
    meanwhile: Callable[[WorkflowHandle[Any, Any]], Awaitable[None]] | None = None

    @property
    def file(self) -> Path:
        return HISTORIES / f"{self.workflow}.{self.name}.json"


@contextlib.asynccontextmanager
async def _greeting() -> AsyncIterator[list[Any]]:
    yield ["World"]


@contextlib.asynccontextmanager
async def _scratch_folder() -> AsyncIterator[list[Any]]:
    """This machine as the server: one file in a scratch folder, and a page that is asked for."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    await asyncio.to_thread(_SCRATCH.mkdir, 0o700)
    listener = await asyncio.start_server(page, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield [
            {
                "host": "local",
                "resources": [{"file": str(_SCRATCH / "motd"), "content": "hello\n"}],
                "answers": [{"http": f"http://127.0.0.1:{port}/", "contains": "hello"}],
            }
        ]
    finally:
        listener.close()
        shutil.rmtree(_SCRATCH)


@contextlib.asynccontextmanager
async def _one_and_one_that_is_gone() -> AsyncIterator[list[Any]]:
    """This machine, then a port where nobody listens, which may fail."""
    await asyncio.to_thread(_SCRATCH.mkdir, 0o700)
    shape = {
        "resources": [{"file": str(_SCRATCH / "motd"), "content": "hello\n"}],
        "rollout": {"wave": 1, "max_failures": 1, "pause": 0.1},
    }
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    try:
        yield [FleetSpec.of(shape, [{"host": "local"}, {"host": gone}])]
    finally:
        shutil.rmtree(_SCRATCH)


@contextlib.asynccontextmanager
async def _one_that_reboots_and_one_that_is_gone() -> AsyncIterator[list[Any]]:
    """A lab server that is rebooted, then a port where nobody listens, which may fail."""
    from lab import Lab

    lab = Lab("recording", owner=os.getpid())
    (server,) = await asyncio.to_thread(lab.up, 1)
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    hosts = [{"host": {"lab": server.name, "lab_name": "recording"}}, {"host": gone}]
    shape = {"upgrade": "none", "reboot": "always", "rollout": {"max_failures": 1}}
    try:
        yield [PatchSpec.of(shape, hosts)]
    finally:
        await asyncio.to_thread(lab.down)


@contextlib.asynccontextmanager
async def _here_and_where_nobody_is() -> AsyncIterator[list[Any]]:
    """A command on this machine, that fails, and where nobody listens; neither keeps the other."""
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    shape = {"command": "echo said; exit 3"}
    yield [CommandSpec.of(shape, [{"host": "local"}, {"host": gone}])]


@contextlib.asynccontextmanager
async def _drift_and_one_that_is_gone() -> AsyncIterator[list[Any]]:
    """This machine with a file that is not there, which is repaired, and a port where nobody is."""
    await asyncio.to_thread(_SCRATCH.mkdir, 0o700)
    shape = {
        "resources": [{"file": str(_SCRATCH / "motd"), "content": "hello\n"}],
        "repair": "100%",
    }
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    try:
        yield [FleetSpec.of(shape, [{"host": "local"}, {"host": gone}])]
    finally:
        shutil.rmtree(_SCRATCH)


@contextlib.asynccontextmanager
async def _drift_that_nobody_is_told_of() -> AsyncIterator[list[Any]]:
    """More drift than may be repaired, and a target that no worker knows."""
    shape = {
        "resources": [{"file": str(_SCRATCH / "motd"), "content": "hello\n"}],
        "repair": 0,
        "notify": "env://TEMPORAL_OPS_NOBODY",
    }
    yield [FleetSpec.of(shape, [{"host": "local"}])]


@contextlib.asynccontextmanager
async def _here_after_approval() -> AsyncIterator[list[Any]]:
    """This machine, once somebody has approved the plan."""
    async with _one_and_one_that_is_gone() as (value,):
        rollout = {**value["rollout"], "approve": "plan"}
        yield [{**value, "rollout": rollout}]


async def _outdated_once(run: WorkflowHandle[Any, Any]) -> None:
    """Approves a plan that does not fit any more when it is done, then the one made after that."""
    first = await _what_waits(run, "")
    await asyncio.to_thread((_SCRATCH / "motd").write_text, "somebody's\n")
    await run.execute_update("approve", {"by": "ann", "plan": first})
    second = await _what_waits(run, first)
    await run.execute_update("approve", {"by": "bob", "why": "looked", "plan": second})


async def _what_waits(run: WorkflowHandle[Any, Any], before: str) -> str:
    while True:
        waiting = (await run.query("progress"))["state"]["waiting"]
        if waiting is not None and waiting["plan"] != before:
            return str(waiting["plan"])
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _made(*resources: dict[str, Any]) -> AsyncIterator[list[Any]]:
    """A lab server that is made, brought to its state and written down."""
    from lab import Lab

    await asyncio.to_thread(_SCRATCH.mkdir, 0o700)
    create = {"provider": "lab", "lab_name": "recording-new", "name": "web1"}
    register = {"inventory": str(_SCRATCH / "hosts.d"), "groups": ["web"]}
    try:
        yield [{"create": create, "register_in": register, "resources": list(resources)}]
    finally:
        await asyncio.to_thread(Lab("recording-new").down)
        shutil.rmtree(_SCRATCH)


def _made_and_written_down() -> AbstractAsyncContextManager[list[Any]]:
    return _made({"file": "/srv/motd", "content": "hello\n"})


def _made_and_destroyed() -> AbstractAsyncContextManager[list[Any]]:
    """What it should have cannot be."""
    return _made({"file": "/dev/null/below", "content": "hello\n"})


@contextlib.asynccontextmanager
async def _drained_and_forgotten() -> AsyncIterator[list[Any]]:
    """A lab server that an earlier run made; a hook that fails keeps nobody."""
    from lab import Lab

    lab = Lab("recording-old", owner=os.getpid())
    await asyncio.to_thread(lab.marked, "web1/ops-recording")
    drain = [{"run": "true"}, {"run": "exit 3", "host": "local"}]
    server = {"provider": "lab", "lab_name": "recording-old", "name": "web1"}
    try:
        yield [{"server": server, "drain": drain, "force": True, "forget": str(_SCRATCH)}]
    finally:
        await asyncio.to_thread(lab.down)


@contextlib.asynccontextmanager
async def _here_checked_and_told() -> AsyncIterator[list[Any]]:
    """This machine, healthy afterwards; nobody can be told, and that is noted."""
    await asyncio.to_thread(_SCRATCH.mkdir, 0o700)
    shape = {
        "resources": [{"file": str(_SCRATCH / "motd"), "content": "hello\n"}],
        "rollout": {"checks": [{"command": "true"}]},
        "notify": {"targets": ["env://NOWHERE_TO_TELL"], "on": ["finished"]},
    }
    try:
        yield [FleetSpec.of(shape, [{"host": "local"}])]
    finally:
        shutil.rmtree(_SCRATCH)


@contextlib.asynccontextmanager
async def _backed_up() -> AsyncIterator[dict[str, Any]]:
    """A lab server with one snapshot of a folder, as BackUp makes it; what a file says of it."""
    from lab import Lab

    lab = Lab("recording", owner=os.getpid(), packages=["restic"])
    (server,) = await asyncio.to_thread(lab.up, 1)
    proof = "/var/lib/converge/backup/trial/motd/proof"
    tags = "temporal-ops,backup:trial,source:motd,kind:files"
    made = (
        f"mkdir -p {proof} /srv/motd; echo hello >/srv/motd/motd; export RESTIC_PASSWORD=$(seq -s - 20);"
        f" printf 'format=1\\nkind=files\\nbegan=%s\\n' $(date +%s) >{proof}/about;"
        f" restic -q -r /srv/repo init && restic -q -r /srv/repo backup --host {server.name}"
        f" --tag {tags} /srv/motd {proof}"
    )
    try:
        done = await asyncio.to_thread(lab.exec, server, ["sh", "-c", made])
        assert done.returncode == 0, done.stderr
        yield {
            "name": "trial",
            "repository": {"url": "/srv/repo", "password": "exec://seq -s - 20"},
            "sources": {"motd": {"files": "/srv/motd"}},
            "hosts": [{"lab": server.name, "lab_name": "recording"}],
        }
    finally:
        await asyncio.to_thread(lab.down)


@contextlib.asynccontextmanager
async def _saved_and_one_that_is_gone() -> AsyncIterator[list[Any]]:
    """A backup, and a port where nobody listens, which may fail."""
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in (*plan.pop("hosts"), gone)]
        yield [BackupSpec.of({**plan, "rollout": {"max_failures": 1}}, hosts)]


@contextlib.asynccontextmanager
async def _shared_and_nobody_can_make_it() -> AsyncIterator[list[Any]]:
    """One repository for two hosts, to be made by the first that is reached, which cannot."""
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in (gone, *plan.pop("hosts"))]
        repository = {**plan["repository"], "url": "rest:http://127.0.0.1:1/", "create": True}
        yield [BackupSpec.of({**plan, "repository": repository}, hosts)]


@contextlib.asynccontextmanager
async def _drilled_and_one_that_is_gone() -> AsyncIterator[list[Any]]:
    """A restore that is tried, and a port where nobody listens, which may fail."""
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in (*plan.pop("hosts"), gone)]
        yield [BackupSpec.of({**plan, "rollout": {"max_failures": 1}}, hosts)]


@contextlib.asynccontextmanager
async def _restored_to_a_new_place() -> AsyncIterator[list[Any]]:
    """A folder that comes back beside the live one."""
    async with _backed_up() as plan:
        [host] = plan.pop("hosts")
        yield [{"backup": plan, "host": host["lab"], "onto": host, "source": "motd"}]


@contextlib.asynccontextmanager
async def _maintained_and_one_that_is_gone() -> AsyncIterator[list[Any]]:
    """A repository that is maintained, and a port where nobody listens, which may fail."""
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in (*plan.pop("hosts"), gone)]
        more = {"keep": {"last": 1}, "maintain": {"subsets": 2}, "rollout": {"max_failures": 1}}
        yield [BackupSpec.of({**plan, **more}, hosts)]


@contextlib.asynccontextmanager
async def _shared_and_nobody_can_open_it() -> AsyncIterator[list[Any]]:
    """One repository for two hosts: of these one is gone, and the other does not reach it."""
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in (gone, *plan.pop("hosts"))]
        repository = {**plan["repository"], "url": "rest:http://127.0.0.1:1/"}
        yield [BackupSpec.of({**plan, "repository": repository}, hosts)]


@contextlib.asynccontextmanager
async def _inspected_and_nobody_is_told() -> AsyncIterator[list[Any]]:
    """A source that is missing and one that is there, and a target that no worker knows."""
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in plan.pop("hosts")]
        sources = {**plan["sources"], "never": {"files": "/srv/never"}}
        more = {"sources": sources, "notify": "env://TEMPORAL_OPS_NOBODY"}
        yield [BackupSpec.of({**plan, **more}, hosts)]


@contextlib.asynccontextmanager
async def _inspected_and_well() -> AsyncIterator[list[Any]]:
    """A source that is backed up, and too new to be proved."""
    async with _backed_up() as plan:
        hosts = [{"host": each} for each in plan.pop("hosts")]
        yield [BackupSpec.of(plan, hosts)]


SCENARIOS = (
    Scenario("TestWorkflow", "greets", _greeting),
    Scenario("ProvisionServer", "scratch-folder", _scratch_folder),
    Scenario("ProvisionServer", "made-and-written-down", _made_and_written_down),
    Scenario("ProvisionServer", "made-and-destroyed", _made_and_destroyed),
    Scenario("DecommissionServer", "drained-and-forgotten", _drained_and_forgotten),
    Scenario("PlanServer", "scratch-folder", _scratch_folder),
    Scenario("DetectDrift", "nobody-is-told", _drift_that_nobody_is_told_of),
    Scenario("DetectDrift", "repaired-and-one-that-is-gone", _drift_and_one_that_is_gone),
    Scenario("ProvisionFleet", "one-and-one-that-is-gone", _one_and_one_that_is_gone),
    Scenario("ProvisionFleet", "checked-and-told", _here_checked_and_told),
    Scenario("ProvisionFleet", "approved-twice", _here_after_approval, _outdated_once),
    Scenario("PlanFleet", "one-and-one-that-is-gone", _one_and_one_that_is_gone),
    Scenario(
        "PatchFleet",
        "one-that-reboots-and-one-that-is-gone",
        _one_that_reboots_and_one_that_is_gone,
    ),
    Scenario("RunCommand", "here-and-where-nobody-is", _here_and_where_nobody_is),
    Scenario("BackUp", "saved-and-one-that-is-gone", _saved_and_one_that_is_gone),
    Scenario("BackUp", "nobody-can-make-it", _shared_and_nobody_can_make_it),
    Scenario("DrillRestore", "tried-and-one-that-is-gone", _drilled_and_one_that_is_gone),
    Scenario("RestoreBackup", "to-a-new-place", _restored_to_a_new_place),
    Scenario(
        "MaintainRepository", "maintained-and-one-that-is-gone", _maintained_and_one_that_is_gone
    ),
    Scenario("MaintainRepository", "nobody-can-open-it", _shared_and_nobody_can_open_it),
    Scenario("InspectBackups", "nobody-is-told", _inspected_and_nobody_is_told),
    Scenario("InspectBackups", "well", _inspected_and_well),
    Scenario("InspectBackups", "nobody-can-open-it", _shared_and_nobody_can_open_it),
    Scenario("ListSnapshots", "one-repository", _inspected_and_well),
)
