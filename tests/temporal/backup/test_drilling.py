"""DrillRestore on real servers: what is proved is so, what is not is told, and nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from lab.testing import eventually
from temporal.activities.backup.listing import listing
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.testing import Environment
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import VARIABLES, says
from tests.temporal.backup.trying import Trial

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
RELEASES = pytest.mark.parametrize("release", ["bookworm", "trixie"])
FILES = """
rm -rf /srv/shop; mkdir -p /srv/shop/up/sub; cd /srv/shop/up
for n in 1 2 3; do head -c 300000 /dev/urandom >f$n; done; ln -s f1 link; echo odd >'sub/a b'
"""
DATABASES = """
cd /; runuser -u postgres -- psql -qAt -c 'DROP DATABASE IF EXISTS drill' -c 'CREATE DATABASE drill' 2>&1
runuser -u postgres -- psql -q drill -c 'CREATE TABLE t AS SELECT generate_series(1, 9) AS n'
rm -f /srv/notes.db; sqlite3 /srv/notes.db 'CREATE TABLE t (n); INSERT INTO t VALUES (1)'
redis-cli set k v >/dev/null
"""
FLIPS = r"""
systemd-run -q --unit=flips sh -c 'while :; do
  for f in /var/tmp/temporal-ops-drill-*/x/srv/shop/up/f2; do
    [ ! -s "$f" ] || echo a | dd of="$f" bs=1 seek=7 conv=notrunc,nocreat status=none
  done
done'
"""
# What was changed in the last two seconds might have been changed while it was backed up.
SETTLED = "sleep 3\n"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def notes(trial: Trial) -> list[dict[str, str]]:
    """The proofs that stand in the repository, oldest first."""
    found = listing(trial.restic("snapshots --json"), trial.plan.name)
    return [each.tags for each in found.noted("proof")]


@RELEASES
async def test_files_and_databases_are_proved_whatever_became_of_the_live_ones(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    server = backup_server(release)
    says(server, FILES + DATABASES)
    sources: dict[str, Any] = {
        "files": {"files": "/srv/shop/up"},
        "orders": {"postgresql": "drill"},
    }
    if release == "trixie":
        sources |= {"notes": {"sqlite": "/srv/notes.db"}, "sessions": {"redis": 6379}}
    trial = Trial.of(env, server, "drill", sources, drill={"sources": len(sources) // 2})
    ids = await trial.back_up()
    trial.says(
        "cd /; runuser -u postgres -- psql -q drill -c 'UPDATE t SET n = 77 WHERE n = 7';"
        " echo x >>/srv/shop/up/f1; sqlite3 /srv/notes.db 'DELETE FROM t'; redis-cli set k w"
    )
    before = trial.says("pgrep -c postgres; ls /var/tmp")
    # Those come first that had no drill yet, then those that had it longest ago.
    found = await trial.drilled()
    assert list(found) == list(sources)[: len(sources) // 2]
    found |= await trial.drilled()
    assert list(found) == list(sources)
    for name, each in found.items():
        assert each.ending == "proved", each
        assert each.snapshot.startswith(ids[name]) and each.noted and each.proved and not each.wrong
        assert each.seconds > 0 and each.size > 0
    assert [each["source"] for each in notes(trial)] == list(sources)
    orders = notes(trial)[1]
    assert (orders["result"], orders["of"]) == ("proved", found["orders"].snapshot)
    assert (float(orders["took"]), orders["unproven"]) == (found["orders"].seconds, "0")
    assert trial.says("pgrep -c postgres; ls /var/tmp") == before
    trial.nothing_is_left()


@RELEASES
async def test_a_damaged_pack_is_found_and_what_it_hits_is_named(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    server = backup_server(release)
    says(server, FILES + SETTLED)
    trial = Trial.of(env, server, "damage", {"files": {"files": "/srv/shop/up"}})
    [id] = (await trial.back_up()).values()
    trial.damage("f")
    found = (await trial.drilled(fails=True))["files"]
    assert found.ending == "wrong" and found.snapshot.startswith(id) and found.proved
    assert f"snapshot {id}" in found.reason and "/srv/shop/up/f" in found.reason
    assert any(each.startswith("not restored: /srv/shop/up/f") for each in found.differences)
    assert [each["result"] for each in notes(trial)] == ["wrong"]
    trial.nothing_is_left()


async def test_one_byte_that_is_changed_in_the_restored_copy_is_found(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, FILES + SETTLED)
    trial = Trial.of(env, server, "byte", {"files": {"files": "/srv/shop/up"}})
    await trial.back_up()
    # As soon as the file is there two bytes of it are others, at the same size.
    trial.says(FLIPS)
    try:
        found = (await trial.drilled(fails=True))["files"]
    finally:
        trial.says("systemctl stop flips")
    assert (found.ending, found.wrong) == ("wrong", 1), found
    assert found.differences[0].startswith("/srv/shop/up/f2: content ")
    assert [each["result"] for each in notes(trial)] == ["wrong"]
    trial.nothing_is_left()


async def test_a_killed_drill_is_done_again_and_what_it_left_is_removed(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server("trixie")
    says(server, "rm -rf /srv/big; mkdir /srv/big; head -c 6000000 /dev/urandom >/srv/big/f")
    trial = Trial.of(env, server, "killed", {"files": {"files": "/srv/big"}}, download_limit=1500)
    await trial.back_up()
    scratch = "find /var/tmp/temporal-ops-drill-*/x/srv -name 'f*' 2>/dev/null | head -n 1"

    # Another one that is alive, and what belongs to somebody else.
    trial.says(
        "cd /var/tmp; for n in AliveAlive Somebodys0 Forgotten1; do mkdir temporal-ops-drill-$n; done;"
        " systemd-run -q --unit=alive flock /var/tmp/temporal-ops-drill-AliveAlive/alive sleep 600;"
        " chown nobody temporal-ops-drill-Somebodys0"
    )
    running = asyncio.create_task(trial.drilled())
    await asyncio.to_thread(eventually, lambda: trial.says(scratch) != "", "it restores")
    killed = trial.says(scratch)
    trial.says("systemctl kill -s KILL 'converge-*'")
    found = (await running)["files"]
    assert found.ending == "proved" and found.noted
    kept = trial.says("ls -d /var/tmp/temporal-ops-drill-*").split()
    assert [each[-10:] for each in kept] == ["AliveAlive", "Somebodys0"] and killed not in kept
    trial.says("systemctl stop alive; rm -rf /var/tmp/temporal-ops-drill-*")
    trial.nothing_is_left()

    # And one that is cancelled ends at once.
    run = await env.start("DrillRestore", trial.plan)
    await asyncio.to_thread(eventually, lambda: trial.says(scratch) != "", "it restores")
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(run.result(), 60)
    trial.nothing_is_left()
    assert len(notes(trial)) == 1, "it proved nothing, and failed at nothing"


PLACES = {"files": "/srv/shop/up", "few": "/srv/shop/up/sub", "never": "/srv/never"}


def without(plan: BackupSpec, *names: str) -> BackupSpec:
    """The same without these sources."""
    left = {name: each for name, each in plan.sources.items() if name not in names}
    return plan.model_copy(update={"sources": left})


async def test_what_cannot_be_tried_is_told_and_keeps_no_other_from_it(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, FILES + "mkdir -p /srv/small; mount -t tmpfs -o size=300k none /srv/small\n")
    sources = {name: {"files": path} for name, path in PLACES.items()}
    try:
        drill = {"scratch": "/srv/small", "sources": 0}
        trial = Trial.of(env, server, "tried", sources, drill=drill)
        whole = trial.plan
        trial.plan = without(whole, "never")
        await trial.back_up()
        trial.plan = whole
        found = await trial.drilled(fails=True)
    finally:
        says(server, "umount /srv/small")
    assert found["files"].ending == "failed"
    assert "not enough room: /srv/small has " in found["files"].because
    assert found["few"].ending == "proved" and found["few"].proved == 2
    assert "there is no snapshot of it" in found["never"].because
    results = {each["source"]: each["result"] for each in notes(trial)}
    assert results == {"files": "failed", "few": "proved"}
    inside = whole.drill.model_copy(update={"scratch": PLACES["few"]})
    trial.plan = without(whole, "files", "never").model_copy(update={"drill": inside})
    refused = (await trial.drilled(fails=True))["few"]
    assert "lies in /srv/shop/up/sub, which is live" in refused.because
    assert trial.says("ls /srv/shop/up/sub") == "a b"
    trial.nothing_is_left()


async def test_without_a_manifest_nothing_is_proved(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, FILES)
    trial = Trial.of(env, server, "bare", {"files": {"files": "/srv/shop/up"}}, manifest=False)
    await trial.back_up()
    found = (await trial.drilled())["files"]
    assert found.ending == "unproven" and "without a manifest" in found.because
    assert [each["result"] for each in notes(trial)] == ["failed"]
    restored = await trial.restored("files", to="/srv/bare.new")
    assert "without a manifest" in restored.note
    trial.says("rm -rf /srv/bare.new")
