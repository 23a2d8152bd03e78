"""MaintainRepository on real servers: what goes, what stays whatever the rules say, what is damaged."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from temporal.runs.outcomes import results
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.maintaining import MaintainChoice, Maintained
from temporal.testing import Environment
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import VARIABLES, local, restic, says, spec, stored
from tests.temporal.backup.planting import Planted
from tests.temporal.backup.stores import Stores

pytestmark = [pytest.mark.lab]
aio = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("release", ["bookworm", "trixie"])
DAY = timedelta(days=1)
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def plan(planted: Planted, steps: str, keep: Any = None, **more: Any) -> BackupSpec:
    return spec(
        [planted.server],
        local(planted.url, create=False, wait=more.pop("wait", 5)),
        {"up": {"files": planted.data}, "db": {"files": planted.data}},
        keep=keep,
        maintain={"steps": steps.split(), **more},
    )


async def done(
    env: Environment, wanted: BackupSpec
) -> tuple[MaintainChoice, Maintained | None, str]:
    """What was chosen, what was done, and how the run ended."""
    run = await env.start("MaintainRepository", wanted)
    try:
        said = (await run.result()).render()
    except WorkflowFailureError as error:
        said = f"FAILED {error.cause}"
    [choice] = [each async for each in results(env.ops, run.id, "choose_maintenance")]
    did = [each async for each in results(env.ops, run.id, "maintain_on_host")]
    return choice, did[0] if did else None, said


def died(planted: Planted, process: int) -> str:
    """sh that writes down what a restic of ours leaves that was killed."""
    folder = "/var/lib/converge/backup/open"
    return f"mkdir -p {folder}; echo {process} >{folder}/{key_of(planted)}.killed"


def key_of(planted: Planted) -> str:
    """What a host calls this repository in the names of its own files."""
    return hashlib.sha256(planted.url.encode()).hexdigest()[:16]


@aio
@both
async def test_just_what_was_shown_goes_and_a_proved_one_stays(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    planted = Planted(backup_server(release), "forget")
    host = planted.server.name
    up = [planted.snapshot(host, "up", DAY * n) for n in range(8, -1, -1)]
    db = [planted.snapshot(host, "db", DAY * n) for n in (3, 0)]
    others = [
        planted.snapshot(host, "old", DAY * 900),
        planted.snapshot("web9", "up", DAY * 900),
        planted.snapshot(host, "up", DAY * 900, name="another"),
    ]
    notes = [planted.proof(host, "up", DAY * 7, up[1], "proved")]
    notes += [planted.proof(host, "up", DAY * 6, up[2], "wrong")]
    planted.grow()
    before = set(planted.listed())
    choice, did, said = await done(env, plan(planted, "forget", {"last": 3}, dry_run=True))
    [group] = choice.groups
    assert group.name == f"{host}/up" and group.proved == up[1]
    assert [each.id for each in group.going] == [up[0], *up[2:6]]
    assert (choice.going, choice.kept, did) == (5, 6, None)
    assert [each.partition(" ")[0] for each in choice.undeclared] == [f"{host}/old", "web9/up"]
    assert set(planted.listed()) == before, "it was only looked at"
    choice, did, said = await done(env, plan(planted, "forget", {"last": 3}))
    assert did is not None and (did.forgotten, did.remain, did.problems) == (5, 0, ()), did
    assert set(planted.listed()) == before - {up[0], *up[2:6]} and "1 done" in said
    assert {planted.first, up[1], *up[6:], *db, *others, *notes} <= set(planted.listed())


@aio
@both
async def test_rules_that_would_keep_nothing_are_refused(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    planted = Planted(backup_server(release), "empty")
    for ago in (2, 1):
        planted.snapshot(planted.server.name, "up", DAY * ago)
        planted.snapshot(planted.server.name, "db", DAY * ago, "monthly")
    planted.grow()
    before = set(planted.listed())
    choice, _, said = await done(env, plan(planted, "forget", {"tags": ["monthly"]}))
    assert f"no snapshot of {planted.server.name}/up would stay" in choice.refused
    assert said.startswith("FAILED") and choice.refused in said
    assert set(planted.listed()) == before and choice.ids == ()


@aio
async def test_a_snapshot_from_the_future_makes_nobody_forget_the_real_ones(
    env: Environment, backup_server: BackupServer
) -> None:
    planted = Planted(backup_server(), "future")
    host = planted.server.name
    ahead = planted.snapshot(host, "up", -DAY * 400)
    real = [planted.snapshot(host, "up", DAY * n) for n in (3, 2, 1)]
    db = [planted.snapshot(host, "db", DAY * n) for n in (30, 2, 1)]
    planted.grow()
    choice, _, said = await done(env, plan(planted, "forget", {"last": 2}))
    [left] = choice.left
    assert left.source == "up" and ahead[:8] in left.left and "399d23h ahead" in left.left
    assert "1 incomplete" in said and ahead[:8] in said
    assert {ahead, *real} <= set(planted.listed())
    assert db[0] not in planted.listed(), "another source is not held up by it"


@aio
@both
async def test_pruning_says_what_it_freed_and_how_big_the_repository_is(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    planted = Planted(backup_server(release), "prune")
    says(planted.server, f"rm {planted.data}/1 {planted.data}/2")
    planted.back_up("second")
    restic(planted.server, planted.url, f"forget -q {planted.first}")
    before = sum(planted.packs().values())
    _, did, _ = await done(env, plan(planted, "prune"))
    left = sum(planted.packs().values())
    assert did is not None and did.freed is not None and did.size is not None, did
    assert did.freed > 2_000_000 and did.freed == pytest.approx(before - left, rel=0.02)
    tags = [each.get("tags") or [] for each in planted.listed().values()]
    [note] = [each for each in tags if "note:prune" in each]
    assert f"size:{did.size}" in note and did.size == pytest.approx(left, rel=0.02)


@aio
async def test_the_content_is_checked_in_turn(
    env: Environment, backup_server: BackupServer
) -> None:
    planted = Planted(backup_server(), "turn")
    planted.note(planted.server.name, DAY * 3, "note:check", "subset:2/3", "result:ok")
    planted.note(planted.server.name, DAY * 2, "note:check", "subset:1/3", "result:ok")
    planted.grow()
    for part in ("3/3", "2/3"):
        choice, did, _ = await done(env, plan(planted, "check", subsets=3))
        assert choice.checks == (part,) and did is not None
        [check] = did.checks
        assert (check.part, check.result, check.noted) == (part, "ok", True), check
    choice, did, _ = await done(env, plan(planted, "check", subsets=0))
    assert did is not None and did.checks[0].part == "structure"


DAMAGES = {
    "bookworm": [("data", "flip"), ("data", "header"), ("tree", "flip")],
    "trixie": [("data", "flip"), ("data", "header"), ("data", "cut"), ("tree", "flip")],
}


@aio
@both
async def test_a_damaged_pack_is_named_with_the_snapshots_that_it_hits(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    planted = Planted(backup_server(release), "damage")
    server, before = planted.server, planted.packs()
    # So that there is something that only the second one needs.
    says(server, f"head -c 1500000 /dev/urandom >{planted.data}/2")
    second = planted.back_up("second")
    tree, data = sorted(planted.packs().keys() - before.keys(), key=planted.packs().__getitem__)
    says(server, f"rm -rf {planted.url}.good; cp -a {planted.url} {planted.url}.good")
    for kind, how in DAMAGES[release]:
        pack = {"tree": tree, "data": data}[kind]
        planted.damage(pack, how)
        _, did, said = await done(env, plan(planted, "check", subsets=1))
        assert did is not None
        [check] = did.checks
        assert (check.result, check.packs) == ("damaged", (pack,)), (kind, how, check)
        assert (check.hits, [each[:8] for each in check.hit]) == (1, [second[:8]]), (kind, how)
        assert said.startswith("FAILED") and pack[:8] in said and second[:8] in said
        [note] = [each for each in planted.listed().values() if "note:check" in each["tags"]]
        assert {f"hit:{second[:8]}", f"pack:{pack[:8]}", "hits:1"} <= set(note["tags"])
        says(server, f"rm -rf {planted.url}; cp -a {planted.url}.good {planted.url}")
    planted.damage(data, "flip")
    if release == "bookworm":
        planted.lock("web7", 4711, timedelta(minutes=2))
        planted.grow()
    _, did, _ = await done(env, plan(planted, "check", subsets=1, wait=1))
    assert did is not None and did.checks[0].result == "damaged"
    unsure = "not confirmed under its lock" in did.checks[0].because
    assert unsure == (release == "bookworm"), "somebody else's lock hides nothing"
    says(server, f"rm -f {planted.url}/locks/*")
    says(server, f"cp -a {planted.url}.good/data/. {planted.url}/data/")
    _, did, said = await done(env, plan(planted, "check", subsets=1))
    assert did is not None and did.checks[0].result == "ok" and "1 done" in said


@aio
async def test_a_lock_of_our_own_dead_is_removed_and_nobody_elses(
    env: Environment, backup_server: BackupServer
) -> None:
    planted = Planted(backup_server(), "locks")
    server = planted.server
    old = planted.snapshot(server.name, "up", DAY * 2)
    planted.snapshot(server.name, "up", DAY)
    planted.grow()
    wanted = plan(planted, "forget", {"last": 1}, wait=1)
    dead = int(says(server, "sh -c 'echo $$'"))
    young = planted.lock("web7", 4711, timedelta(minutes=2))
    planted.grow()
    _, did, said = await done(env, wanted)
    assert did is not None and did.forgotten == 0 and old in planted.listed()
    assert f"lock {young[:8]} of web7 (process 4711, root), 2m" in said
    assert "restic is at work there" in said
    says(server, f"rm {planted.url}/locks/*")
    stale = planted.lock("web7", 4711, timedelta(minutes=47))
    planted.grow()
    _, did, said = await done(env, wanted)
    assert did is not None and did.forgotten == 0 and planted.locks() == [stale]
    assert "47m" in said and "See on web7 that no restic runs" in said and "restic unlock" in said
    says(server, f"rm {planted.url}/locks/*")
    # Ours, of a restic that was killed: it is known by what is written down before it begins.
    says(server, died(planted, dead))
    planted.lock(says(server, "uname -n"), dead, timedelta(minutes=2))
    planted.grow()
    _, did, said = await done(env, wanted)
    assert did is not None and (did.forgotten, did.unlocked) == (1, 1), (did, said)
    assert planted.locks() == []


# Whoever unlocks begins a backup first, as by chance somebody may, and waits until that has its lock.
RACE = r"""
cat >/usr/local/sbin/restic <<'END'
#!/bin/sh
case " $* " in *" unlock "*)
  systemd-run -q --unit=racing -E RESTIC_REPOSITORY="$RESTIC_REPOSITORY" \
    -E RESTIC_PASSWORD="$RESTIC_PASSWORD" -E HOME=/root \
    sh -c 'sleep 600 | /usr/bin/restic -q backup --stdin'
  until [ "$(ls "$RESTIC_REPOSITORY/locks" | wc -l)" = 2 ]; do sleep 0.1; done ;;
esac
exec /usr/bin/restic "$@"
END
chmod +x /usr/local/sbin/restic
"""


@aio
async def test_unlocking_takes_no_lock_of_one_that_begins_just_then(
    env: Environment, backup_server: BackupServer
) -> None:
    planted = Planted(backup_server(), "race")
    server = planted.server
    dead = int(says(server, "sh -c 'echo $$'"))
    says(server, died(planted, dead))
    left = planted.lock(says(server, "uname -n"), dead, timedelta(minutes=2))
    planted.grow()
    says(server, RACE)
    try:
        _, did, _ = await done(env, plan(planted, "prune", wait=1))
        locks = planted.locks()
    finally:
        says(server, "rm -f /usr/local/sbin/restic; systemctl stop racing", fails=True)
    assert did is not None and did.unlocked == 1, did
    assert len(locks) == 1 and locks != [left]
    assert did.freed is None and did.problems, "it did not prune beside it"


@aio
async def test_of_two_at_once_one_waits_or_says_who_is_at_it(
    env: Environment, backup_server: BackupServer
) -> None:
    planted = Planted(backup_server(), "twice")
    for n in range(6):
        planted.snapshot(planted.server.name, "up", DAY * n)
    planted.grow()
    wanted = plan(planted, "forget prune check", {"last": 1}, subsets=2, wait=60)
    ends = await asyncio.gather(*(done(env, wanted) for _ in range(3)))
    did = [each for _, each, _ in ends if each is not None]
    assert len(did) == 3 and sum(each.forgotten > 0 for each in did) >= 1
    for each in did:
        assert not each.because or "another maintenance of the repository goes on" in each.because
        assert each.problems == (), each
    assert planted.locks() == []
    up = [each for each in planted.listed().values() if "source:up" in (each.get("tags") or [])]
    assert len(up) == 1
    # One that takes longer than anybody waits, as far as the host can tell.
    lock = f"/var/lib/converge/lock.maintain.{key_of(planted)}"
    hold = f"flock {lock} sh -c 'echo ann >{lock}; : >/run/held; exec sleep 300'"
    says(planted.server, f'systemd-run -q --unit=held -- sh -c "{hold}"')
    says(planted.server, "until [ -e /run/held ]; do sleep 0.1; done")
    try:
        _, did_not, said = await done(env, plan(planted, "check", subsets=2))
    finally:
        says(planted.server, "systemctl stop held; rm -f /run/held")
    assert did_not is not None and did_not.checks == () and said.startswith("FAILED")
    assert "another maintenance of the repository goes on: ann" in said


@aio
async def test_a_shared_repository_is_maintained_by_the_first_that_answers_for_all(
    env: Environment,
    backup_server: BackupServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers = [backup_server("bookworm"), backup_server("trixie")]
    for server in servers:
        says(server, "rm -rf /srv/one; mkdir -p /srv/one; hostname >/srv/one/x")
    with Stores(tmp_path, servers[0]) as stores:
        repository = stored(stores.s3(), "shared", monkeypatch)
        more = {"keep": {"last": 1}, "maintain": {"steps": ["forget", "prune"]}}
        wanted = spec([GONE, *servers], repository, {"one": {"files": "/srv/one"}}, **more)
        made = spec(servers, repository, {"one": {"files": "/srv/one"}}, **more)
        await env.run("BackUp", made)
        await env.run("BackUp", made)
        run = await env.start("MaintainRepository", wanted)
        report = await run.result()
        [choice] = [each async for each in results(env.ops, run.id, "choose_maintenance")]
        assert (choice.host, choice.going, choice.kept) == (servers[0].name, 2, 2)
        assert {group.host for group in choice.groups} == {each.name for each in servers}
        assert report.render().startswith("1 host: 1 done")
