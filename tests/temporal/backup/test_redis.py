"""Redis: all data of one moment, proved in a scratch server, and what the server starts with."""

from __future__ import annotations

import pytest

from lab.testing import eventually
from temporal.activities.backup.redis_sh import dump_script, load_script, prove_script
from temporal.shared.specs.backup.sources import RedisSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.databases import Databases, lines

pytestmark = [pytest.mark.lab]

LIVE = RedisSource(redis=6379)
NEW = "/var/lib/redis/new.rdb"
SECRET = "ge\\hei'm\"#$x"
_MADE = r"""
SET plain 1
SET "odd key\n\x00\xff" "v\xfe"
LPUSH list 1 2 3
HSET hash field value
ZADD sorted 1 a
SADD set x y
SELECT 7
XADD stream * k v
SET lasting 2 EX 10000
"""


class Redis(Databases):
    """A server with some data, and no more."""

    def cli(self, commands: str) -> list[str]:
        return self.says("redis-cli", commands).splitlines()

    def settled(self, appendonly: str = "no") -> None:
        self.says("systemctl reset-failed redis-server; systemctl start redis-server")
        eventually(lambda: self.exec("redis-cli ping").stdout == "PONG\n", "Redis answers")
        # It waits for further replicas before it saves for one; nobody needs that here.
        self.cli(
            f"FLUSHALL\nCONFIG SET appendonly {appendonly}\nCONFIG SET repl-diskless-sync-delay 0"
        )
        self.says(
            "redis-cli config rewrite; rm -rf /var/lib/redis/*before_* /var/lib/redis/new.rdb"
        )

    def fresh(self, appendonly: str = "no") -> None:
        self.settled(appendonly)
        self.cli(_MADE)

    def keys(self) -> list[str]:
        return [line.split(",")[0] for line in self.cli("INFO keyspace") if line.startswith("db")]


@pytest.fixture
def release() -> str:
    return "bookworm"


@pytest.fixture
def on(backup_server: BackupServer, release: str) -> Redis:
    made = Redis(backup_server(release))
    made.fresh()
    return made


both = pytest.mark.parametrize("release", ["bookworm", "trixie"])


@both
def test_a_dump_holds_what_its_fingerprint_says_whatever_is_written_meanwhile(on: Redis) -> None:
    beats = "yes 'MULTI\nINCR beats\nRPUSH pulse x\nEXEC' | redis-cli"
    with on.meanwhile(beats):
        on.says('until [ "$(redis-cli GET beats)" ]; do :; done')
        fingerprint = on.dump(dump_script(LIVE))
        then = on.cli("GET beats")[0]
        on.says(f'until [ "$(redis-cli GET beats)" -gt {then} ]; do :; done')
    before = on.live()
    on.restore()
    assert on.prove(prove_script(LIVE)) == fingerprint
    assert on.live() == before and on.left() == ""
    assert lines(fingerprint, "keys") == [["keys", "10"]]
    assert lines(fingerprint, "expiring") == [["expiring", "1"]]


@both
def test_a_key_whose_time_came_since_is_proved_as_well(on: Redis) -> None:
    on.cli("SET short 1 PX 2500")
    fingerprint = on.dump(dump_script(LIVE))
    assert lines(fingerprint, "keys", "expiring") == [["expiring", "2"], ["keys", "9"]]
    on.restore()
    eventually(lambda: on.cli("EXISTS short") == ["0"], "its time comes")
    assert on.prove(prove_script(LIVE)) == fingerprint
    ran = on.run("load_it", load_script(LIVE, NEW, swap=True))
    assert ran.ok, ran.said
    assert on.keys() == ["db0:keys=6", "db7:keys=2"]


@both
def test_one_changed_byte_in_the_restored_dump_is_found(on: Redis) -> None:
    fingerprint = on.dump(dump_script(LIVE))
    on.restore()
    dump = "/var/lib/trial/restored/dump/dump.rdb"
    # One with other data, whole in itself.
    on.cli("SET plain 2")
    on.says(f"redis-cli --rdb {dump}")
    found = on.prove(prove_script(LIVE))
    differ = set(found.splitlines()) ^ set(fingerprint.splitlines())
    assert {line.split("\t")[0] for line in differ} == {"file"} and len(differ) == 2
    on.says(f"printf x | dd of={dump} bs=1 seek=150 conv=notrunc status=none")
    ran = on.run("prove_it", prove_script(LIVE))
    assert not ran.ok and ran.last.startswith("the RDB file is damaged: "), ran.said
    on.says(f"truncate -s 100 {dump}")
    ran = on.run("prove_it", prove_script(LIVE))
    assert not ran.ok and ran.last.startswith("the RDB file is damaged: "), ran.said
    assert on.left() == ""


@pytest.mark.parametrize(
    ("release", "appendonly"),
    [("bookworm", "no"), ("bookworm", "yes"), ("trixie", "no"), ("trixie", "yes")],
)
def test_the_server_starts_with_it_and_what_it_had_is_kept(on: Redis, appendonly: str) -> None:
    on.fresh(appendonly)
    on.dump(dump_script(LIVE))
    on.restore()
    on.cli("FLUSHALL\nSET later 1")
    ran = on.run("load_it", load_script(LIVE, NEW, swap=True))
    assert ran.ok, ran.said
    assert on.keys() == ["db0:keys=6", "db7:keys=2"]
    assert on.cli('GET "odd key\\n\\x00\\xff"') == ["v\udcfe"]
    kept = ran.last.partition(" is kept as ")[2]
    assert ran.last.startswith("Redis holds what was restored now; what it held before is kept as ")
    assert "[info] 1 keys read" in on.says(f"redis-check-rdb {kept}")
    assert on.exec(f"test -e {NEW}").returncode != 0
    # It is as good as if it had written that itself.
    on.cli("SET more 1")
    on.says("systemctl restart redis-server")
    eventually(lambda: on.keys() == ["db0:keys=7", "db7:keys=2"], "it starts with that again")
    assert on.left() == ""
    on.settled()


def test_a_server_that_does_not_come_up_with_it_gets_back_what_it_had(on: Redis) -> None:
    on.dump(dump_script(LIVE))
    on.restore()
    on.cli("FLUSHALL\nSET later 1")
    # What is loaded is not as many keys as were backed up: as if one were lost.
    script = load_script(LIVE, NEW, swap=True).replace('= "$keys" ]', '= "$keys+1" ]')
    ran = on.run("load_it", script)
    assert not ran.ok and "it was started again with what it had" in ran.last, ran.said
    assert ran.last.endswith(f"that is kept as {NEW}")
    assert on.keys() == ["db0:keys=1"] and on.cli("SET again 1") == ["OK"]


def test_into_a_new_file(on: Redis) -> None:
    on.dump(dump_script(LIVE))
    on.restore()
    before = on.live()
    assert on.run("load_it", load_script(LIVE, NEW, swap=False)).ok
    assert (
        on.says(f"stat -c '%U %a' {NEW}; cmp {NEW} /var/lib/trial/saved/dump/dump.rdb")
        == "redis 600"
    )
    assert on.live() == before
    ran = on.run("load_it", load_script(LIVE, NEW, swap=False))
    assert ran.said == f"{NEW} is there already: choose another name\n"


def test_an_empty_dump_counts_only_where_there_is_nothing(on: Redis) -> None:
    script = dump_script(LIVE)
    # What is dumped is another server, and that one is empty.
    mistaken = script.replace('redis --rdb "$1"', 'redis-cli -p 6390 --rdb "$1"')
    assert mistaken != script
    on.clear()
    on.says("systemd-run -q --unit=trial-other redis-server --port 6390 --save '' --dir /run")
    try:
        eventually(lambda: on.exec("redis-cli -p 6390 ping").stdout == "PONG\n", "it answers")
        ran = on.run("dump_it", mistaken)
    finally:
        on.says("systemctl stop trial-other")
    assert ran.said == "the dump holds no key, and Redis had 8 before it and 8 after it\n"
    on.cli("FLUSHALL")
    assert lines(on.dump(script), "keys") == [["keys", "0"]]


def test_a_password_is_seen_by_nobody(on: Redis) -> None:
    source = RedisSource(redis=6379, password="env://NOT_USED")
    quoted = SECRET.replace("\\", "\\\\").replace('"', '\\"')
    on.cli(f'CONFIG SET requirepass "{quoted}"')
    try:
        on.variables["db_password"] = SECRET
        with on.meanwhile("cat /proc/[0-9]*/cmdline >>/run/trial-seen 2>/dev/null"):
            on.dump(dump_script(source, "db_password"))
        seen = on.says("tr '\\0' ' ' </run/trial-seen; rm /run/trial-seen")
        assert "redis-cli -h 127.0.0.1 -p 6379" in seen and "hei'm" not in seen
        on.variables["db_password"] = "wrong"
        ran = on.run("dump_it", dump_script(source, "db_password"))
        assert ran.said == "Redis: Redis on port 6379 does not take the password\n"
        ran = on.run("dump_it", dump_script(LIVE))
        assert ran.said == "Redis: Redis on port 6379 asks for a password: give the source one\n"
    finally:
        on.says("systemctl restart redis-server")


@pytest.mark.parametrize(
    ("source", "break_it", "why"),
    [
        (
            LIVE,
            "mount --bind /dev/null /usr/bin/redis-check-rdb",
            "the host has no redis-check-rdb: install redis-tools",
        ),
        (RedisSource(redis=6380), ":", "Redis does not answer on port 6380: start it"),
        (
            RedisSource(redis="/run/none.sock"),
            ":",
            "Redis does not answer on /run/none.sock: start it",
        ),
        (
            LIVE,
            "mount -t tmpfs -o size=64k tmpfs /var/lib/trial/saved/dump",
            "saving the data: the disk is full (/var/lib/trial/saved/dump has ",
        ),
    ],
)
def test_what_fails_is_said_in_a_sentence(
    on: Redis, source: RedisSource, break_it: str, why: str
) -> None:
    on.says("head -c 300000 /dev/urandom | base64 -w 0 | redis-cli -x SET large")
    on.clear()
    on.says("mkdir -p /var/lib/trial/saved/dump")
    ran = on.run("dump_it", dump_script(source), break_it)
    assert not ran.ok and why in ran.last, ran.said
    assert on.says("cat /var/lib/trial/saved/proof/fingerprint 2>/dev/null || :") == ""
    assert on.left() == ""


def test_a_proof_that_the_host_has_no_memory_for_is_not_tried(on: Redis) -> None:
    on.dump(dump_script(LIVE))
    on.restore()
    little = (
        "echo 'MemAvailable:       512 kB' >/run/little; mount --bind /run/little /proc/meminfo"
    )
    script = prove_script(LIVE).replace("--mount-proc ", "")
    ran = on.run("prove_it", script, little)
    assert not ran.ok and "MiB of memory, and the host has 0 free" in ran.last, ran.said
    assert on.left() == ""
