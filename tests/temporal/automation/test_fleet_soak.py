"""Worker, Temporal server, or both, killed at random moments of a fleet's run: it ends as if nothing
had been. The hosts are asked, not Temporal: what their journals say was done, and what it left.

FLEET_SOAK_SEED chooses the moments, FLEET_SOAK_ROUNDS how many there are; a failure names its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from lab import Machine
from lab.testing import LabMaker, make_lab  # noqa: F401 - a fixture
from temporal import client, config
from temporal.server import SQLITE_PRAGMAS
from temporal.shared.specs.automation.provisioning import FleetSpec
from tests.temporal.automation.conftest import says
from tests.temporal.cli.support import Running, Shell

pytestmark = pytest.mark.lab
HOSTS = 4
PATIENCE_S = 180.0
"""A worker that is gone is missed after the activity's 30 s without a heartbeat."""

# Each notes that it ran: twice would show. Slow enough that many moments fall into it.
RESOURCES: list[dict[str, Any]] = [
    {"directory": "/srv/fleet"},
    {
        "command": "migrate",
        "run": "echo migrated >>/srv/fleet/log; sleep 0.6; touch /srv/fleet/migrated",
        "creates": "/srv/fleet/migrated",
    },
    {"group": "fleet", "gid": 4200},
    {"user": "fleet", "uid": 4200, "group": "fleet", "home": "/srv/fleet/home"},
    {"file": "/srv/fleet/settings", "content": "one = 1\n", "owner": "fleet", "mode": "0640"},
    {
        "command": "load",
        "run": "echo loaded >>/srv/fleet/log; sleep 0.6; touch /srv/fleet/loaded",
        "creates": "/srv/fleet/loaded",
    },
    {"file": "/srv/fleet/done", "content": "all of it\n"},
]
RESET = """\
pkill -u fleet; userdel -r fleet; groupdel fleet
rm -rf /srv/fleet /var/lib/converge/runs/*
"""
LOOK = """\
cd /srv && find fleet -exec stat -c '%n %F %U %G %a' {} + | sort
cat fleet/log fleet/settings fleet/done; getent passwd fleet; getent group fleet
"""
# One line a journal of a run, then what it says.
UNITS = "journalctl -q --no-pager | grep -c 'Started converge-.*converge run' || :"
JOURNALS = "cd /var/lib/converge/runs && for j in */journal.*; do echo == $j; cat $j; done"


class Killable:
    """A Temporal server with its database in a file, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        argv = [str(Path(sys.executable).parent / "temporal"), "server", "start-dev", "--headless"]
        argv += ["--ip", "127.0.0.1", "--port", str(self.port), "--log-level", "never"]
        argv += ["--db-filename", str(self._folder / "temporal.db")]
        argv += [f"--sqlite-pragma={pragma}" for pragma in SQLITE_PRAGMAS]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline, "no Temporal server"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Stage:
    """Four servers, a Temporal server and a worker."""

    servers: list[Machine]
    temporal: Killable
    shell: Shell
    worker: Running | None = None
    said: list[str] = field(default_factory=list)

    def start_worker(self) -> None:
        self.worker = self.shell.start("worker")
        self.worker.says("serves")

    def kill_worker(self) -> None:
        assert self.worker is not None
        self.worker.process.send_signal(signal.SIGKILL)
        self.worker.process.wait()

    def kill(self, what: str) -> None:
        """`worker`, `server` or `both`, and start it again."""
        if what != "server":
            self.kill_worker()
        if what != "worker":
            self.temporal.kill()
            self.temporal.start()
        if what != "server":
            self.start_worker()

    def everywhere(self, script: str) -> list[str]:
        return [says(server, script) for server in self.servers]

    async def start(self, id: str) -> None:
        places = [{"host": {"lab": each.name, "lab_name": each.lab}} for each in self.servers]
        rollout = {"canary": 1, "wave": 2}
        spec = FleetSpec.of({"resources": RESOURCES, "rollout": rollout}, places)
        settings = config.load({"TEMPORAL_ADDRESS": self.temporal.address})
        ops = await client.connect(settings)
        await ops.start("ProvisionFleet", spec, id=id)

    async def runs(self, id: str) -> bool:
        there = await Client.connect(self.temporal.address)
        status = (await there.get_workflow_handle(id).describe()).status
        return status == WorkflowExecutionStatus.RUNNING

    async def ended(self, id: str) -> dict[str, Any]:
        """The report, once the run has ended; whatever is restarted meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                there = await Client.connect(self.temporal.address)
                handle = there.get_workflow_handle(id)
                status = (await handle.describe()).status
                if status == WorkflowExecutionStatus.COMPLETED:
                    report: dict[str, Any] = await handle.result()
                    return report
                assert status == WorkflowExecutionStatus.RUNNING, f"the run is {status}"
            except (RPCError, RuntimeError):
                pass  # it is just starting
            await asyncio.sleep(0.2)
        raise AssertionError(f"the run did not end within {PATIENCE_S:g} s")


@pytest.fixture
def stage(make_lab: LabMaker, tmp_path: Path) -> Iterator[Stage]:  # noqa: F811
    servers = make_lab("soak").up(HOSTS)
    temporal = Killable(tmp_path)
    shell = Shell(
        tmp_path,
        {"TEMPORAL_ADDRESS": temporal.address, "TEMPORAL_HEARTBEAT_EVERY": "0.25"},
    )
    try:
        temporal.start()
        here = Stage(list(servers), temporal, shell)
        here.start_worker()
        yield here
    finally:
        shell.end()
        temporal.kill()


def applied(journals: str) -> list[str]:
    """What a host's journals say was begun and done, in that order, and how each pass ended."""
    found = re.findall(r"^[0-9a-f]{32} ((?:start|done|end) .*)$", journals, re.MULTILINE)
    # "done STEP SECONDS changed=...": how long it took is no matter.
    return [re.sub(r"^(done \S+) \S+", r"\1", each) for each in found]


@dataclass(frozen=True)
class Found:
    """What hosts say after a round."""

    looks: list[str]
    journals: list[str]
    units: list[str]
    """How many units were started."""
    seconds: float
    """From the start of the run to its end."""
    meanwhile: bool
    """Whether it still ran when something was killed."""


async def one_round(stage: Stage, id: str, what: str = "", after: float = 0) -> Found:
    """Brings fresh hosts there; with a kill so many seconds after its start, if `what` is said."""
    stage.everywhere(RESET)
    before = stage.everywhere(UNITS)
    await stage.start(id)
    begun = time.monotonic()
    meanwhile = False
    if what:
        await asyncio.sleep(after)
        meanwhile = await stage.runs(id)
        await asyncio.to_thread(stage.kill, what)
    report = await stage.ended(id)
    seconds = time.monotonic() - begun
    assert report["state"]["counts"] == {"changed": HOSTS}, report
    units = [
        str(int(now) - int(then)) for now, then in zip(stage.everywhere(UNITS), before, strict=True)
    ]
    looks, journals = stage.everywhere(LOOK), stage.everywhere(JOURNALS)
    return Found(looks, journals, units, seconds, meanwhile)


async def trial(stage: Stage, rounds: int, kinds: tuple[str, ...]) -> None:
    seed = int(os.environ.get("FLEET_SOAK_SEED") or secrets.randbelow(10**6))
    chance = random.Random(seed)
    clean = await one_round(stage, "clean")
    wanted, steps = clean.looks[0], applied(clean.journals[0])
    assert set(clean.looks) == {wanted} and wanted.count("migrated\n") == 1
    assert len(steps) == 2 * len(RESOURCES) + 1 and steps[-1] == "end ok"
    print(f"seed {seed}: a clean run takes {clean.seconds:.1f} s")
    number = hit = 0
    while hit < rounds:
        number += 1
        assert number <= 2 * rounds + 5, "most runs end before anything is killed"
        what, after = chance.choice(kinds), chance.uniform(0, 0.8 * clean.seconds)
        moment = f"seed {seed}, round {number}: {what} killed after {after:.2f} s"
        try:
            found = await one_round(stage, f"round-{number}", what, after)
            told = zip(stage.servers, found.looks, found.journals, found.units, strict=True)
            for server, look, journal, units in told:
                assert look == wanted, f"{server.name} is not as after a clean run:\n{look}"
                assert applied(journal) == steps, f"{server.name} did other steps:\n{journal}"
                assert units == "1", f"{server.name} started {units} units"
        except AssertionError as error:
            raise AssertionError(f"{moment}: {error}") from error
        hit += found.meanwhile  # what comes after the end of a run proves little
        when = "while it ran" if found.meanwhile else "after its end"
        print(f"{moment}, {when}: as it should be, after {found.seconds:.1f} s", flush=True)


@pytest.mark.soak
async def test_killed_at_random_moments_each_host_ends_as_after_a_clean_run(stage: Stage) -> None:
    rounds = int(os.environ.get("FLEET_SOAK_ROUNDS") or 20)
    await trial(stage, rounds, ("worker", "server", "both"))


async def test_a_killed_temporal_server_costs_a_fleet_nothing(stage: Stage) -> None:
    # Without a worker's 30 s of silence: short enough for always.
    await trial(stage, 1, ("server",))
