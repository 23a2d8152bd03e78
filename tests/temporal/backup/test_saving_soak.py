"""Something dies at a random moment of a backup, again and again: no run says that something is saved
which cannot be restored, and nothing is left that stops the next one, nor who needs it alone.

BACKUP_SOAK_SEED chooses the moments, BACKUP_SOAK_ROUNDS how many there are; a failure names its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError

from lab import Lab, Machine
from temporal import client, config
from temporal.runs.outcomes import results
from temporal.shared.specs.backup.backup import BackupSpec, HostBackup
from tests.temporal.automation.test_fleet_soak import Killable
from tests.temporal.backup.plans import PASSWORD, VARIABLES, local, says, spec, stored
from tests.temporal.backup.stores import Store, Stores
from tests.temporal.cli.support import Running, Shell

pytestmark = pytest.mark.lab
PATIENCE_S = 1500.0
"""restic may go on trying for a quarter of an hour where a network is gone."""
NEW = 60_000_000
"""Bytes that each round has to bring to the repository."""
FAULTS = ("worker", "server", "both", "restic", "unit", "power", "network", "full")


@dataclass
class Stage:
    """A server, a store, a Temporal server and a worker."""

    lab: Lab
    server: Machine
    store: Store
    temporal: Killable
    shell: Shell
    remote: BackupSpec
    on_disk: BackupSpec
    worker: Running | None = None

    def start_worker(self) -> None:
        self.worker = self.shell.start("worker", **_secrets())
        self.worker.says("serves")

    def kill_worker(self) -> None:
        assert self.worker is not None
        self.worker.process.send_signal(signal.SIGKILL)
        self.worker.process.wait()

    def change(self) -> None:
        """New data, as much as there was."""
        says(
            self.server,
            f"head -c {NEW} /dev/urandom >/srv/data/big; date +%s%N >/srv/data/stamp; sync",
        )

    def restic(self, wanted: BackupSpec, words: str) -> str:
        variables = f"RESTIC_PASSWORD='{PASSWORD}' RESTIC_CACHE_DIR=/var/cache/trial"
        if wanted is self.remote:
            variables += "".join(f" {k}={v}" for k, v in self.store.variables.items())
        url = wanted.repository.at(self.server.name)
        return says(self.server, f"{variables} restic -q -r {url} {words}")

    def fault(self, what: str) -> None:
        """Something dies, and is there again."""
        match what:
            case "worker" | "both":
                self.kill_worker()
                if what == "both":
                    self.temporal.kill()
                    self.temporal.start()
                self.start_worker()
            case "server":
                self.temporal.kill()
                self.temporal.start()
            case "restic":
                says(self.server, "pkill -KILL -x restic || :")
            case "unit":
                says(self.server, "systemctl kill -s KILL 'converge-*' || :")
            case "power":
                self.lab.kill(self.server)
                self.lab.power_on(self.server)
            case "network":
                self.lab.cut_network(self.server)
                time.sleep(8)
                self.lab.restore_network(self.server)

    async def start(self, id: str, wanted: BackupSpec) -> None:
        ops = await client.connect(config.load({"TEMPORAL_ADDRESS": self.temporal.address}))
        await ops.start("BackUp", wanted, id=id)

    async def ended(self, id: str) -> tuple[bool, str, list[HostBackup]]:
        """Whether it says that all is saved, what it says, and of each host what it said."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                there = await Client.connect(self.temporal.address)
                handle = there.get_workflow_handle(id)
                if (await handle.describe()).status != WorkflowExecutionStatus.RUNNING:
                    return await self._said(id, handle)
            except (RPCError, RuntimeError):
                pass  # it is just starting
            await asyncio.sleep(0.2)
        raise AssertionError(f"the run did not end within {PATIENCE_S:g} s")

    async def _said(self, id: str, handle: Any) -> tuple[bool, str, list[HostBackup]]:
        ops = await client.connect(config.load({"TEMPORAL_ADDRESS": self.temporal.address}))
        found = [each async for each in results(ops, id, "back_up_host")]
        try:
            report = await handle.result()
        except WorkflowFailureError as error:
            return False, str(error.cause), [each for each in found if isinstance(each, HostBackup)]
        done = report["state"]["counts"] == {"done": 1}
        return done, str(report), [each for each in found if isinstance(each, HostBackup)]


def _secrets() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith("TRIAL_")}


@pytest.fixture
def stage(backup_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    (server,) = backup_lab.add(1, disk_mib=2048)
    temporal = Killable(tmp_path)
    with Stores(tmp_path, server) as stores:
        store = stores.s3()
        sources = {"data": {"files": "/srv/data"}}
        remote = stored(store, "soak", monkeypatch, upload_limit=20_000)
        shell = Shell(
            tmp_path, {"TEMPORAL_ADDRESS": temporal.address, "TEMPORAL_HEARTBEAT_EVERY": "0.25"}
        )
        try:
            says(server, "mkdir -p /srv/data; echo kept >/srv/data/kept")
            temporal.start()
            here = Stage(
                *(backup_lab, server, store, temporal, shell),
                spec([server], remote, sources),
                spec([server], local("/srv/repo"), sources),
            )
            here.start_worker()
            yield here
        finally:
            shell.end()
            temporal.kill()
            backup_lab.down([server.name])


async def one_round(stage: Stage, id: str, what: str, after: float) -> str:
    """A backup in which something dies after so many seconds; how it ended, in a word."""
    wanted = stage.on_disk if what == "full" else stage.remote
    stage.change()
    if what == "full":
        stage.lab.fill_disk(stage.server, keep=random.Random(id).randrange(1, 40) * 1024 * 1024)
    try:
        await stage.start(id, wanted)
        await asyncio.sleep(after)
        await asyncio.to_thread(stage.fault, what)
        done, said, hosts = await stage.ended(id)
    finally:
        if what == "full":
            stage.lab.restore_disk(stage.server)
    if done:
        [source] = hosts[-1].sources
        stage.restic(wanted, f"restore {source.snapshot} --target /srv/restored")
        says(stage.server, "diff -r /srv/data /srv/restored/srv/data && rm -rf /srv/restored")
    else:
        assert "failed" in said or "unreachable" in said, said
    await stage.start(f"{id}-next", wanted)
    next_done, next_said, _ = await stage.ended(f"{id}-next")
    assert next_done, f"the next one did not go well: {next_said}"
    # Who needs it alone gets in, and old data goes, or the disk would fill by itself.
    stage.restic(wanted, "forget --keep-last 1 --prune")
    return "saved" if done else "failed, and said so"


async def trial(stage: Stage, rounds: int, kinds: tuple[str, ...]) -> None:
    seed = int(os.environ.get("BACKUP_SOAK_SEED") or secrets.randbelow(10**6))
    chance = random.Random(seed)
    look: Callable[[], float] = time.monotonic
    stage.change()
    begun = look()
    await stage.start("clean", stage.remote)
    done, said, _ = await stage.ended("clean")
    clean = look() - begun
    assert done, said
    print(f"seed {seed}: a clean run takes {clean:.1f} s")
    for number in range(1, rounds + 1):
        what = kinds[(number - 1) % len(kinds)]
        after = chance.uniform(0, 0.9 * clean)
        moment = f"seed {seed}, round {number}: {what} after {after:.2f} s"
        begun = look()
        try:
            how = await one_round(stage, f"round-{number}", what, after)
        except AssertionError as error:
            raise AssertionError(f"{moment}: {error}") from error
        print(f"{moment}: {how}; {look() - begun:.0f} s", flush=True)


@pytest.mark.soak
async def test_what_is_said_to_be_saved_can_be_restored_whatever_dies(stage: Stage) -> None:
    await trial(stage, int(os.environ.get("BACKUP_SOAK_ROUNDS") or 30), FAULTS)


async def test_a_killed_unit_and_a_full_disk(stage: Stage) -> None:
    # Without a worker's 30 s of silence: short enough for always.
    await trial(stage, 2, ("unit", "full"))
