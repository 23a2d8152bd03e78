"""SQLite: copies of one transaction, checked where they are, put in the place of what is live."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path

import pytest

from temporal.activities.backup.sqlite_sh import dump_script, load_script, prove_script
from temporal.shared.specs.backup.sources import SqliteSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.databases import Databases, lines

pytestmark = [pytest.mark.lab]

LIVE = "/srv/trial sqlite/it's 100%? #1.db"
SHOP = SqliteSource(sqlite=LIVE)
NEW = "/srv/trial sqlite/new.db"
_MADE = (Path(__file__).parent / "shop_sqlite.sql").read_text()
_QUOTED = '"/srv/trial sqlite/it\'s 100%? #1.db"'
_BEATS = (
    "yes 'BEGIN IMMEDIATE; INSERT INTO pulse VALUES (1); INSERT INTO beats VALUES (1); COMMIT;' |"
    f" sqlite3 -cmd '.timeout 10000' {_QUOTED}"
)


class Sqlite(Databases):
    """A server with a database file."""

    def sql(self, statements: str, path: str = LIVE) -> str:
        return self.says(f'sqlite3 -cmd ".timeout 10000" "{path}"', statements)

    def fresh(self, mode: str = "wal") -> None:
        self.says(
            f"rm -rf '/srv/trial sqlite'; mkdir '/srv/trial sqlite'; sqlite3 {_QUOTED};"
            f" chown daemon:games {_QUOTED}; chmod 640 {_QUOTED}",
            f"PRAGMA journal_mode = {mode};\n{_MADE}",
        )

    def files(self) -> list[str]:
        return self.says("ls -A '/srv/trial sqlite'").splitlines()


@pytest.fixture
def release() -> str:
    return "bookworm"


@pytest.fixture
def on(backup_server: BackupServer, release: str) -> Sqlite:
    made = Sqlite(backup_server(release))
    made.fresh()
    return made


both = pytest.mark.parametrize("release", ["bookworm", "trixie"])


@pytest.mark.parametrize(
    ("release", "mode"), [("bookworm", "wal"), ("bookworm", "delete"), ("trixie", "wal")]
)
def test_a_copy_holds_what_its_fingerprint_says_whatever_is_written_meanwhile(
    on: Sqlite, mode: str
) -> None:
    on.fresh(mode)
    with on.meanwhile(_BEATS):
        count = f"$(sqlite3 -cmd '.timeout 10000' {_QUOTED} 'SELECT count(*) FROM beats')"
        on.says(f"until [ {count} != 0 ]; do :; done")
        fingerprint = on.dump(dump_script(SHOP))
        rows = {line[1]: int(line[3]) for line in lines(fingerprint, "table")}
        on.says(f"until [ {count} -gt {rows['beats']} ]; do :; done")
    assert 0 < rows["beats"] == rows["pulse"]
    on.restore()
    assert on.prove(prove_script(SHOP)) == fingerprint
    assert on.left() == ""


@both
def test_a_fingerprint_names_all_that_there_is(on: Sqlite) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    rows = {line[1]: line[3] for line in lines(fingerprint, "table")}
    assert rows["odd 'name' \"quoted\" \\\\\\nnew line\\ttab"] == "2"
    assert (rows["orders"], rows["pairs"], rows["hidden"], rows["empty"]) == ("6", "2", "2", "0")
    assert rows["sqlite_sequence"] == "1" and rows["found_content"] == "1"
    assert lines(fingerprint, "database")[0][1:] == [
        "encoding UTF-8",
        "user_version 42",
        "application_id 0",
    ]
    named = {tuple(line[1:3]) for line in lines(fingerprint, "schema")}
    parts = {("view", "seen"), ("index", "by_item"), ("trigger", "noted"), ("table", "found")}
    assert parts <= named
    # 1 and 1.0 and '1' are not the same.
    seen = set()
    for value in ("1", "1.0", "'1'", "x'31'", "NULL"):
        on.sql(f"UPDATE hidden SET oid = {value}")
        tables = lines(on.dump(dump_script(SHOP)), "table")
        seen.update(line[5] for line in tables if line[1] == "hidden")
    assert len(seen) == 5


def test_one_changed_byte_in_the_restored_copy_is_found(on: Sqlite) -> None:
    on.sql("INSERT INTO beats VALUES ('a needle in it')")
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    copy = "/var/lib/trial/restored/dump/database.sqlite"
    on.says(f"LC_ALL=C sed -i 's/a needle in it/a noodle in it/' {copy}")
    found = on.prove(prove_script(SHOP))
    differ = set(found.splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[1] for line in differ} == {"beats"} and len(differ) == 2
    on.says(f"dd if=/dev/zero of={copy} bs=1 seek=4096 count=4000 conv=notrunc status=none")
    ran = on.run("prove_it", prove_script(SHOP))
    assert not ran.ok and ran.last.startswith(f"what was restored of {LIVE} is damaged: "), ran.said
    assert on.left() == ""


@both
def test_it_takes_the_place_of_the_live_one_which_is_kept(on: Sqlite) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    on.sql("DELETE FROM orders")
    # As after a crash: what was written last is beside the file, and in nobody's hands.
    last = "{ echo 'INSERT INTO beats VALUES (7);'; sleep 1; pkill -KILL -n sqlite3; }"
    on.says(f"{last} | sqlite3 {_QUOTED} || :")
    assert LIVE.rpartition("/")[2] + "-wal" in on.files()
    ran = on.run("load_it", load_script(SHOP, NEW, swap=True))
    assert ran.ok, ran.said
    live, kept = on.files()
    folder = "/srv/trial sqlite"
    assert ran.said == (
        f"{LIVE} is the restored one now; the one before it is kept as {folder}/{kept}\n"
    )
    assert f"{folder}/{live}" == LIVE
    assert on.sql("SELECT count(*) FROM orders") == "6"
    assert (
        on.sql("SELECT count(*) FROM orders; SELECT beat FROM beats", f"{folder}/{kept}") == "0\n7"
    )
    assert on.says(f"stat -c '%U:%G %a' {_QUOTED}") == "daemon:games 640"
    assert on.dump(dump_script(SHOP)) == fingerprint


def test_what_is_open_is_not_replaced_and_by_whom_is_said(on: Sqlite) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    with on.meanwhile(f"sleep 600 | sqlite3 {_QUOTED} -cmd 'SELECT count(*) FROM orders'"):
        on.says("until ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q 'trial sqlite'; do :; done")
        ran = on.run("load_it", load_script(SHOP, NEW, swap=True))
    assert not ran.ok
    assert ran.last.startswith(f"{LIVE} is open in sqlite3 (process ")
    assert ran.last.endswith(
        f", trial-meanwhile.service): stop that first; the restored one is {NEW}"
    )
    assert sorted(on.files())[-1] == "new.db"


def test_into_a_new_file_and_where_the_live_one_is_gone(on: Sqlite) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    assert on.run("load_it", load_script(SHOP, NEW, swap=False)).ok
    assert on.sql("SELECT count(*) FROM orders", NEW) == "6"
    assert on.says(f"stat -c '%U:%G %a' '{NEW}'") == "daemon:games 640"
    ran = on.run("load_it", load_script(SHOP, NEW, swap=False))
    assert ran.said == f"{NEW} is there already: choose another name\n"
    on.says(f"rm {_QUOTED}*")
    ran = on.run("load_it", load_script(SHOP, NEW + "2", swap=True))
    assert ran.said == f"{LIVE} is the restored one now; there was none\n"
    on.says("sed -i '/table.pairs/s/rows.2/rows\\t3/' /var/lib/trial/restored/proof/fingerprint")
    ran = on.run("load_it", load_script(SHOP, NEW + "3", swap=True))
    assert not ran.ok and "table\tpairs\trows\t3" in ran.said
    assert ran.last == f"what was restored is not what was backed up; {NEW}3 was not made"
    assert len(on.files()) == 2


@pytest.mark.parametrize(
    ("make", "break_it", "why"),
    [
        ("rm {}", ":", f"there is no SQLite database {LIVE}"),
        (": >{}", ":", f"{LIVE} is empty"),
        ("head -c 20000 /dev/urandom >{}", ":", "is no SQLite database, or an encrypted one"),
        (
            "dd if=/dev/urandom of={} bs=4096 seek=2 count=4 conv=notrunc status=none",
            ":",
            "damaged",
        ),
        (
            ":",
            "mount --bind /dev/null /usr/bin/sqlite3",
            "the host has no sqlite3: install sqlite3",
        ),
        (
            ":",
            "mount -t tmpfs -o size=32k tmpfs /var/lib/trial/saved/dump",
            f"copying {LIVE}: the disk is full (/var/lib/trial/saved/dump has ",
        ),
    ],
)
def test_what_fails_is_said_in_a_sentence(on: Sqlite, make: str, break_it: str, why: str) -> None:
    on.fresh("delete")
    on.says(make.replace("{}", _QUOTED))
    on.clear()
    on.says("mkdir -p /var/lib/trial/saved/dump")
    ran = on.run("dump_it", dump_script(SHOP), break_it)
    assert not ran.ok and why in ran.last, ran.said
    assert on.says("cat /var/lib/trial/saved/proof/fingerprint 2>/dev/null || :") == ""
    assert on.left() == ""


def test_a_lock_that_stays_is_told(on: Sqlite) -> None:
    on.fresh("delete")
    script = dump_script(SHOP).replace(".timeout 60000", ".timeout 300")
    lock = "{ echo 'BEGIN EXCLUSIVE;'; sleep 600; }"
    on.clear()
    with on.meanwhile(f"{lock} | sqlite3 {_QUOTED}"):
        on.says(f"while sqlite3 {_QUOTED} 'SELECT 1 FROM orders' >/dev/null 2>&1; do :; done")
        ran = on.run("dump_it", script)
    assert ran.last == f"copying {LIVE}: another process kept {LIVE} locked for 60 s"


def test_an_index_that_only_the_application_can_read_is_no_damage(
    on: Sqlite, tmp_path: Path
) -> None:
    file = tmp_path / "own.db"
    made = sqlite3.connect(file)
    made.create_collation("mine", lambda a, b: (a > b) - (a < b))
    made.create_function("twice", 1, lambda text: text * 2, deterministic=True)
    made.executescript(
        "CREATE TABLE named (a TEXT COLLATE mine); CREATE INDEX by_name ON named (a);"
        "CREATE TABLE doubled (a TEXT); CREATE INDEX by_double ON doubled (twice(a));"
        "CREATE TABLE plain (a TEXT); CREATE UNIQUE INDEX by_a ON plain (a);"
    )
    for table in ("named", "doubled", "plain"):
        made.executemany(f"INSERT INTO {table} VALUES (?)", [(f"a needle {n}",) for n in range(99)])
    made.commit()
    made.close()
    on.says(
        f"base64 -d >{_QUOTED}; rm -f {_QUOTED}-*", base64.b64encode(file.read_bytes()).decode()
    )
    fingerprint = on.dump(dump_script(SHOP))
    assert {line[1]: line[3] for line in lines(fingerprint, "table")}["named"] == "99"
    on.restore()
    assert on.prove(prove_script(SHOP)) == fingerprint
    # What is wrong elsewhere is found all the same: the row is not what its index has.
    broken = sqlite3.connect(file)
    [page] = broken.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'plain'").fetchone()
    [size] = broken.execute("PRAGMA page_size").fetchone()
    broken.close()
    data = bytearray(file.read_bytes())
    at = data.index(b"a needle 7", (page - 1) * size)
    data[at] = ord("o")
    on.says(f"base64 -d >{_QUOTED}", base64.b64encode(data).decode())
    on.clear()
    ran = on.run("dump_it", dump_script(SHOP))
    assert not ran.ok and "is damaged: " in ran.last and "by_a" in ran.last, ran.said
