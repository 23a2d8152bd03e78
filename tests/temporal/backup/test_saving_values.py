"""What a host says of its backup, and what a backup's file says, on values alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from converge.framing import Record
from temporal.activities.backup import restic_sh
from temporal.activities.backup.restic_sh import library, sftp_place
from temporal.activities.backup.saved import explained, host_backup, last_line, progress
from temporal.shared.specs.backup.backup import HostBackup, Protection, SourceBackup
from temporal.shared.specs.backup.repository import Repository
from temporal.shared.specs.backup.retention import Keep

FILES = {"files": "/srv/data"}


def said(*words: str, body: str = "") -> Record:
    return Record("n", words, body.encode())


def plan(**more: Any) -> Protection:
    value = {
        "name": "trial",
        "repository": {"url": "/srv/repo", "password": "env://SECRET"},
        "sources": {"data": FILES, "orders": {"postgresql": "shop"}},
        **more,
    }
    return Protection.model_validate(value)


SUMMARY = (
    '{"message_type":"summary","total_files_processed":3,"total_bytes_processed":700,'
    '"data_added":12,"total_duration":1.25,"snapshot_id":"0123abcd"}'
)


def test_each_source_is_told_and_one_of_which_nothing_is_said_has_failed() -> None:
    found = host_backup(
        "web1",
        plan().sources,
        [
            said("clock", "0"),
            said("source", "data", "files"),
            said("summary", body=SUMMARY),
            said("result", "data", "ok", "0"),
            said("end", "ok"),
        ],
    )
    data, orders = found.sources
    assert (data.ending, data.snapshot, data.files, data.size) == ("saved", "0123abcd", 3, 700)
    assert orders.ending == "failed" and orders.kind == "postgresql"
    assert found.outcome.ending == "failed" and "orders" in found.outcome.because


@pytest.mark.parametrize(
    ("files", "manifest", "empty"), [(2, True, True), (3, True, False), (1, False, True)]
)
def test_a_folder_without_files_is_told(files: int, manifest: bool, empty: bool) -> None:
    heard = [
        said("source", "data", "files"),
        said("summary", body=SUMMARY.replace('processed":3', f'processed":{files}')),
        said("result", "data", "ok", "0"),
    ]
    sources = {"data": plan().sources["data"]}
    [data] = host_backup("web1", sources, heard, manifest=manifest).sources
    assert data.ending == "saved"
    assert data.note == ("there are no files in it" if empty else "")
    heard[1:] = [said("result", "data", "password", "1")]
    [data] = host_backup("web1", sources, heard, manifest=manifest).sources
    assert (data.ending, data.note) == ("failed", "")


def test_no_snapshot_is_no_success() -> None:
    heard = [said("source", "data", "files"), said("result", "data", "ok", "0")]
    [data] = host_backup("web1", {"data": plan().sources["data"]}, heard).sources
    assert data.ending == "failed" and "no snapshot" in data.because


def test_what_could_not_be_read_is_named_as_it_is_called() -> None:
    heard = [
        said("source", "data", "files"),
        said("summary", body=SUMMARY),
        said("unreadable", "2", body='/srv/data/a \\"b\\"\n/srv/data/\\u00e9\n'),
        said("result", "data", "incomplete", "3"),
    ]
    found = host_backup("web1", {"data": plan().sources["data"]}, heard)
    [data] = found.sources
    assert data.unread == 2 and data.unreadable == ('/srv/data/a "b"', "/srv/data/é")
    assert found.outcome.ending == "incomplete" and "2 files" in found.outcome.because


def test_incomplete_without_a_file_says_what_restic_said() -> None:
    heard = [
        said("source", "data", "files"),
        said("summary", body=SUMMARY),
        said("unreadable", "0"),
        said("result", "data", "incomplete", "3", body="error: tree 10 could not be loaded\n"),
    ]
    found = host_backup("web1", {"data": plan().sources["data"]}, heard)
    assert "could not be loaded" in found.outcome.because


def test_a_host_of_which_nothing_began_says_why() -> None:
    assert HostBackup(host="web1", because="no key").outcome.because == "no key"
    cancelled = SourceBackup(source="data", kind="files", ending="cancelled")
    assert HostBackup(host="web1", sources=(cancelled,)).outcome.ending == "failed"


@pytest.mark.parametrize(
    ("end", "text", "expected"),
    [
        ("none", "Fatal: unable to open config file: stat x: no such file", "create: true"),
        ("password", "", "password is wrong"),
        ("killed", "", "signal 9"),
        ("still", "x\nrestic did nothing any more for 300 s, and was ended\n", "begin it again"),
        ("other", "Fatal: dial tcp: connection refused\nIs there a repository?\nx", "refused"),
        ("prepare", "there is no /srv/data", "there is no /srv/data"),
    ],
)
def test_failures_are_said_in_a_line_with_what_to_do(end: str, text: str, expected: str) -> None:
    found = explained(end, 137, text)
    assert expected in found and "\n" not in found


def test_the_line_that_says_why_also_of_a_restic_that_speaks_json() -> None:
    fatal = '{"message_type":"exit_error","code":12,"message":"Fatal: wrong password"}'
    assert last_line(f"some\n{fatal}\n") == "wrong password"
    assert last_line("one\ntwo\n\n") == "two" and last_line("") == ""


def test_progress_is_told_in_bytes() -> None:
    body = (
        '{"message_type":"status","percent_done":0.5,"total_bytes":2048,"bytes_done":1024,'
        '"seconds_remaining":7}'
    )
    found = progress(said("progress", body=body), "web1", "data")
    assert found is not None and (found.done, found.total) == (50, 100)
    assert found.what == "data: 1.0 KiB of 2.0 KiB, 7 s left"
    assert progress(said("progress", body="{cut off"), "web1", "data") is None


@pytest.mark.parametrize(
    "url",
    [
        *("relative/path", "ftp://x/y", "s3:no-server", "rest:http://bob:pass@store/x"),
        "/srv/repo\nx",
    ],
)
def test_a_url_that_is_none_is_refused_and_a_password_in_it_is_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Repository(url=url, password="env://X")
    if "pass@" in url:
        from temporal.payloads import explain_validation

        assert "bob:pass" not in explain_validation(caught.value)


def test_a_repository_for_each_host_or_one_for_all() -> None:
    each = Repository(url="s3:https://s3.example.org/b/{host}", password="env://X")
    assert each.at("web 1") == "s3:https://s3.example.org/b/web%201" and not each.shared
    assert Repository(url="rest:http://store/x", password="env://X").shared
    assert not Repository(url="/srv/repo", password="env://X").shared


def test_user_and_password_of_a_rest_server_go_into_the_url_and_not_into_arguments() -> None:
    repository = Repository(
        url="rest:http://store/x",
        password="env://X",
        user="bob",
        user_password="env://Y",
    )
    script = library(repository, "web1", {"env://X": b"p", "env://Y": b"a/b"}, 1)
    assert "RESTIC_REPOSITORY='rest:http://bob:a%2Fb@store/x'" in script
    assert "a%2Fb" not in script.replace("export RESTIC_REPOSITORY='rest:http://bob:a%2Fb@", "")


def test_the_place_of_an_sftp_repository() -> None:
    assert sftp_place("sftp:bob@store:/srv/repo") == ("bob", "store", None)
    assert sftp_place("sftp://bob@store:2222//srv/repo") == ("bob", "store", 2222)


@pytest.mark.parametrize("rules", [{}, {"last": 0}, {"within": "soon"}, {"daily": -1}])
def test_rules_that_keep_nothing_or_are_none_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Keep.model_validate(rules)


def test_rules_as_restic_takes_them() -> None:
    found = Keep.model_validate({"last": 3, "within_monthly": "2y", "tags": ["nightly"]})
    assert found.arguments == ("--keep-last=3", "--keep-within-monthly=2y", "--keep-tag=nightly")


@pytest.mark.parametrize(
    "source",
    [
        {"files": "relative"},
        {"files": ["/srv", "/srv/data"]},
        {"files": "/srv/../etc"},
        {"postgres": "shop"},
        {"postgresql": "shop; DROP"},
        {"mariadb": "-shop"},
        {"redis": 70000},
        {"files": "/srv", "unknown": 1},
    ],
)
def test_a_source_that_is_none_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plan(sources={"data": source})


def test_durations_travel_as_they_are_written() -> None:
    travelled = plan(rpo="26h", proof="7d").model_dump(mode="json")
    assert (travelled["rpo"], travelled["proof"]) == ("1d2h", "7d")
    assert Protection.model_validate(travelled) == plan(rpo="26h", proof="7d")


def test_no_sh_defines_anew_what_the_way_into_the_repository_is_made_of() -> None:
    defined = re.compile(r"^ *(\w+)\(\) *[{(]", re.M)
    value = {"url": "/srv/repo", "password": "env://SECRET"}
    text = library(Repository.model_validate(value), "web1", {"env://SECRET": b"x"}, 1)
    ours = {*defined.findall(text)}
    assert {"r", "attempt", "guard", "own_locks"} <= ours
    folder = Path(restic_sh.__file__).parent
    others = {
        (each.name, name)
        for each in folder.glob("*_sh.py")
        if each.name != "restic_sh.py"
        for name in defined.findall(each.read_text())
    }
    assert ("proving_sh.py", "watch") in others
    assert not [(file, name) for file, name in others if name in ours]
