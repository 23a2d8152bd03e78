"""Redis: dumps of one moment, proved in a scratch server, put in the place of what is live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from temporal.activities.backup.redis_sh import dump_script, load_script, prove_script
from temporal.shared.specs.backup.sources import RedisSource
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.databases import Databases, lines

pytestmark = [pytest.mark.lab]
ALL = RedisSource(redis=6379)
COPY = "/var/lib/trial/restored/dump/dump.rdb"
HELD = RedisSource(redis=6379, password="env://HELD")


class Redis(Databases):
    """A server whose Redis holds what these tests put there."""

    def redis(self, *words: str) -> str:
        return self.says(f"redis-cli {' '.join(words)}")

    def fresh(self) -> None:
        self.redis("FLUSHALL")
        self.says(
            "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo SET key:$i value-$i; done |"
            " redis-cli >/dev/null"
        )
        self.redis("-n", "3", "RPUSH", "list", "a", "b", "c")
        self.redis("SET", "short", "x", "EX", "9000")


@pytest.fixture(params=["bookworm", "trixie"])
def on(backup_server: BackupServer, request: pytest.FixtureRequest) -> Iterator[Redis]:
    made = Redis(backup_server(request.param))
    made.fresh()
    yield made
    made.redis("FLUSHALL")


def test_what_is_dumped_is_proved_and_the_live_one_is_let_be(on: Redis) -> None:
    with on.meanwhile("redis-cli INCR beats >/dev/null"):
        fingerprint = on.dump(dump_script(ALL))
    assert lines(fingerprint, "keys")[0][1] in ("302", "303")
    assert lines(fingerprint, "expiring") == [["expiring", "1"]]
    before = on.live()
    on.restore()
    assert on.prove(prove_script(ALL)) == fingerprint
    assert on.live() == before and on.left() == ""


def test_one_changed_byte_in_the_restored_dump_is_found(on: Redis) -> None:
    on.dump(dump_script(ALL))
    on.restore()
    on.says(
        f"LC_ALL=C sed -i 's/value-77/value-78/' {COPY}; ! cmp {COPY} /var/lib/trial/saved/dump/dump.rdb"
    )
    ran = on.run("prove_it", prove_script(ALL))
    assert not ran.ok and "damaged" in ran.last


def test_it_takes_the_place_of_what_is_live_which_is_kept(on: Redis) -> None:
    on.dump(dump_script(ALL))
    on.restore()
    on.redis("FLUSHALL")
    on.redis("SET", "since", "then")
    ran = on.run("load_it", load_script(ALL, "/var/lib/redis/restored.rdb", True))
    assert ran.ok, ran.said
    assert on.redis("GET", "key:300") == "value-300" and on.redis("EXISTS", "since") == "0"
    assert on.redis("-n", "3", "LLEN", "list") == "3"
    kept = on.says("ls /var/lib/redis/*.before_*")
    on.says(f"redis-check-rdb {kept} | grep -q '1 keys read'; rm -f {kept}")


def test_what_fails_is_said_in_a_sentence(on: Redis) -> None:
    def why(source: RedisSource, password: str | None = None) -> str:
        on.clear()
        ran = on.run("dump_it", dump_script(source, password))
        assert not ran.ok
        return ran.last

    assert "does not answer on port 6399: start it" in why(RedisSource(redis=6399))
    on.redis("CONFIG", "SET", "requirepass", "held")
    try:
        assert "asks for a password" in why(ALL)
        on.variables = {"db_password": "wrong"}
        assert "does not take the password" in why(HELD, "db_password")
        on.variables = {"db_password": "held"}
        on.clear()
        ran = on.run("dump_it", dump_script(HELD, "db_password"))
        assert ran.ok, ran.said
    finally:
        on.says("REDISCLI_AUTH=held redis-cli CONFIG SET requirepass ''")
