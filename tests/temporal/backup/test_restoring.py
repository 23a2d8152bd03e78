"""RestoreBackup on real servers: what comes back is what was backed up, and nothing else is touched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from converge.shell import quote
from lab.testing import eventually
from temporal.testing import Environment
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import VARIABLES, place, says, spec, stored
from tests.temporal.backup.stores import Stores
from tests.temporal.backup.trying import LEFT, Trial

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]
RELEASES = pytest.mark.parametrize("release", ["bookworm", "trixie"])
FILES = r"""
rm -rf /srv/shop /srv/other /var/restore /srv/new /srv/part /srv/kept
mkdir -p /srv/shop/up/sub /srv/other; cd /srv/shop/up
for n in 1 2 3; do head -c 300000 /dev/urandom >f$n; done
ln -s f1 link; ln f1 hard; chown 1234:4321 f2; chmod 4750 f3; echo odd >'sub/a b*[1]'; echo no >sub/other
chown daemon:games sub; chmod 2750 sub; touch -d 2001-02-03 f1 sub; echo old >/srv/other/file
"""
# What was changed in the last two seconds might have been changed while it was backed up.
SETTLED = "sleep 3\n"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def look(trial: Trial, folder: str) -> str:
    """All of a folder, with a hash of each file."""
    found = "-printf '%P: %y %m %U %G %T@ %n %l\\n'"
    return trial.says(
        f"cd {quote(folder)} && {{ find . {found}; find . -type f -exec sha256sum {{}} +; }} | sort"
    )


@RELEASES
async def test_a_new_place_gets_what_was_backed_up_then(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    server = backup_server(release)
    says(server, FILES)
    sources = {"files": {"files": ["/srv/shop/up", "/srv/other/file"], "tags": ["nightly"]}}
    trial = Trial.of(env, server, "fresh", sources)
    first = await trial.back_up()
    was = look(trial, "/srv/shop/up")
    between = datetime.now(UTC).isoformat()
    trial.says("echo new >/srv/other/file; rm /srv/shop/up/f2")
    second = await trial.back_up()

    planned = await trial.restored("files", dry_run=True)
    assert planned.ending == "planned" and planned.snapshot.startswith(second["files"])
    [new] = planned.to
    assert new.startswith("/var/restore/fresh-files-20") and planned.size >= 600_000
    assert trial.says("ls -d /var/restore || :") == "", "nothing is written"

    newest = await trial.restored("files", tags=["nightly"])
    assert newest.to == (new,) and newest.wrong == newest.unproven == 0 and newest.proved == 9
    assert look(trial, f"{new}/srv/shop/up") == look(trial, "/srv/shop/up")
    assert trial.says(f"cat {new}/srv/other/file; ls {new}; stat -c %a {new}") == "new\nsrv\n700"

    old = await trial.restored("files", at=between, to="/srv/new/here")
    assert old.snapshot.startswith(first["files"]) and old.to == ("/srv/new/here",)
    assert look(trial, "/srv/new/here/srv/shop/up") == was
    assert trial.says("cat /srv/new/here/srv/other/file") == "old"
    by_id = await trial.restored(
        "files", at=first["files"], to="/srv/part", paths="/srv/shop/up/sub/a b*[1]"
    )
    assert (by_id.proved, by_id.files) == (1, 1)
    assert trial.says("find /srv/part -type f") == "/srv/part/srv/shop/up/sub/a b*[1]"
    trial.nothing_is_left()


async def test_a_place_that_is_not_free_and_a_snapshot_that_is_not_there_are_refused(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, FILES)
    trial = Trial.of(env, server, "refused", {"files": {"files": "/srv/shop/up"}})
    made = await trial.back_up()
    says(server, "mkdir -p /srv/new; echo mine >/srv/new/mine")
    why, result = await trial.refused("files", to="/srv/new")
    assert "/srv/new is not empty" in why and result is not None and result.proved == 0
    assert trial.says("ls -A /srv/new") == "mine"
    why, _ = await trial.refused("files", paths="/srv/shop/up/nothing")
    assert "the snapshot holds no /srv/shop/up/nothing" in why
    trial.says("rm -rf /srv/new; ln -s /srv/shop /srv/new")
    why, _ = await trial.refused("files", to="/srv/new/up/x")
    assert "/srv/shop/up/x lies in /srv/shop/up, which is live" in why
    trial.says("mkdir -p /srv/tiny; mount -t tmpfs -o size=200k none /srv/tiny")
    try:
        why, _ = await trial.refused("files", to="/srv/tiny/x")
    finally:
        trial.says("umount /srv/tiny")
    assert "there is not enough room: /srv/tiny/x has " in why
    why, _ = await trial.refused("files", at="2001-01-01")
    assert "there are 1, from 20" in why and made["files"] in why


async def test_over_what_is_live_it_is_swapped_and_the_old_is_kept(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(
        server,
        FILES + "rm -rf /srv/vol; mkdir /srv/vol; mount -t tmpfs -o size=20m none /srv/vol\n",
    )
    try:
        says(
            server,
            "cd /srv/vol; echo deep >deep; chmod 750 .; mkdir .hidden; echo x >.hidden/x",
        )
        sources = {"files": {"files": ["/srv/shop/up", "/srv/other/file", "/srv/vol"]}}
        trial = Trial.of(env, server, "swap", sources)
        await trial.back_up()
        was, hidden = look(trial, "/srv/shop/up"), look(trial, "/srv/vol/.hidden")
        trial.says(
            "rm /srv/shop/up/f1; rm -rf /srv/other; echo bad >/srv/vol/deep; touch /srv/vol/more"
        )
        sure = f"{server.name}/files"
        planned = await trial.restored("files", over_live=True, sure=sure, dry_run=True)
        assert sorted(planned.to) == ["/srv/other/file", "/srv/shop/up", "/srv/vol"]
        assert trial.says("ls /srv/shop; cat /srv/vol/deep") == "up\nbad"
        done = await trial.restored("files", over_live=True, sure=sure)
        assert done.ending == "restored" and done.proved == 14 and not done.wrong
        assert look(trial, "/srv/shop/up") == was and trial.says("cat /srv/other/file") == "old"
        up, vol = done.kept_aside
        assert up.startswith("/srv/shop/up.before-20") and vol.startswith("/srv/vol/.before-20")
        assert trial.says(f"ls {up}") == "f2\nf3\nhard\nlink\nsub"
        assert trial.says(f"cat {vol}/deep; ls {vol}; rm -rf {vol}") == "bad\ndeep\nmore"
        assert look(trial, "/srv/vol/.hidden") == hidden
        assert trial.says("cat /srv/vol/deep; stat -c %a /srv/vol") == "deep\n750"
        trial.nothing_is_left()
    finally:
        says(server, "umount /srv/vol")


async def test_what_is_damaged_in_the_repository_is_told_and_takes_no_place(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, FILES + SETTLED)
    trial = Trial.of(env, server, "hurt", {"files": {"files": "/srv/shop/up"}})
    await trial.back_up()
    trial.damage("f")
    live = look(trial, "/srv/shop/up")
    sure = f"{server.name}/files"
    why, result = await trial.refused("files", over_live=True, sure=sure)
    assert result is not None and result.ending == "wrong" and result.wrong and result.proved
    assert "restic could not restore" in why and "/srv/shop/up/f" in why
    assert "what was live is untouched" in why and look(trial, "/srv/shop/up") == live
    kept = trial.says("ls -d /srv/shop/up.restored-*")
    assert kept in why and trial.says(f"ls {kept}/sub") == "a b*[1]\nother"
    why, result = await trial.refused("files", to="/srv/kept")
    assert result is not None and result.to == ("/srv/kept",) and result.wrong
    assert any("/srv/shop/up/f" in each for each in result.differences)
    assert trial.says("ls /srv/kept/srv/shop/up/sub") == "a b*[1]\nother", "the rest is there"
    trial.nothing_is_left()


async def test_databases_get_a_new_name_and_then_the_old_one(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server("trixie")
    says(
        server,
        "rm -rf '/srv/my notes.db'* /var/restore; sqlite3 '/srv/my notes.db'"
        " 'CREATE TABLE t (n); INSERT INTO t VALUES (1)'; cd /; runuser -u postgres -- psql -qAt"
        " -c 'DROP DATABASE IF EXISTS back' -c 'CREATE DATABASE back' 2>&1;"
        " runuser -u postgres -- psql -q back -c 'CREATE TABLE t AS SELECT generate_series(1, 9) AS n'",
    )
    sources = {"orders": {"postgresql": "back"}, "notes": {"sqlite": "/srv/my notes.db"}}
    trial = Trial.of(env, server, "base", sources)
    await trial.back_up()

    def rows(database: str) -> str:
        return trial.says(
            f"cd /; runuser -u postgres -- psql -At {database} -c 'SELECT count(*) FROM t'"
        )

    trial.says("cd /; runuser -u postgres -- psql -q back -c 'DELETE FROM t'")
    beside = await trial.restored("orders")
    [name] = beside.to
    assert name.startswith("back_restored_20") and (rows(name), rows("back")) == ("9", "0")
    why, _ = await trial.refused("orders", to=name)
    assert f"the database {name} is there already" in why
    swapped = await trial.restored("orders", over_live=True, sure=f"{server.name}/orders")
    [old] = swapped.kept_aside
    assert swapped.to == ("back",) and (rows("back"), rows(old)) == ("9", "0")
    assert swapped.proved and old.startswith("back_before_")

    trial.says("sqlite3 '/srv/my notes.db' 'DELETE FROM t'")
    [file] = (await trial.restored("notes")).to
    assert (
        trial.says(f"sqlite3 '{file}' 'SELECT n FROM t'; stat -c %a \"$(dirname '{file}')\"")
        == "1\n700"
    )
    swapped = await trial.restored("notes", over_live=True, sure=f"{server.name}/notes")
    assert swapped.to == ("/srv/my notes.db",)
    assert trial.says("sqlite3 '/srv/my notes.db' 'SELECT n FROM t'") == "1"
    assert trial.says(f"sqlite3 '{swapped.kept_aside[0]}' 'SELECT count(*) FROM t'") == "0"
    trial.nothing_is_left()
    trial.says(f"cd /; for d in back {name} {old}; do runuser -u postgres -- dropdb $d; done")


async def test_a_host_that_is_gone_comes_back_on_another_with_a_later_restic(
    env: Environment, backup_server: BackupServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = backup_server("bookworm"), backup_server("trixie")
    says(old, FILES)
    says(new, "rm -rf /srv/shop")
    with Stores(tmp_path, old) as stores:
        repository = stored(stores.rest(), "moved", monkeypatch)
        plan = spec([old], repository, {"files": {"files": "/srv/shop/up"}}, name="moved")
        trial = Trial(env, old, plan, "")
        await trial.back_up()
        sure = f"{new.name}/files"
        moved = await trial.restored("files", onto=place(new), over_live=True, sure=sure)
    assert (moved.host, moved.to, moved.kept_aside) == (new.name, ("/srv/shop/up",), ())
    there = Trial(env, new, plan, "")
    assert look(there, "/srv/shop/up") == look(trial, "/srv/shop/up")


async def test_one_that_is_killed_on_the_host_begins_anew(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(
        server,
        "rm -rf /srv/big /srv/there; mkdir /srv/big; head -c 6000000 /dev/urandom >/srv/big/f",
    )
    trial = Trial.of(env, server, "cut", {"files": {"files": "/srv/big"}}, download_limit=1500)
    await trial.back_up()
    running = asyncio.create_task(trial.restored("files", to="/srv/there"))
    await asyncio.to_thread(
        eventually,
        lambda: trial.says("ls -d /srv/there/srv/big/f 2>/dev/null || :") != "",
        "it restores",
    )
    trial.says("systemctl kill -s KILL 'converge-*'")
    done: Any = await running
    assert done.ending == "restored" and done.proved == 2
    trial.says("cmp /srv/big/f /srv/there/srv/big/f")
    assert trial.says(f"ls {trial.url}/locks") == "" and trial.says(LEFT) == ""


@contextlib.contextmanager
def once(trial: Trial, when: str, then: str) -> Iterator[None]:
    """What moves files does `then` first, once, when `when` (a pattern of sh) fits "FROM TO".

    In it `cut` kills all that runs there for us, and `mv` moves them.
    """
    trial.says(
        f"""rm -rf /srv/cut; cat >/usr/local/sbin/mv <<'END'
#!/bin/sh
from= to=; for each; do from=$to to=$each; done
mv() {{ /usr/bin/mv "$@"; }}
cut() {{ systemctl kill -s KILL 'converge-*'; sleep 5; }}
case "$from $to" in {when}) if mkdir /srv/cut 2>/dev/null; then {then}
fi ;; esac
exec /usr/bin/mv "$@"
END
chmod +x /usr/local/sbin/mv"""
    )
    try:
        yield
    finally:
        trial.says("rm /usr/local/sbin/mv")
    assert trial.says("ls -d /srv/cut") == "/srv/cut", "it came to that"


async def test_a_swap_that_is_cut_half_way_is_brought_to_its_end(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, FILES)
    trial = Trial.of(env, server, "half", {"files": {"files": ["/srv/shop/up", "/srv/other/file"]}})
    await trial.back_up()
    was = look(trial, "/srv/shop/up")
    trial.says("rm /srv/shop/up/f1; echo bad >/srv/other/file")
    # The live folder has been renamed by then.
    with once(trial, "*' /srv/shop/up'", "cut"):
        done = await trial.restored("files", over_live=True, sure=f"{server.name}/files")
    assert done.proved == 10 and look(trial, "/srv/shop/up") == was
    kept = dict(each.split(".before-") for each in done.kept_aside)
    assert list(kept) == ["/srv/other/file", "/srv/shop/up"]
    assert trial.says("cat /srv/other/file /srv/other/file.before-*") == "old\nbad"
    assert trial.says("ls /srv/shop/up.before-*") == "f2\nf3\nhard\nlink\nsub"
    trial.nothing_is_left()


async def saved_shop(env: Environment, backup_server: BackupServer, name: str) -> tuple[Trial, str]:
    """A folder that is backed up, and what is in it."""
    server = backup_server()
    says(server, FILES)
    trial = Trial.of(env, server, name, {"files": {"files": "/srv/shop/up"}})
    await trial.back_up()
    return trial, look(trial, "/srv/shop/up")


async def test_a_swap_that_is_cut_and_has_lost_its_copy_is_no_success(
    env: Environment, backup_server: BackupServer
) -> None:
    trial, live = await saved_shop(env, backup_server, "lost")
    # As if the disk that it lies on were not mounted after a power cut.
    with once(trial, "*' /srv/shop/up'", "rm -rf /srv/shop/.temporal-ops-*; cut"):
        why, result = await trial.refused(
            "files", over_live=True, sure=f"{trial.server.name}/files"
        )
    assert "is no more there: is what it lies on not mounted?" in why
    assert result is not None and result.ending == "failed"
    [kept] = result.kept_aside
    assert look(trial, kept) == live and kept in why
    trial.nothing_is_left()


async def test_a_swap_that_fails_says_where_what_was_live_is(
    env: Environment, backup_server: BackupServer
) -> None:
    trial, live = await saved_shop(env, backup_server, "anew")
    with once(trial, "*' /srv/shop/up'", "mkdir -p /srv/shop/up/made-anew"):
        why, result = await trial.refused(
            "files", over_live=True, sure=f"{trial.server.name}/files"
        )
    assert result is not None
    [kept] = result.kept_aside
    assert kept in why and look(trial, kept) == live
    trial.says("rm -rf /srv/shop/.temporal-ops-restore-*")


async def test_what_comes_up_anew_in_a_mount_takes_the_place_of_nothing(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(server, "rm -rf /srv/vol; mkdir /srv/vol; mount -t tmpfs -o size=20m none /srv/vol")
    try:
        says(server, "echo saved >/srv/vol/app; mkdir /srv/vol/in")
        trial = Trial.of(env, server, "anew", {"files": {"files": "/srv/vol"}})
        await trial.back_up()
        trial.says("echo precious >/srv/vol/app; mount -t tmpfs -o size=1m none /srv/vol/in")
        sure = f"{server.name}/files"
        why, _ = await trial.refused("files", over_live=True, sure=sure)
        assert "/srv/vol/in is mounted in /srv/vol and cannot be put aside" in why
        assert trial.says("umount /srv/vol/in; cat /srv/vol/app") == "precious"
        # A service starts after the power cut, and makes what it misses.
        then = 'mv "$@"; : >/srv/vol/app; cut'
        with once(trial, "'/srv/vol/app /srv/vol/.before-'*", then):
            done = await trial.restored("files", over_live=True, sure=sure)
        [kept] = done.kept_aside
        assert (
            trial.says(f"cat /srv/vol/app {kept}/app; ls {kept}")
            == "saved\nprecious\napp\napp~\nin"
        )
        trial.nothing_is_left()
    finally:
        says(server, "umount /srv/vol/in 2>/dev/null; umount /srv/vol")


async def test_a_swap_of_a_database_is_not_left_half_done_by_a_cancel(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(
        server,
        "mariadb -e 'CREATE OR REPLACE DATABASE shelf; CREATE TABLE shelf.t (n INT PRIMARY KEY);"
        " INSERT INTO shelf.t VALUES (1), (2); CREATE TRIGGER shelf.keep BEFORE DELETE ON shelf.t"
        " FOR EACH ROW SET @gone = OLD.n'",
    )
    trial = Trial.of(env, server, "shelf", {"shop": {"mariadb": "shelf"}})
    await trial.back_up()
    trial.says(
        "mariadb shelf -e 'INSERT INTO t VALUES (3)'; systemd-run -q --unit=reader -- mariadb shelf"
        " -e 'BEGIN; SELECT * FROM t; SELECT SLEEP(600)'"
    )
    sure = f"{server.name}/shop"
    try:
        run = await env.start("RestoreBackup", trial.restore("shop", over_live=True, sure=sure))
        waits = "mariadb -e 'SHOW PROCESSLIST' | grep -c 'Waiting for table metadata lock' || :"
        await asyncio.to_thread(
            eventually, lambda: trial.says(waits) != "0", "it waits for a lock", 60
        )
        await run.cancel()
        asked = "ls /run/converge/*/ending 2>/dev/null || :"
        await asyncio.to_thread(
            eventually, lambda: trial.says(asked) != "", "it is asked to end", 90
        )
    finally:
        trial.says("systemctl stop reader")
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(run.result(), 120)
    count = "SELECT count(*) FROM t; SHOW TRIGGERS"
    live = trial.says(f"mariadb -N shelf -e '{count}'")
    [old] = trial.says("mariadb -N -e 'SHOW DATABASES' | grep shelf_before_").split()
    aside = trial.says(f"mariadb -N {old} -e '{count}'")
    assert live.startswith("2\nkeep\t") and aside.startswith("3\nkeep\t"), (live, aside)
    trial.says(f"mariadb -e 'DROP DATABASE shelf; DROP DATABASE {old}'")
