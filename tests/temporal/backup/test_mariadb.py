"""MariaDB: dumps of one snapshot, proved in a scratch server, loaded beside what is live."""

from __future__ import annotations

from pathlib import Path

import pytest

from temporal.activities.backup.mariadb_sh import dump_script, load_script, prove_script
from temporal.shared.specs.backup.sources import MariadbSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.databases import Databases, lines

pytestmark = [pytest.mark.lab]

SHOP = MariadbSource(mariadb="shop")
_MADE = (Path(__file__).parent / "shop_mariadb.sql").read_text()
_WRITTEN = """
CREATE TABLE pulse (id integer AUTO_INCREMENT PRIMARY KEY, beat integer) ENGINE={engine};
CREATE TABLE beats (beat integer) ENGINE={engine};
"""
# As fast as it can, in transactions that touch three tables, and with a sequence.
_BEATS = (
    "yes 'START TRANSACTION; INSERT INTO pulse (beat) VALUES (1); INSERT INTO beats VALUES (1);"
    " UPDATE orders SET amount = amount + 1 WHERE id = 7; COMMIT; DO NEXTVAL(numbers);' | mariadb shop"
)
SECRET = "ge\\hei'm\"#$x"


class Mariadb(Databases):
    """A server on which databases of these tests are made."""

    def sql(self, statements: str, database: str = "mysql") -> str:
        return self.says(f"mariadb -N --default-character-set=utf8mb4 '{database}'", statements)

    def databases(self) -> list[str]:
        return self.sql("SHOW DATABASES LIKE 'shop%'").split()

    def gone(self) -> None:
        for each in self.databases():
            self.sql(f"DROP DATABASE `{each}`")
        self.sql("DROP USER IF EXISTS trial@localhost")

    def fresh(self) -> None:
        self.gone()
        self.sql("CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        self.sql(_MADE, "shop")


@pytest.fixture
def release() -> str:
    return "bookworm"


@pytest.fixture
def on(backup_server: BackupServer, release: str) -> Mariadb:
    made = Mariadb(backup_server(release))
    made.fresh()
    return made


both = pytest.mark.parametrize("release", ["bookworm", "trixie"])


@pytest.mark.parametrize(
    ("release", "engine"), [("bookworm", "InnoDB"), ("bookworm", "MyISAM"), ("trixie", "InnoDB")]
)
def test_a_dump_holds_what_its_fingerprint_says_whatever_is_written_meanwhile(
    on: Mariadb, engine: str
) -> None:
    on.sql(_WRITTEN.format(engine=engine), "shop")
    with on.meanwhile(_BEATS):
        on.says("until [ $(mariadb -Ne 'SELECT COUNT(*) FROM shop.beats') != 0 ]; do :; done")
        fingerprint = on.dump(dump_script(SHOP))
        rows = {line[1]: int(line[3]) for line in lines(fingerprint, "table")}
        more = f"[ $(mariadb -Ne 'SELECT COUNT(*) FROM shop.beats') -gt {rows['beats']} ]"
        on.says(f"until {more}; do :; done")
    assert rows["beats"] > 0 and rows["pulse"] - rows["beats"] in (
        0,
        1 if engine == "MyISAM" else 0,
    )
    before = on.live()
    on.restore()
    assert on.prove(prove_script(SHOP)) == fingerprint
    assert on.live() == before and on.left() == ""


@both
def test_a_fingerprint_names_all_that_there_is(on: Mariadb) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    rows = {line[1]: line[3] for line in lines(fingerprint, "table")}
    assert rows["odd 'name' \"quoted\" `tick` \\\\ back\\nnew line\\ttab ü:x"] == "7"
    assert (rows["orders"], rows["words"], rows["empty"]) == ("500", "5", "0")
    assert rows["versioned"] == "3", "with what it was before"
    assert lines(fingerprint, "sequence") == [["sequence", "numbers", "1005"]]
    assert lines(fingerprint, "database")[0][1:] == [
        "charset utf8mb4",
        "collation utf8mb4_general_ci",
    ]
    kinds = ("view", "procedure", "function", "event", "trigger", "rounded")
    assert [line[:2] for line in lines(fingerprint, *kinds)] == [
        ["event", "cleaning"],
        ["function", "twice"],
        ["procedure", "all_of"],
        ["rounded", "orders.rough"],
        ["trigger", "orders"],
        ["view", "cheap"],
        ["view", "cheaper"],
    ]
    assert ["constraint", "orders", "of_parent", "foreign key"] in lines(fingerprint, "constraint")
    # Of long rows without a key the end counts as well, and so does what a long value holds there.
    on.sql("UPDATE orders SET large = CONCAT(SUBSTR(large, 1, 39999), 'x') WHERE id = 1", "shop")
    differ = set(on.dump(dump_script(SHOP)).splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[1] for line in differ} == {"orders"} and len(differ) == 2


@both
def test_one_changed_byte_in_the_restored_dump_is_found(on: Mariadb) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    dump = "/var/lib/trial/restored/dump/database.sql"
    on.says(rf"LC_ALL=C sed -i 's/item.77.nline/item\t78\\nline/' {dump}")
    on.says(f"! cmp -s {dump} /var/lib/trial/saved/dump/database.sql")
    found = on.prove(prove_script(SHOP))
    differ = set(found.splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[1] for line in differ} == {"orders"} and len(differ) == 2


@both
def test_it_takes_the_place_of_the_live_one_which_is_kept(on: Mariadb) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    on.sql(
        "DELETE FROM orders WHERE id > 100; DROP TABLE words; CREATE TABLE later (a int)", "shop"
    )
    on.sql("CREATE VIEW newer AS SELECT 1; DROP EVENT cleaning; DROP VIEW cheaper", "shop")
    on.sql("CREATE EVENT later ON SCHEDULE EVERY 1 DAY DO SELECT 1", "shop")
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=True))
    assert ran.ok, ran.said
    _, kept = on.databases()
    assert ran.said == f"shop is the restored one now; the one before it is kept as {kept}\n"
    assert on.sql("SELECT COUNT(*) FROM orders", kept) == "100"
    what = "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE();"
    what += (
        " SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE();"
    )
    what += (
        " SELECT event_name, status FROM information_schema.events WHERE event_schema = DATABASE();"
    )
    what += " SHOW FULL TABLES WHERE Table_type = 'VIEW'"
    parts = ["all_of", "twice", "noted", "later\tDISABLED", "cheap\tVIEW", "newer\tVIEW"]
    assert on.sql(what, kept).splitlines() == parts
    parts = ["all_of", "twice", "noted", "cleaning\tENABLED", "cheap\tVIEW", "cheaper\tVIEW"]
    assert on.sql(what, "shop").splitlines() == parts
    # With another moment in the sequence's cache.
    assert [line for line in on.dump(dump_script(SHOP)).splitlines() if line[:8] != "sequence"] == [
        line for line in fingerprint.splitlines() if line[:8] != "sequence"
    ]
    assert on.left() == ""


def test_it_comes_back_where_the_database_is_gone_and_into_a_new_one_without_events(
    on: Mariadb,
) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=False))
    assert ran.ok and on.databases() == ["shop", "shop_new"], ran.said
    assert on.sql("SHOW EVENTS", "shop_new") == ""
    assert on.sql("SELECT COUNT(*) FROM orders", "shop_new") == "500"
    on.gone()
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=True))
    assert ran.said == "shop is the restored one now\n"
    assert on.databases() == ["shop"]
    assert on.dump(dump_script(SHOP)) == fingerprint


def test_a_new_name_that_is_taken_is_refused_and_wrong_data_are_not_kept(on: Mariadb) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    ran = on.run("load_it", load_script(SHOP, "shop", swap=False))
    assert ran.said == (
        "the database shop is there already: choose another name, or drop it first\n"
    )
    on.says("sed -i '/table.words/s/rows.5/rows\\t6/' /var/lib/trial/restored/proof/fingerprint")
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=True))
    assert not ran.ok and "table\twords\trows\t6" in ran.said
    assert ran.last.endswith("not what was backed up; the database shop_new was removed again")
    assert on.databases() == ["shop"]


def test_a_swap_that_fails_leaves_all_as_it_was(on: Mariadb) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    hold = "LOCK TABLES orders READ;"
    script = load_script(SHOP, "shop_new", swap=True)
    script = script.replace("lock_wait_timeout = 60", "lock_wait_timeout = 2")
    # It holds the table as long as it gets no end of its input.
    with on.meanwhile(f"{{ echo '{hold}'; sleep 600; }} | mariadb -n shop"):
        on.says(
            "until mariadb -e 'SHOW OPEN TABLES FROM shop LIKE \"orders\"' | grep -q 1; do :; done"
        )
        ran = on.run("load_it", script)
    assert not ran.ok and "the restored database is kept as shop_new" in ran.said
    assert "other sessions kept tables locked" in ran.last
    assert on.databases() == ["shop", "shop_new"]
    assert on.sql("SELECT COUNT(*) FROM orders", "shop") == "500"
    assert "noted" in on.sql("SHOW TRIGGERS", "shop") and "noted" in on.sql(
        "SHOW TRIGGERS", "shop_new"
    )


def test_a_password_is_seen_by_nobody(on: Mariadb) -> None:
    quoted = SECRET.replace("\\", "\\\\").replace("'", "''")
    on.sql(
        f"CREATE USER trial@localhost IDENTIFIED BY '{quoted}'; GRANT ALL ON *.* TO trial@localhost"
    )
    source = MariadbSource(mariadb="shop", user="trial", password="env://NOT_USED")
    on.variables["db_password"] = SECRET
    watch = "cat /proc/[0-9]*/cmdline >>/run/trial-seen 2>/dev/null"
    with on.meanwhile(watch):
        fingerprint = on.dump(dump_script(source, "db_password"))
    seen = on.says("tr '\\0' ' ' </run/trial-seen; rm /run/trial-seen")
    assert "mariadb-dump --defaults-file=/run/trial/db." in seen and "hei'm" not in seen
    assert fingerprint == on.dump(dump_script(SHOP))
    on.variables["db_password"] = "wrong"
    on.clear()
    ran = on.run("dump_it", dump_script(source, "db_password"))
    assert ran.last.startswith("MariaDB does not let the database user trial in: ERROR 1045")
    assert on.left() == ""


@pytest.mark.parametrize(
    ("source", "break_it", "why"),
    [
        (
            SHOP,
            "mount --bind /dev/null /usr/bin/mariadb-dump; mount --bind /dev/null /usr/bin/mysqldump",
            "the host has no mariadb-dump: install mariadb-client",
        ),
        (MariadbSource(mariadb="ship"), ":", "MariaDB has no database ship; it has: shop"),
        (
            MariadbSource(mariadb="shop", socket="/run/none.sock"),
            ":",
            "MariaDB does not run at /run/none.sock: start it",
        ),
        (MariadbSource(mariadb="shop", user="trial"), ":", "the database user trial may not:"),
        (
            MariadbSource(mariadb="shop", user="nosuch"),
            ":",
            "MariaDB does not let the database user nosuch in:",
        ),
        (
            SHOP,
            "mount -t tmpfs -o size=64k tmpfs /var/lib/trial/saved/dump",
            "the disk is full (/var/lib/trial/saved/dump has ",
        ),
    ],
)
def test_what_fails_is_said_in_a_sentence(
    on: Mariadb, source: MariadbSource, break_it: str, why: str
) -> None:
    on.sql("CREATE USER trial@localhost; GRANT SELECT ON shop.* TO trial@localhost")
    on.clear()
    on.says("mkdir -p /var/lib/trial/saved/dump")
    ran = on.run("dump_it", dump_script(source), break_it)
    assert not ran.ok and why in ran.last, ran.said
    assert on.says("cat /var/lib/trial/saved/proof/fingerprint 2>/dev/null || :") == ""
    assert on.left() == ""


def test_a_view_that_cannot_be_read_fails_the_dump(on: Mariadb) -> None:
    on.sql("DROP TABLE words; CREATE VIEW broken AS SELECT id FROM empty; DROP TABLE empty", "shop")
    on.clear()
    ran = on.run("dump_it", dump_script(SHOP))
    assert not ran.ok and "mariadb-dump of shop failed: " in ran.last and "broken" in ran.last


def test_what_is_changed_while_it_is_dumped_and_is_no_row_fails_the_dump(on: Mariadb) -> None:
    on.clear()
    after = "mariadb shop -e 'CREATE INDEX passing ON orders (id)'"
    ran = on.run("dump_it", dump_script(SHOP), on.wrap("/usr/bin/mariadb-dump", "shop", after))
    assert not ran.ok and "passing" in ran.said
    assert ran.last == "tables, views or programs of shop were changed while it was dumped"
    assert on.dump(dump_script(SHOP)), "once more goes well"


def test_a_row_that_is_larger_than_the_server_takes_is_loaded(on: Mariadb) -> None:
    """As text a row takes up to twice its bytes."""
    on.sql("CREATE TABLE bulky (id INT PRIMARY KEY, large LONGBLOB)", "shop")
    on.sql("INSERT INTO bulky VALUES (1, REPEAT('x', 9000000))", "shop")
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    most = on.sql("SELECT @@GLOBAL.max_allowed_packet")
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=False))
    assert ran.ok, ran.said
    assert on.sql("SELECT LENGTH(large) FROM bulky", "shop_new") == "9000000"
    assert int(most) < 18_000_000 and on.sql("SELECT @@GLOBAL.max_allowed_packet") == most
    assert on.prove(prove_script(SHOP)) == fingerprint


def test_a_dump_whose_tool_is_killed_is_none(on: Mariadb) -> None:
    on.clear()
    with on.meanwhile("pkill -KILL -x mariadb-dump"):
        ran = on.run("dump_it", dump_script(SHOP))
    assert not ran.ok and ran.last == "mariadb-dump of shop failed: Killed", ran.said
    assert on.says("cat /var/lib/trial/saved/proof/fingerprint 2>/dev/null || :") == ""
    assert on.sql("INSERT INTO empty VALUES (1)", "shop") == "", "the lock went with it"


def test_a_proof_that_cannot_be_made_says_why(on: Mariadb) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    dump = "/var/lib/trial/restored/dump/database.sql"
    small = "cd /var/lib/trial; mount -t tmpfs -o size=20m tmpfs restored; cp -a saved/. restored/; cd /"
    ran = on.run("prove_it", prove_script(SHOP), small)
    assert not ran.ok and "the disk is full" in ran.last, ran.said
    on.says(f"sed -i 's/^INSERT INTO `parted`/INSERT INTO `parked`/' {dump}")
    ran = on.run("prove_it", prove_script(SHOP))
    assert ran.last.startswith("loading the dump failed: ERROR 1100"), ran.said
    on.says(f"truncate -s -1000 {dump}")
    ran = on.run("prove_it", prove_script(SHOP))
    assert ran.said == "the dump ends before its end\n"
    assert on.left() == ""
