"""BackUp on real servers: what is saved, what is not, and that nobody takes one for the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from temporal.activities.backup import restic_sh
from temporal.activities.backup.listing import moment
from temporal.shared.specs.automation.outcome import FleetReport
from temporal.shared.specs.backup.backup import SourceBackup
from temporal.shared.specs.backup.maintaining import Maintain
from temporal.testing import Environment
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import (
    PASSWORD,
    VARIABLES,
    local,
    restic,
    saved,
    says,
    spec,
    stored,
)
from tests.temporal.backup.stores import Stores

pytestmark = [pytest.mark.lab]
aio = pytest.mark.asyncio(loop_scope="session")
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@aio
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
async def test_files_and_every_kind_of_database_are_saved(
    env: Environment, backup_server: BackupServer, release: str
) -> None:
    server = backup_server(release)
    says(
        server,
        "rm -rf /srv/all /srv/data; mkdir -p /srv/data/sub; echo one >/srv/data/one;"
        " echo two >'/srv/data/sub/a b'; echo no >/srv/data/x.tmp;"
        " runuser -u postgres -- psql -qc 'DROP DATABASE IF EXISTS kept' -c 'CREATE DATABASE kept';"
        " runuser -u postgres -- psql -q kept -c 'CREATE TABLE t AS SELECT generate_series(1, 9) AS n';"
        " mariadb -e 'CREATE OR REPLACE DATABASE kept; CREATE TABLE kept.t (n INT PRIMARY KEY);"
        " INSERT INTO kept.t VALUES (1), (2)'; rm -f /srv/kept.db;"
        " sqlite3 /srv/kept.db 'CREATE TABLE t (n); INSERT INTO t VALUES (1)'; redis-cli set k v",
    )
    sources: dict[str, Any] = {
        "data": {"files": "/srv/data", "exclude": ["*.tmp"], "tags": ["nightly"]},
        "orders": {"postgresql": "kept"},
        "shop": {"mariadb": "kept"},
        "notes": {"sqlite": "/srv/kept.db"},
        "sessions": {"redis": 6379},
    }
    wanted = spec([server], local("/srv/all"), sources)
    run = await env.start("BackUp", wanted)
    report: FleetReport = await run.result()
    assert report.state.counts == {"done": 1}, report.render()
    found = {name: each for (_, name), each in (await saved(env, run.id)).items()}
    assert {name: each.ending for name, each in found.items()} == dict.fromkeys(sources, "saved")
    assert found["data"].files == 4 and found["data"].added > 0, "two files, about and manifest"
    kept = json.loads(restic(server, "/srv/all", "snapshots --json"))
    tags = {tuple(each["tags"]) for each in kept}
    assert (
        len(kept) == 5
        and (*("temporal-ops", "backup:trial", "source:data", "kind:files", "nightly"),) in tags
    )
    [data] = [each for each in kept if "source:data" in each["tags"]]
    assert data["hostname"] == server.name and "/srv/data" in data["paths"]
    listed = restic(server, "/srv/all", f"ls {data['id']}")
    assert "/srv/data/sub/a b" in listed and "x.tmp" not in listed and "proof/manifest" in listed
    [orders] = [each for each in kept if "source:orders" in each["tags"]]
    listed = restic(server, "/srv/all", f"ls {orders['id']}")
    assert "/proof/fingerprint" in listed and "/dump/" in listed
    left = says(server, "find /var/lib/converge/backup -path '*/dump/*'; ls /run/converge")
    assert left == "", "no dump stays on the host"
    again = await env.start("BackUp", wanted)
    await again.result()
    data = (await saved(env, again.id))[server.name, "data"]
    assert data.ending == "saved" and data.added < found["data"].added, (
        "it is compared with the last"
    )


@aio
async def test_one_source_that_fails_keeps_no_other_and_the_run_fails_in_the_end(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(
        server, "rm -rf /srv/some /srv/told /srv/went-on; mkdir -p /srv/there; echo x >/srv/there/x"
    )
    sources: dict[str, Any] = {
        "gone": {"files": ["/srv/there", "/srv/not-mounted"]},
        "barred": {"files": "/srv/there", "before": "echo no room >&2; exit 3", "after": ":"},
        # It ends with its first command that fails, as all sh of ours.
        "ended": {"files": "/srv/there", "before": "ls /nowhere\ntouch /srv/went-on"},
        "typo": {"files": "/srv/there", "before": "echo 'x"},
        "orders": {"postgresql": "nobody_made_this"},
        "there": {"files": "/srv/there", "after": "echo after >>/srv/told; exit 4"},
    }
    run = await env.start("BackUp", spec([GONE, server], local("/srv/some"), sources))
    with pytest.raises(WorkflowFailureError) as caught:
        await run.result()
    said = str(caught.value.cause)
    assert "1 failed, 1 unreachable" in said and "/srv/not-mounted" in said
    found = await saved(env, run.id)
    told = {name: (each.ending, each.because) for (_, name), each in found.items()}
    assert told["gone"][0] == "failed" and "/srv/not-mounted" in told["gone"][1]
    assert told["barred"] == (
        *("failed", "its `before` failed, and nothing was backed up: no room"),
    )
    assert told["ended"][0] == "failed" and "/nowhere" in told["ended"][1]
    assert says(server, "ls /srv/went-on || :") == ""
    assert told["typo"][0] == "failed" and "nterminated quoted string" in told["typo"][1]
    assert told["orders"][0] == "failed" and "nobody_made_this" in told["orders"][1]
    there = found[server.name, "there"]
    assert there.ending == "saved" and "its `after` failed" in there.note
    assert says(server, "cat /srv/told") == "after"
    assert len(json.loads(restic(server, "/srv/some", "snapshots --json"))) == 1


@aio
async def test_a_repository_is_made_only_when_asked_for_and_opened_only_with_its_password(
    env: Environment,
    backup_server: BackupServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    server = backup_server()
    says(
        server, "rm -rf /srv/mistyped /srv/ours /srv/odd; mkdir -p /srv/there; echo x >/srv/there/x"
    )
    sources = {"there": {"files": "/srv/there"}}

    async def why(repository: dict[str, Any]) -> str:
        run = await env.start("BackUp", spec([server], repository, sources))
        with pytest.raises(WorkflowFailureError):
            await run.result()
        return (await saved(env, run.id))[server.name, "there"].because

    assert "there is no repository at the url" in await why(local("/srv/mistyped", create=False))
    assert says(server, "ls -d /srv/mistyped || :", fails=True) == ""
    await env.run("BackUp", spec([server], local("/srv/ours"), sources))
    monkeypatch.setenv("TRIAL_OTHER", "not that one")
    wrong = local("/srv/ours", password="env://TRIAL_OTHER")
    assert await why(wrong) == "the repository's password is wrong"
    assert "nowhere.invalid" in await why(local("rest:http://nowhere.invalid/x", wait=1))
    odd = tmp_path / "password"
    odd.write_bytes(b"p\xff'q\xe9")
    await env.run("BackUp", spec([server], local("/srv/odd", password=f"file://{odd}"), sources))
    list_it = r"RESTIC_PASSWORD=\$(printf 'p\377\047q\351') restic -q -r /srv/odd snapshots"
    assert says(server, f'sh -c "{list_it}" | grep -c temporal-ops') == "1"


@aio
async def test_what_cannot_be_read_is_named_and_is_no_plain_success(
    env: Environment, backup_server: BackupServer
) -> None:
    server = backup_server()
    says(
        server,
        "id keeper >/dev/null 2>&1 || useradd -m -s /bin/sh keeper; rm -rf ~keeper/.ssh ~keeper/data"
        " ~keeper/repo; cp -r /root/.ssh ~keeper/.ssh; mkdir ~keeper/data; echo mine >~keeper/data/mine;"
        " chown -R keeper: ~keeper/.ssh ~keeper/data; echo s >~keeper/data/'not \"mine\"';"
        " chmod 600 ~keeper/data/not*",
    )
    host = {
        "address": server.address,
        "user": "keeper",
        "key": str(server.key),
        "known_hosts": str(server.known_hosts),
        "alias": "kept",
    }
    wanted = spec([host], local("/home/keeper/repo"), {"data": {"files": "/home/keeper/data"}})
    run = await env.start("BackUp", wanted)
    report: FleetReport = await run.result()
    assert report.summary == "1 incomplete" and "could not be read" in report.render()
    data = (await saved(env, run.id))["kept", "data"]
    assert (data.ending, data.unread) == ("incomplete", 1) and data.snapshot
    assert data.unreadable == ('/home/keeper/data/not "mine"',)


@aio
async def test_many_that_share_one_make_it_once(
    env: Environment,
    backup_lab: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    servers = backup_lab.up(3)[:3]
    with Stores(tmp_path, servers[0]) as stores:
        store = stores.s3()
        for server in servers:
            says(server, "mkdir -p /srv/there; hostname >/srv/there/x")
        repository = stored(store, "shared", monkeypatch)
        run = await env.start(
            "BackUp", spec([GONE, *servers], repository, {"there": {"files": "/srv/there"}})
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await run.result()
        assert "3 done, 1 unreachable" in str(caught.value.cause)
        variables = " ".join(f"{name}={value}" for name, value in store.variables.items())
        found = json.loads(
            says(
                servers[0],
                f"{variables} RESTIC_PASSWORD='{PASSWORD}' restic -r {store.url}/shared"
                " snapshots --json --no-cache",
            )
        )
        assert {each["hostname"] for each in found} == {server.name for server in servers}


@aio
@pytest.mark.parametrize("kind", ["rest", "sftp"])
async def test_other_repositories(
    env: Environment,
    backup_server: BackupServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    server = backup_server()
    says(server, "mkdir -p /srv/there; echo x >/srv/there/x")
    with Stores(tmp_path, server) as stores:
        store = stores.rest(user="bob") if kind == "rest" else stores.sftp()
        repository = stored(store, "{host}", monkeypatch)
        run = await env.start(
            "BackUp", spec([server], repository, {"there": {"files": "/srv/there"}})
        )
        assert (await run.result()).summary == "1 done"
        history = (await run.fetch_history()).to_json()
        assert (store.repository.parent / "backups" / server.name / "config").exists()
    assert not store.password or store.password not in history


@aio
async def test_a_clock_that_is_off_does_not_decide_which_snapshot_is_the_newest(
    env: Environment, backup_server: BackupServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All machines of a lab have one clock, so it is the worker's that is off here."""
    server = backup_server()
    says(server, "rm -rf /srv/clock; mkdir -p /srv/there; echo x >/srv/there/x")
    wanted = spec([server], local("/srv/clock"), {"there": {"files": "/srv/there"}})
    right, day = time.time, 86400
    late = SimpleNamespace(time=lambda: right() - day)
    for name in ("saving", "drilling", "maintaining"):
        monkeypatch.setattr(f"temporal.activities.backup.{name}.time", late)
    run = await env.start("BackUp", wanted)
    await run.result()
    await env.run("DrillRestore", wanted)
    check = Maintain(steps=("check",))
    await env.run("MaintainRepository", wanted.model_copy(update={"maintain": check}))
    monkeypatch.undo()
    data = (await saved(env, run.id))[server.name, "there"]
    assert data.ending == "saved" and "the host's clock is off by 864" in data.note
    made = json.loads(restic(server, "/srv/clock", "snapshots --json"))
    tags = [tag for each in made for tag in each["tags"] if tag.startswith("note:")]
    assert len(made) == 3 and sorted(tags) == ["note:check", "note:proof"]
    for each in made:
        assert abs(right() - day - moment(each["time"]).timestamp()) < 300, each["tags"]


@aio
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
async def test_a_restic_that_stands_still_is_ended_and_said_and_the_next_one_goes_well(
    env: Environment,
    backup_server: BackupServer,
    release: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = backup_server(release)
    monkeypatch.setattr(restic_sh, "STILL_S", 6)
    says(
        server,
        "rm -rf /srv/halts /srv/halting; mkdir /srv/halting;"
        " head -c 40000000 /dev/urandom >/srv/halting/big",
    )
    sources = {"halting": {"files": "/srv/halting"}}

    async def run(slowly: int, halts: bool, tries: int) -> SourceBackup:
        wanted = spec([server], local("/srv/halts", upload_limit=slowly), sources, tries=tries)
        handle = await env.start("BackUp", wanted)
        if halts:  # with a lock of its own, and data under way
            halt = (
                "until ls /srv/halts/locks/* &&"
                " find /srv/halts/data -name '*-tmp-*' -size +0 | grep .; do sleep 0.1; done;"
                " pkill -STOP -x restic"
            )
            await asyncio.to_thread(says, server, f"{{ {halt}; }} >/dev/null 2>&1")
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        return (await saved(env, handle.id))[server.name, "halting"]

    halted = await run(3000, True, 1)
    assert halted.ending == "failed" and "did nothing any more for 6 s" in halted.because
    assert says(server, "ls /srv/halts/locks") == ""
    # One that is slow, and works for longer than that, is left in peace; and one more try is enough.
    begun_again = await run(3000, True, 2)
    assert begun_again.ending == "saved", begun_again.because
    assert says(server, "ls /srv/halts/locks; pgrep -x restic || :") == ""
