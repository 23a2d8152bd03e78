"""Specs of restores, and which snapshot is meant: nothing here needs a host."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from converge.framing import Record
from temporal.activities.backup.listing import Listing, Snapshot
from temporal.activities.backup.proving import Told, told
from temporal.activities.backup.restoring import meant
from temporal.shared import Permanent
from temporal.shared.errors import SpecError
from temporal.shared.specs.backup.restoring import RestoreSpec, live_problem, moment_of
from temporal.shared.specs.reading import read

PLAN = {
    "name": "shop",
    "repository": {"url": "/srv/repo", "password": "env://PASSWORD"},
    "sources": {"uploads": {"files": ["/srv/shop/up"]}, "orders": {"postgresql": "shop"}},
}
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def spec(**more: Any) -> RestoreSpec:
    value = {"backup": PLAN, "host": "web1", "onto": "root@web1", "source": "uploads", **more}
    return RestoreSpec.model_validate(value)


def refused(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        spec(**more)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yml").write_text(
        "name: shop\nhosts: [root@web1, {address: 192.0.2.7, alias: web2}]\n"
        "repository: {url: /srv/repo, password: env://PASSWORD}\n"
        "sources:\n  uploads: {files: /srv/shop/up}\n  orders: {postgresql: shop}\n"
    )
    return tmp_path


def written(folder: Path, text: str) -> RestoreSpec:
    (folder / "restore.yml").write_text(text)
    return read(folder / "restore.yml", RestoreSpec)


def test_a_file_names_the_backup_and_a_host_of_it(folder: Path) -> None:
    found = written(folder, "backup: shop.yml\nhost: web2\nsource: uploads\nat: 2026-11-24\n")
    assert (found.host, found.onto.address, found.word) == ("web2", "192.0.2.7", "web2/uploads")
    assert found.backup.sources["uploads"].kind == "files" and not found.over_live
    other = written(folder, "backup: shop.yml\nhost: web1\nonto: web2\nsource: orders\n")
    assert (other.host, other.onto.name) == ("web1", "web2")
    gone = written(folder, "backup: shop.yml\nhost: old\nonto: root@new\nsource: orders\n")
    assert (gone.host, gone.onto.address) == ("old", "new")
    assert RestoreSpec.model_validate_json(other.model_dump_json()) == other


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("host: web1\nsource: uploads", 1, "backup: is missing"),
        ("backup: no.yml\nhost: web1\nsource: uploads", 1, "no.yml"),
        ("backup: shop.yml\nsource: uploads", 1, "several hosts: web1, web2"),
        ("backup: shop.yml\nhost: web1", 1, "several sources: uploads, orders"),
        ("backup: shop.yml\nhost: web3\nsource: uploads", 2, "no host of it (web1, web2)"),
        ("backup: shop.yml\nhost: web1\nsource: up", 3, "it has uploads, orders"),
        ("backup: shop.yml\nhost: web1\nsource: uploads\nat: 01234567", 4, "quotes"),
        ("backup: shop.yml\nhost: web1\nsource: uploads\nat: yesterday", 4, "must be latest"),
        ("backup: shop.yml\nhost: web1\nsource: uploads\nto: srv", 4, "an absolute path"),
        ("backup: shop.yml\nhost: web1\nsource: uploads\nto: /srv/shop/up/x", 4, "lies in"),
        ("backup: shop.yml\nhost: web1\nsource: uploads\nto: /srv", 4, "contains /srv/shop/up"),
        ("backup: shop.yml\nhost: web1\nsource: orders\nto: /srv/x", 4, "new database"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(
    folder: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        written(folder, text)
    assert words in str(caught.value) and f"restore.yml:{line}: " in str(caught.value)


def test_what_is_live_is_touched_only_when_told_twice() -> None:
    assert "add `sure: web1/uploads`" in refused(over_live=True)
    assert "add `sure: web1/uploads`" in refused(over_live=True, sure="web2/uploads")
    assert "add `sure: web2/uploads`" in refused(
        over_live=True, sure="web1/uploads", onto="root@web2"
    )
    assert "over_live" in refused(sure="web1/uploads")
    assert "not both" in refused(over_live=True, sure="web1/uploads", to="/srv/x")
    assert spec(over_live=True, sure="web1/uploads").over_live


def test_a_place_that_is_live_is_refused_and_scratch_is_not() -> None:
    live = ("/srv/shop", "/var", "/", "/etc/app")
    for place in ("/srv/shop", "/srv/shop/x", "/srv", "/var/x", "/etc", "/etc/app/x", "/"):
        assert live_problem(place, live), place
    for place in ("/home/x", "/var/tmp/x", "/tmp/x", "/var/restore/x", "/srv/shopping"):
        assert live_problem(place, live) is None, place
    assert live_problem("/var/tmp/app/x", ("/var/tmp/app",)), "it is what somebody means"
    assert "paths" in refused(source="orders", paths=["/srv"])
    assert "/srv/repo" in refused(to="/srv/repo/x")


def snapshot(id: str, made: datetime, **tags: str) -> Snapshot:
    own = {"temporal-ops": "", "backup": "shop", "source": "uploads", "kind": "files", **tags}
    base = "/var/lib/converge/backup/shop/uploads/proof"
    return Snapshot(id * 8, made, "web1", own, ("/srv/shop/up", base))


HOUR = timedelta(hours=1)
FOUND = Listing(
    (
        snapshot("abcd1111", NOON - 2 * HOUR),
        snapshot("abcd2222", NOON - HOUR, nightly=""),
        snapshot("ef003333", NOON),
    )
)


@pytest.mark.parametrize(
    ("asked", "id"),
    [
        ({}, "ef003333"),
        ({"at": "2026-11-25 11:30"}, "abcd2222"),
        ({"at": "2026-11-25 11:00+01:00"}, "abcd1111"),
        ({"at": "2026-11-25"}, "ef003333"),
        ({"at": "abcd1"}, "abcd1111"),
        ({"tags": ["nightly"]}, "abcd2222"),
    ],
)
def test_the_newest_that_fits_is_meant(asked: dict[str, Any], id: str) -> None:
    chosen = meant(spec(**asked), FOUND, NOON)
    assert chosen.snapshot == id * 8 and chosen.roots == ("/srv/shop/up",)


def test_one_from_the_future_is_had_only_when_it_is_named() -> None:
    ahead = snapshot("0bad4444", NOON + 30 * 24 * HOUR)
    found = Listing((*FOUND.snapshots, ahead))
    assert meant(spec(), found, NOON).snapshot[:8] == "ef003333"
    assert meant(spec(at="0bad"), found, NOON).snapshot[:8] == "0bad4444"
    assert meant(spec(), Listing((ahead,)), NOON).snapshot[:8] == "0bad4444", "there is no other"


def test_one_that_is_not_there_or_not_the_only_one_is_refused() -> None:
    def why(found: Listing = FOUND, **asked: Any) -> str:
        with pytest.raises(Permanent) as caught:
            meant(spec(**asked), found, NOON)
        return caught.value.message

    both = why(at="abcd")
    assert "begins the ids of 2 snapshots" in both and "abcd1111" in both and "abcd2222" in both
    none = why(at="2026-11-24")
    assert "3, from 2026-11-25 10:00:00 UTC (abcd1111) to 2026-11-25 12:00:00 UTC" in none
    assert "with the tags weekly" in why(tags=["weekly"])
    assert "no snapshot of web1/uploads in" in why(Listing())
    other = why(Listing((snapshot("ab00cd11", NOON, kind="sqlite"),)))
    assert "is of sqlite, and the source is of files by now" in other


def test_times_are_as_people_write_them() -> None:
    assert moment_of("2026-11-25T12:00:00Z") == NOON == moment_of("2026-11-25 12:00")
    assert moment_of("2026-11-24") < moment_of("2026-11-25 00:00")


def test_differences_are_said_in_words() -> None:
    was = "< " + "a" * 64 + " f 644 0 0 5 17.5 /srv/a%20b%25"
    now = "> " + "b" * 64 + " f 640 0 0 5 17.5 /srv/a%20b%25"
    assert told(f"{was}\t{now}") == f"/srv/a b%: content {'a' * 12} -> {'b' * 12}, mode 644 -> 640"
    # Such a name has no end of a line in it.
    both = f"{was}\x0c\u2028\t{now}\x0c\u2028\n"
    seen = Told()
    seen.take(Record("n", ("differ", "corrupt", "1"), both.encode()))
    seen.take(Record("n", ("found", "1", "0", "1"), b""))
    [one] = seen.values["differences"]
    assert one.startswith("/srv/a b%\x0c\u2028: content ")
    link = "< - l 777 0 0 0 1.0 /srv/l to%20a", "> - l 777 0 0 0 1.0 /srv/l to%20b"
    assert told("\t".join(link)) == "/srv/l: points to to a -> to b"
