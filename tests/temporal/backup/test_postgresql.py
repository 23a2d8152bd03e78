"""PostgreSQL: dumps of one snapshot, proved in a scratch server, loaded beside what is live."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.testing import eventually
from temporal.activities.backup.postgresql_sh import dump_script, load_script, prove_script
from temporal.shared.specs.backup.sources import PostgresqlSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.databases import Databases, lines

pytestmark = [pytest.mark.lab]

SHOP = PostgresqlSource(postgresql="shop")
_MADE = (Path(__file__).parent / "shop_postgresql.sql").read_text()
_CLEAN = r"""
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE datname ~ '^shop' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^trial_' \gexec
"""
_NEW = r"""
CREATE ROLE trial_group;
CREATE ROLE trial_owner LOGIN PASSWORD 'geheim' IN ROLE trial_group;
CREATE ROLE trial_reader;
CREATE DATABASE shop OWNER trial_owner;
"""
_WRITTEN = """
CREATE TABLE pulse (id serial PRIMARY KEY, beat integer);
CREATE TABLE beats (beat integer);
"""
# As fast as it can, in transactions that touch three tables, and with a sequence.
_BEATS = (
    "cd /; yes 'BEGIN; INSERT INTO public.pulse (beat) VALUES (1); INSERT INTO public.beats VALUES (1);"
    " UPDATE public.orders SET amount = amount + 1 WHERE id = 7; COMMIT;' |"
    " runuser -u postgres -- psql -Xq -d shop"
)
_COUNT = "cd /; runuser -u postgres -- psql -XAtd shop -c 'SELECT count(*) FROM public.beats'"


class Postgresql(Databases):
    """A server on which databases of these tests are made."""

    def sql(self, statements: str, database: str = "shop") -> str:
        call = f"cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d '{database}'"
        return self.says(call, statements)

    def databases(self) -> list[str]:
        return self.sql("SELECT datname FROM pg_database ORDER BY 1", "postgres").splitlines()

    def gone(self) -> None:
        self.sql(_CLEAN, "postgres")

    def fresh(self) -> None:
        self.gone()
        self.sql(_NEW, "postgres")
        self.sql(_MADE)


@pytest.fixture
def on(backup_server: BackupServer, release: str) -> Postgresql:
    made = Postgresql(backup_server(release))
    made.fresh()
    return made


@pytest.fixture
def release() -> str:
    return "bookworm"


both = pytest.mark.parametrize("release", ["bookworm", "trixie"])


@both
def test_a_dump_holds_what_its_fingerprint_says_whatever_is_written_meanwhile(
    on: Postgresql,
) -> None:
    on.sql(_WRITTEN)
    with on.meanwhile(_BEATS):
        on.says(f"until [ $({_COUNT}) != 0 ]; do :; done")
        fingerprint = on.dump(dump_script(SHOP))
        rows = {line[1]: int(line[3]) for line in lines(fingerprint, "table")}
        on.says(f"until [ $({_COUNT}) -gt {rows['public.beats']} ]; do :; done")
    assert 0 < rows["public.beats"] == rows["public.pulse"]
    before = on.live()
    on.restore()
    assert on.prove(prove_script(SHOP)) == fingerprint
    assert on.live() == before and on.left() == ""


@both
def test_a_fingerprint_names_all_that_there_is(on: Postgresql) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    rows = {line[1]: line[3] for line in lines(fingerprint, "table")}
    odd = r"""public."odd 'name' ""quoted"" \\ back\nnew line\ttab ü:x" """.strip()
    assert rows[odd] == "4" and rows["public.orders"] == "500" and rows["public.words"] == "7"
    assert (rows["public.nothing"], rows["public.empty"], rows["public.mother"]) == ("0", "0", "1")
    assert rows['"Sales ""2024""".january'] == rows['"Sales ""2024""".rest'] == "30"
    assert lines(fingerprint, "sequence") == [
        ["sequence", r"""public."odd'\\ seq\nx" """.strip(), "7", "true"],
        ["sequence", "public.orders_id_seq", "500", "true"],
        ["sequence", "public.unused", "1", "false"],
    ]
    assert lines(fingerprint, "database")[0][1] == "encoding UTF8"
    assert lines(fingerprint, "largeobjects")[0][3] == "11"
    named = {
        (line[0], line[-1]) for line in lines(fingerprint, "view", "index", "policy", "trigger")
    }
    assert {("view", "public.cheap"), ("index", "public.orders_item"), ("policy", "own")} <= named
    assert lines(fingerprint, "type")[0][3] == "'sad', 'o''k', 'häppy'"
    assert fingerprint.splitlines() == sorted(fingerprint.splitlines(), key=str.encode)
    # Unchanged, it dumps to the same fingerprint; one bit, and it does not.
    on.sql("UPDATE orders SET measure = measure + 1e-16 WHERE id = 3")
    differ = set(on.dump(dump_script(SHOP)).splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[1] for line in differ} == {"public.orders"} and len(differ) == 2


@both
def test_one_changed_byte_in_the_restored_dump_is_found(on: Postgresql) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    dump = "/var/lib/trial/restored/dump/database.pgdump"
    on.says(f"LC_ALL=C sed -i 's/item.t77.nline/item\\\\t78\\\\nline/' {dump}")
    on.says(f"! cmp -s {dump} /var/lib/trial/saved/dump/database.pgdump")
    found = on.prove(prove_script(SHOP))
    differ = set(found.splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[1] for line in differ} == {"public.orders"} and len(differ) == 2


@both
def test_it_takes_the_place_of_the_live_one_which_is_kept(on: Postgresql) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    on.sql("DELETE FROM orders WHERE id > 100; DROP TABLE words; CREATE TABLE later (a integer)")
    with on.meanwhile("cd /; runuser -u postgres -- psql -Xqd shop -c 'SELECT pg_sleep(600)'"):
        ran = on.run("load_it", load_script(SHOP, "shop_new", swap=True))
    assert ran.ok, ran.said
    (kept,) = [each for each in on.databases() if each.startswith("shop_before_")]
    assert ran.last == f"shop is the restored one now; the one before it is kept as {kept}"
    assert "shop_new" not in on.databases()
    assert on.sql("SELECT count(*) FROM orders; SELECT count(*) FROM words") == "500\n7"
    assert on.sql("SELECT count(*) FROM orders", kept) == "100"
    who = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'orders'"
    assert on.sql(who) == "trial_owner"
    assert on.sql("SELECT has_table_privilege('trial_reader', 'orders', 'SELECT')") == "t"
    assert on.sql("SHOW search_path") == '"$user", public, "Sales ""2024"""'
    assert on.left() == ""


def test_it_comes_back_where_database_and_roles_are_gone(on: Postgresql) -> None:
    login = "SELECT rolpassword FROM pg_authid WHERE rolname = 'trial_owner'"
    secret = on.sql(login)
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    on.gone()
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=True))
    assert ran.ok, ran.said
    assert on.sql(login) == secret
    assert on.sql("SELECT pg_has_role('trial_owner', 'trial_group', 'MEMBER')") == "t"
    about = "SELECT pg_get_userbyid(datdba) || ' ' || shobj_description(oid, 'pg_database')"
    assert on.sql(f"{about} FROM pg_database WHERE datname = 'shop'").startswith(
        "trial_owner the shop's\n"
    )
    assert on.dump(dump_script(SHOP)) == fingerprint


def test_a_new_name_that_is_taken_is_refused_and_wrong_data_are_not_kept(on: Postgresql) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    ran = on.run("load_it", load_script(SHOP, "shop", swap=False))
    assert ran.said == (
        "the database shop is there already: choose another name, or drop it first\n"
    )
    on.says("sed -i '/public.words/s/rows.7/rows\\t8/' /var/lib/trial/restored/proof/fingerprint")
    ran = on.run("load_it", load_script(SHOP, "shop_new", swap=True))
    assert not ran.ok and "table\tpublic.words\trows\t8" in ran.said
    assert ran.last.endswith("not what was backed up; the database shop_new was removed again")
    assert [each for each in on.databases() if each.startswith("shop")] == ["shop"]


@pytest.mark.parametrize(
    ("source", "break_it", "why"),
    [
        (
            SHOP,
            "mount -t tmpfs tmpfs /usr/lib/postgresql; mount --bind /bin/false /usr/bin/psql",
            "the host has no psql",
        ),
        (
            PostgresqlSource(postgresql="ship"),
            ":",
            "PostgreSQL on port 5432 has no database ship; it has: postgres, shop, template1",
        ),
        (
            PostgresqlSource(postgresql="shop", port=5499),
            ":",
            "PostgreSQL does not run on port 5499: start it",
        ),
        (
            PostgresqlSource(postgresql="shop", user="daemon"),
            ":",
            "does not let the system user daemon in",
        ),
        (PostgresqlSource(postgresql="shop", user="nobody"), ":", "the user nobody may not:"),
        (PostgresqlSource(postgresql="shop", user="nosuch"), ":", "the host has no user nosuch"),
        (
            SHOP,
            "mount -t tmpfs -o size=64k tmpfs /var/lib/trial/saved/dump",
            "pg_dump of shop: the disk is full (/var/lib/trial/saved/dump has ",
        ),
    ],
)
def test_what_fails_is_said_in_a_sentence(
    on: Postgresql, source: PostgresqlSource, break_it: str, why: str
) -> None:
    on.sql("CREATE ROLE nobody LOGIN; GRANT CONNECT ON DATABASE shop TO nobody")
    on.clear()
    on.says("mkdir -p /var/lib/trial/saved/dump")
    try:
        ran = on.run("dump_it", dump_script(source), break_it)
    finally:
        on.sql("DROP OWNED BY nobody; DROP ROLE nobody")
    assert not ran.ok and why in ran.last, ran.said
    assert on.says("cat /var/lib/trial/saved/proof/fingerprint 2>/dev/null || :") == ""
    assert on.left() == ""


def test_a_table_that_is_truncated_and_filled_anew_meanwhile_is_not_dumped_empty(
    on: Postgresql,
) -> None:
    """As nightly jobs do it, in one transaction: a snapshot of before sees none of the rows."""
    anew = (
        "BEGIN; CREATE TEMP TABLE kept AS SELECT * FROM words; TRUNCATE words;"
        " INSERT INTO words SELECT * FROM kept; SELECT pg_sleep(4); COMMIT"
    )
    psql = "runuser -u postgres -- psql -Xqd shop -c"
    on.says(f"systemd-run -q --unit=trial-anew sh -c \"cd /; {psql} '{anew}'\"")
    held = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'words'::regclass AND granted"
        " AND mode = 'AccessExclusiveLock'"
    )
    eventually(lambda: on.sql(held) == "1", "it is truncated")
    fingerprint = on.dump(dump_script(SHOP))
    assert {line[1]: line[3] for line in lines(fingerprint, "table")}["public.words"] == "7"
    on.restore()
    assert on.prove(prove_script(SHOP)) == fingerprint


@both
def test_who_waits_to_change_a_table_does_not_stop_a_dump(on: Postgresql) -> None:
    """Its lock would be waited for by whoever asks for one later, and it waits for ours."""
    waits = "query LIKE 'TRUNCATE words%' AND wait_event_type = 'Lock'"
    look = f"SELECT count(*) FROM pg_stat_activity WHERE {waits}"
    after = (
        "psql -Xqd shop -c 'TRUNCATE words' 5>&- 6>&- </dev/null &\n"
        f'until [ "$(psql -XqAtd shop -c "{look}")" = 1 ]; do :; done'
    )
    on.clear()
    ran = on.run(
        "dump_it",
        dump_script(SHOP),
        on.wrap("/usr/lib/postgresql/*/bin/pg_dump", "--snapshot=*", after),
    )
    assert ran.ok, ran.said
    fingerprint = on.says("cat /var/lib/trial/saved/proof/fingerprint")
    assert {line[1]: line[3] for line in lines(fingerprint, "table")}["public.words"] == "7"
    eventually(lambda: on.sql("SELECT count(*) FROM words") == "0", "it is truncated at last")


def test_a_database_of_another_tablespace_is_proved(on: Postgresql) -> None:
    on.says("rm -rf /srv/trial-space; install -d -o postgres /srv/trial-space")
    on.sql("CREATE TABLESPACE \"trial space\" LOCATION '/srv/trial-space'", "postgres")
    try:
        on.sql('CREATE DATABASE shop_spaced TABLESPACE "trial space"', "postgres")
        on.sql("CREATE TABLE there AS SELECT generate_series(1, 9) AS n", "shop_spaced")
        spaced = PostgresqlSource(postgresql="shop_spaced")
        fingerprint = on.dump(dump_script(spaced))
        on.restore()
        assert on.prove(prove_script(spaced)) == fingerprint and on.left() == ""
    finally:
        on.gone()
        on.sql('DROP TABLESPACE "trial space"', "postgres")


def test_a_dump_whose_tool_is_killed_is_none(on: Postgresql) -> None:
    on.clear()
    with on.meanwhile("pkill -KILL -f 'pg_dump -[p]'"):
        ran = on.run("dump_it", dump_script(SHOP))
    assert not ran.ok and ran.last == "pg_dump of shop failed: Killed", ran.said
    assert on.says("cat /var/lib/trial/saved/proof/fingerprint 2>/dev/null || :") == ""


def test_a_proof_that_cannot_be_made_says_why(on: Postgresql) -> None:
    on.dump(dump_script(SHOP))
    on.restore()
    dump = "/var/lib/trial/restored/dump/database.pgdump"
    small = "cd /var/lib/trial; mount -t tmpfs -o size=20m tmpfs restored; cp -a saved/. restored/; cd /"
    ran = on.run("prove_it", prove_script(SHOP), small)
    assert not ran.ok and "the disk is full" in ran.last, ran.said
    on.says(f"truncate -s -20000 {dump}")
    ran = on.run("prove_it", prove_script(SHOP))
    assert not ran.ok and ran.last.startswith("loading the dump failed: pg_restore: error:"), (
        ran.said
    )
    on.says(f": >{dump}")
    ran = on.run("prove_it", prove_script(SHOP))
    assert ran.said == "the snapshot holds no dump of PostgreSQL\n"
    assert on.left() == ""


def test_without_namespaces_a_scratch_server_needs_a_folder_that_its_user_reaches(
    on: Postgresql,
) -> None:
    fingerprint = on.dump(dump_script(SHOP))
    on.restore()
    denied = "mount --bind /bin/false /usr/bin/unshare"
    ran = on.run("prove_it", prove_script(SHOP), denied)
    assert ran.last.startswith("the user postgres cannot reach /var/lib/trial/restored:"), ran.said
    on.says("chmod 711 /var/lib/trial")
    assert on.run("prove_it", prove_script(SHOP), denied).ok
    assert on.says("cat /var/lib/trial/restored/found") == fingerprint
    assert on.left() == ""
