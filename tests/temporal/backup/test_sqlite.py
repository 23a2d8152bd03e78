"""SQLite: copies of one moment, proved, loaded beside what is live."""

from __future__ import annotations

import pytest

from temporal.activities.backup.sqlite_sh import dump_script, load_script, prove_script
from temporal.shared.specs.backup.sources import SqliteSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.databases import Databases, lines

pytestmark = [pytest.mark.lab]
FOLDER = "/srv/lite 'x'"
LIVE = f"{FOLDER}/notes.db"
NOTES = SqliteSource(sqlite=LIVE)
COPY = "/var/lib/trial/restored/dump/database.sqlite"
_ODD = '"odd \'name\' ""quoted"""'
_MADE = """
PRAGMA journal_mode = {mode};
CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, raw BLOB);
INSERT INTO notes SELECT value, 'note ' || value, randomblob(20) FROM generate_series(1, 500);
CREATE TABLE {odd} (a, b);
INSERT INTO {odd} VALUES (1, NULL), (1, NULL);
CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
INSERT INTO keyed VALUES ('one', 1);
CREATE TABLE beats (beat INTEGER); CREATE TABLE pulse (beat INTEGER);
CREATE INDEX by_text ON notes (text);
CREATE VIEW few AS SELECT * FROM notes LIMIT 3;
"""


class Sqlite(Databases):
    """A server with a database file of these tests."""

    def sql(self, statements: str) -> str:
        return self.says(f'sqlite3 -bail "{LIVE}"', f".timeout 5000\n{statements}")

    def fresh(self, mode: str) -> None:
        self.says(f'rm -rf "{FOLDER}"; mkdir -p "{FOLDER}"')
        self.sql(_MADE.format(mode=mode, odd=_ODD))


@pytest.fixture(params=["bookworm", "trixie"])
def on(backup_server: BackupServer, request: pytest.FixtureRequest) -> Sqlite:
    made = Sqlite(backup_server(request.param))
    made.fresh("wal")
    return made


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_copy_and_fingerprint_are_of_one_moment_whatever_is_written(on: Sqlite, mode: str) -> None:
    on.fresh(mode)
    beat = "BEGIN IMMEDIATE; INSERT INTO beats VALUES (1); INSERT INTO pulse VALUES (1); COMMIT;"
    with on.meanwhile(f'sqlite3 "{LIVE}" ".timeout 9000" "{beat}"'):
        on.says(f'until [ "$(sqlite3 "{LIVE}" "SELECT count(*) FROM beats")" != 0 ]; do :; done')
        fingerprint = on.dump(dump_script(NOTES))
        rows = {line[1]: int(line[3]) for line in lines(fingerprint, "table")}
        more = f'"$(sqlite3 "{LIVE}" "SELECT count(*) FROM beats")" -gt {rows["beats"]}'
        on.says(f"until [ {more} ]; do :; done")
    assert rows["pulse"] == rows["beats"] > 0 and rows["notes"] == 500
    on.restore()
    assert on.prove(prove_script(NOTES)) == fingerprint
    assert on.left() == ""


def test_a_fingerprint_names_all_that_there_is_and_one_changed_row_shows(on: Sqlite) -> None:
    fingerprint = on.dump(dump_script(NOTES))
    rows = {line[1]: line[3] for line in lines(fingerprint, "table")}
    assert rows["odd 'name' \"quoted\""] == "2" and rows["keyed"] == "1"
    assert {"index", "table", "view"} == {line[1] for line in lines(fingerprint, "schema")}
    on.restore()
    on.says(f"sqlite3 {COPY} \"UPDATE notes SET text = 'other' WHERE id = 77\"")
    found = on.prove(prove_script(NOTES))
    differ = set(found.splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[1] for line in differ} == {"notes"} and len(differ) == 2


def test_it_takes_the_place_of_the_live_one_which_is_kept(on: Sqlite) -> None:
    on.says(f'chown daemon "{LIVE}"; chmod 640 "{LIVE}"')
    on.dump(dump_script(NOTES))
    on.restore()
    on.sql("DELETE FROM notes")
    ran = on.run("load_it", load_script(NOTES, f"{FOLDER}/new.db", True))
    assert ran.ok, ran.said
    assert on.sql("SELECT count(*) FROM notes") == "500"
    assert on.says(f'stat -c "%U %a" "{LIVE}"') == "daemon 640"
    aside = on.says(f'ls "{FOLDER}" | grep before_')
    assert on.says(f'sqlite3 "{FOLDER}/{aside}" "SELECT count(*) FROM notes"') == "0"


def test_what_fails_is_said_in_a_sentence(on: Sqlite) -> None:
    def why(source: SqliteSource) -> str:
        on.clear()
        ran = on.run("dump_it", dump_script(source))
        assert not ran.ok
        return ran.last

    assert "there is no SQLite database /srv/nowhere.db" in why(
        SqliteSource(sqlite="/srv/nowhere.db")
    )
    on.says("echo 'this is no database, and long enough to be taken for one' >/srv/text.db")
    assert "/srv/text.db is no SQLite database" in why(SqliteSource(sqlite="/srv/text.db"))
    on.says(": >/srv/empty.db")
    assert "is empty" in why(SqliteSource(sqlite="/srv/empty.db"))
    on.dump(dump_script(NOTES))
    on.restore()
    on.says(
        f"printf x | dd of={COPY} bs=1 seek=5000 conv=notrunc status=none; truncate -s 9000 {COPY}"
    )
    ran = on.run("prove_it", prove_script(NOTES))
    assert not ran.ok and "damaged" in ran.last
    ran = on.run("load_it", load_script(NOTES, LIVE, False))
    assert not ran.ok and "is there already" in ran.last
