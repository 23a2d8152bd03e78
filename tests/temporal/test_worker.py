"""Worker processes, as an operator starts, stops, probes and kills them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from temporalio.client import WorkflowExecutionStatus
from trial.models import Call

from temporal.testing import Environment
from temporal.worker import EXIT_STOPPED_AT_ONCE, Crew
from tests.temporal.support import (
    ROOT,
    Process,
    Processes,
    failure,
    fetch,
    lines,
    ops_at,
    touch,
    until,
    until_async,
    variables,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def polling(worker: Process) -> str:
    """Its health address, once it polls."""
    return (await worker.says(r"health (http://[\d.:]+)"))[1]


def slow(folder: Path, activity: str = "slow") -> Call:
    return Call(activity=activity, args=[str(folder / "log"), str(folder / "go")])


async def test_sigterm_drains(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    worker = processes.worker(address, queue, tmp_path)
    health = await polling(worker)
    ops = await ops_at(address, queue, tmp_path)
    handle = await ops.start("CallActivity", slow(tmp_path))
    await until(lambda: lines(tmp_path / "log"))
    assert (await fetch(f"{health}/readyz"))[0] == 200
    worker.signal(signal.SIGTERM)
    await worker.says("draining")
    status, body = await fetch(f"{health}/readyz")
    assert status == 503 and "draining" in body
    assert (await fetch(f"{health}/livez"))[0] == 200
    assert worker.popen.poll() is None
    touch(tmp_path / "go")
    assert await worker.ends() == 0, worker.output()
    assert lines(tmp_path / "log") == ["began 1", "ended 1"]
    # Its result was told before the end; who decides on it is the next worker.
    processes.worker(address, queue, tmp_path)
    assert await handle.result() == "waited"
    assert lines(tmp_path / "log") == ["began 1", "ended 1"]


async def test_a_second_signal_stops_at_once(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    worker = processes.worker(address, queue, tmp_path)
    await polling(worker)
    ops = await ops_at(address, queue, tmp_path)
    handle = await ops.start("CallActivity", slow(tmp_path, "slow_in_thread"))
    await until(lambda: lines(tmp_path / "log"))
    worker.signal(signal.SIGINT)
    await worker.says("draining")
    worker.signal(signal.SIGTERM)
    assert await worker.ends() == EXIT_STOPPED_AT_ONCE
    assert "second signal" in worker.output()
    await handle.terminate()


async def test_the_drain_has_an_end(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    """Also for a thread that nobody can interrupt."""
    address = env.ops.settings.address
    worker = processes.worker(address, queue, tmp_path, TEMPORAL_DRAIN_TIMEOUT="0.5")
    await polling(worker)
    ops = await ops_at(address, queue, tmp_path)
    handle = await ops.start("CallActivity", slow(tmp_path, "slow_in_thread"))
    await until(lambda: lines(tmp_path / "log"))
    worker.signal(signal.SIGTERM)
    await worker.ends()
    await handle.terminate()


async def test_killed_in_the_middle_another_finishes(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    worker = processes.worker(address, queue, tmp_path)
    await polling(worker)
    ops = await ops_at(address, queue, tmp_path)
    handle = await ops.start("CallActivity", slow(tmp_path))
    await until(lambda: lines(tmp_path / "log"))
    worker.signal(signal.SIGKILL)
    worker.wait()
    touch(tmp_path / "go")
    other = processes.worker(address, queue, tmp_path)
    await polling(other)
    assert await handle.result() == "waited"
    # The heartbeat's silence told, long before start_to_close, and nothing ran a third time.
    assert lines(tmp_path / "log") == ["began 1", "began 2", "ended 2"]


async def test_health_metrics_threads_and_logs(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    worker = processes.worker(
        address, queue, tmp_path, TEMPORAL_HEALTH_ADDRESS="127.0.0.1:0", TRIAL_SECRET="swordfish-77"
    )
    health = await polling(worker)
    ops = await ops_at(address, queue, tmp_path)

    ready, body = await fetch(f"{health}/readyz")
    assert ready == 200 and json.loads(body)["pollers"][queue] > 0
    assert (await fetch(f"{health}/nothing"))[0] == 404

    touch(tmp_path / "go")
    handle = await ops.start("CallActivity", slow(tmp_path, "slow_in_thread"))
    assert str(await handle.result()).startswith("activity")

    status, text = await fetch(f"{health}/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert status == 200
    assert families["temporal_ops_worker_info"].samples[0].labels["build_id"]
    (memory,) = families["process_resident_memory_bytes"].samples
    assert memory.value == pytest.approx(psutil.Process(worker.pid).memory_info().rss, rel=0.5)
    assert any(name.startswith("temporal_workflow_completed") for name in families)
    assert any(name.startswith("temporal_activity_execution_latency") for name in families)

    logged = await ops.start(
        "CallActivity", Call(activity="log_secret", args=["env://TRIAL_SECRET"])
    )
    await logged.result()
    await worker.says("it failed")
    rows = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    (row,) = [row for row in rows if row["message"].startswith("using ")]
    assert row["message"] == "using [secret env://TRIAL_SECRET]"
    assert row["workflow_id"] == logged.id
    assert row["run_id"] == logged.first_execution_run_id
    assert (row["activity"], row["activity_id"], row["attempt"]) == ("log_secret", "1", 1)
    (failed,) = [row for row in rows if row["message"] == "it failed"]
    assert "ValueError: bad [secret env://TRIAL_SECRET]" in failed["exception"]
    assert "swordfish-77" not in worker.output()


async def test_a_blocked_loop_is_told(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    worker = processes.worker(address, queue, tmp_path)
    health = await polling(worker)
    assert (await fetch(f"{health}/livez"))[0] == 200
    ops = await ops_at(address, queue, tmp_path)
    handle = await ops.start("CallActivity", slow(tmp_path, "block_loop"))
    await until(lambda: lines(tmp_path / "log"))
    status, body = await fetch(f"{health}/livez")
    assert status == 503 and "event loop" in body
    touch(tmp_path / "go")
    assert await handle.result() == "unblocked"

    async def well() -> bool:
        return (await fetch(f"{health}/livez"))[0] == 200

    await until_async(well)


async def test_an_activity_that_hangs_or_is_silent_ends_by_its_declaration(
    env: Environment,
) -> None:
    for name, kind in (("hang", "StartToClose"), ("silent", "Heartbeat")):
        handle = await env.start("CallActivity", Call(activity=name))
        assert kind.lower() in str(await failure(handle)).lower().replace("_", "").replace(" ", "")
        assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED


def run_worker(folder: Path, address: str, *options: str, **env: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "temporal", "worker", *options],
        env=variables(folder, {"TEMPORAL_ADDRESS": address, **env}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


async def test_a_queue_without_work_is_refused(env: Environment, tmp_path: Path) -> None:
    status, said = run_worker(tmp_path, env.ops.settings.address, "--queue", "desert")
    assert status != 0
    assert "nothing is registered on queue 'desert'" in said and "test-task-queue" in said


async def test_a_taken_health_port_names_its_variable(env: Environment, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        status, said = run_worker(tmp_path, env.ops.settings.address, TEMPORAL_HEALTH_ADDRESS=here)
    assert status != 0
    assert f"TEMPORAL_HEALTH_ADDRESS={here}" in said.replace("\n", " ")


async def test_workers_with_other_code_are_warned_of(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    old = processes.worker(address, queue, tmp_path, TEMPORAL_BUILD_ID="old-code")
    await polling(old)
    new = processes.worker(address, queue, tmp_path, TEMPORAL_BUILD_ID="new-code")
    await polling(new)
    # A poller that is idle shows itself once a minute; one that works, at once.
    ops = await ops_at(address, queue, tmp_path)

    async def warned() -> bool:
        await asyncio.gather(*(ops.run("TestWorkflow", "you") for _ in range(10)))
        return "other code" in new.output()

    await until_async(warned)
    assert re.search(
        rf"queue {queue} is also polled .* \(\d+@[^/]+/old-code; this is", new.output()
    )


async def test_a_worker_that_is_gone_is_not_warned_of(
    env: Environment, processes: Processes, queue: str, tmp_path: Path
) -> None:
    address = env.ops.settings.address
    old = processes.worker(address, queue, tmp_path, TEMPORAL_BUILD_ID="old-code")
    await polling(old)
    old.signal(signal.SIGTERM)
    await old.ends()
    new = processes.worker(address, queue, tmp_path, TEMPORAL_BUILD_ID="new-code")
    await polling(new)
    ops = await ops_at(address, queue, tmp_path)
    looks = 0
    before = time.monotonic()
    while time.monotonic() - before < 5:  # it looks every two seconds
        await ops.run("TestWorkflow", "you")
        looks += 1
    assert looks > 1
    assert "other code" not in new.output()


async def test_a_queue_of_the_crew_that_nobody_knows(env: Environment) -> None:
    from temporal.shared.errors import ConfigError

    with pytest.raises(ConfigError, match="'desert'"):
        Crew(env.ops, queues=["desert"])
