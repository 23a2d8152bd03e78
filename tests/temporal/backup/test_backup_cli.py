"""`temporal-ops backup` as a person runs it, on a real server: what it shows, asks, and ends with."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Machine
from temporal.cli.common import DONE, FAILED, WRONG
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.plans import PASSWORD_REF, VARIABLES, place, says
from tests.temporal.cli.support import Server, Shell, Terminal

pytestmark = [pytest.mark.lab]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Commands and a worker against a server of the test's own."""
    server = Server(tmp_path / "server")
    made = Shell(tmp_path, {"TEMPORAL_ADDRESS": server.address, "TEMPORAL_HEARTBEAT_EVERY": "0.25"})
    try:
        yield made
    finally:
        made.end()
        server.close()


def declared(shell: Shell, server: Machine, **more: Any) -> str:
    value = {
        "name": "cli",
        "hosts": [place(server)],
        "repository": {"url": "/srv/cli/repository", "password": PASSWORD_REF, "create": True},
        "sources": {"up": {"files": "/srv/cli/up"}, "etc": {"files": "/srv/cli/etc"}},
        "keep": {"last": 1},
        **more,
    }
    (shell.folder / "cli.yml").write_text(yaml.safe_dump(value))
    return "cli.yml"


def metrics(worker: str) -> str:
    with urllib.request.urlopen(f"{worker}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_from_the_first_backup_to_the_restore_over_what_is_live(
    shell: Shell, backup_server: BackupServer
) -> None:
    server = backup_server("trixie")
    says(
        server,
        "rm -rf /srv/cli; mkdir -p /srv/cli/up /srv/cli/etc; echo one >/srv/cli/up/one;"
        " echo two >/srv/cli/etc/two",
    )
    file, host = declared(shell, server), server.name
    worker = shell.start("worker", **VARIABLES)
    health = worker.says(r"health (http://[\d.:]+)")[1]
    none = shell("backup", "status", file)
    assert none.status == FAILED and f"{host}/up" not in none.err
    assert [line.split()[:3] for line in none.out.splitlines()[2:4]] == [
        ["unknown", host, "etc"],
        ["unknown", host, "up"],
    ]
    assert "there is no repository at the url" in none.out
    for _ in range(2):
        made = shell("backup", "run", file)
        assert made.status == DONE, made
        lines = [line.split() for line in made.out.splitlines()]
        assert [line[:3] for line in lines[1:]] == [["saved", host, "etc"], ["saved", host, "up"]]
    found = shell("backup", "status", file)
    assert found.status == FAILED, "nothing was proved yet"
    assert found.out.startswith("cli: 2 sources: 2 unproved (rpo 1d2h, proof 7d)")
    tried = shell("backup", "drill", file, "--all")
    assert tried.status == DONE and tried.out.count("proved") >= 2, tried
    found = shell("backup", "status", file)
    assert found.status == DONE and found.out.count("protected") == 3, found
    asked = shell("backup", "status", file, "--json")
    assert asked.status == DONE and asked.json["protected"]
    assert {row["state"] for row in asked.json["rows"]} == {"protected"}
    said = metrics(health)
    assert f'temporal_ops_backup_protected{{backup="cli",host="{host}",source="up"}} 1.0' in said
    listed = shell("backup", "snapshots", file, "--source", "up", "--host", host)
    assert listed.status == DONE and len(listed.out.splitlines()) == 3, listed
    assert "proved" in listed.out.splitlines()[1] and "etc" not in listed.out
    assert shell("backup", "snapshots", file, "--source", "upp").status == WRONG
    shown = shell("backup", "maintain", file, "--steps", "forget", "--dry-run")
    assert shown.status == DONE and f"{host}/up: 1 goes, 1 stay" in shown.out, shown
    assert len(shell("backup", "snapshots", file).out.splitlines()) == 5
    done = shell("backup", "maintain", file)
    assert done.status == DONE and "forgot 2 snapshots" in done.out, done
    assert "checked 1/12: well" in done.out and "pruned: freed" in done.out
    assert shell("backup", "maintain", file, "--steps", "forgett").status == WRONG

    says(server, "echo lost >/srv/cli/up/one; rm -rf /srv/cli/new")
    to = shell("backup", "restore", file, "--source", "up", "--to", "/srv/cli/new")
    assert to.status == DONE and "up is restored to" in to.out, to
    assert says(server, "cat /srv/cli/new/srv/cli/up/one; cat /srv/cli/up/one") == "one\nlost"
    refused = shell("backup", "restore", file, "--source", "up", "--over-live")
    assert refused.status == WRONG and f"--sure {host}/up" in refused.err
    assert shell("backup", "restore", file, "--source", "nope").status == WRONG
    terminal = Terminal(shell, "backup", "restore", file, "--source", "up", "--over-live")
    terminal.shows(f"Type {host}/up to go on:")
    terminal.press("yes\n")
    assert terminal.ends() == FAILED and says(server, "cat /srv/cli/up/one") == "lost"
    terminal = Terminal(shell, "backup", "restore", file, "--source", "up", "--over-live")
    terminal.shows(f"Type {host}/up to go on:")
    terminal.press(f"{host}/up\n")
    assert terminal.ends() == DONE, terminal.text
    assert says(server, "cat /srv/cli/up/one") == "one"


def test_what_could_not_be_saved_or_done_is_no_success(
    shell: Shell, backup_server: BackupServer
) -> None:
    server = backup_server("trixie")
    says(server, "rm -rf /srv/cli; mkdir -p /srv/cli/up; echo one >/srv/cli/up/one")
    file = declared(shell, server, rollout={"max_failures": 1})
    shell.start("worker", **VARIABLES).says("serves")
    made = shell("backup", "run", file)
    lines = made.out.splitlines()
    assert made.status == FAILED and lines[1].startswith("failed"), made
    assert lines[2].startswith("saved")
    assert lines[3].startswith(f"! {server.name}/etc: ") and "/srv/cli/etc" in lines[3]
    asked = shell("backup", "run", file, "--json")
    assert asked.status == FAILED and asked.json["results"][0]["sources"][0]["source"] in (
        "up",
        "etc",
    )
    refused = declared(shell, server, keep={"tags": ["monthly"]})
    done = shell("backup", "maintain", refused, "--steps", "forget")
    assert done.status == FAILED and "no snapshot of" in done.out, done
    assert "would stay" in done.out
    assert shell("backup", "run", "nowhere.yml").status == WRONG


def test_help_imports_nothing_that_is_heavy() -> None:
    code = (
        "import sys; sys.argv = ['temporal-ops', 'backup', 'restore', '--help']\n"
        "from temporal.cli.app import status\nstatus()\n"
        "heavy = {'temporalio', 'yaml', 'rich.table', 'asyncssh', 'prometheus_client'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "--over-live" in done.stdout and done.stderr.strip() == "[]"
