"""A backup when something dies: it ends all the same, what it says is true, and no lock stays behind."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Lab, Machine
from lab.testing import eventually
from temporal.cli.common import DONE, ENDED
from tests.temporal.automation.test_endurance import forms, raw_history, until_slowly
from tests.temporal.backup.plans import PASSWORD, VARIABLES, local, place, restic, says
from tests.temporal.cli.support import Running, Shell

pytestmark = [pytest.mark.lab]
# Slow enough to be met at work: restic is let have so many KiB a second of a local repository.
SLOWLY = 20_000


@pytest.fixture
def server(backup_lab: Lab) -> Iterator[Machine]:
    """One of its own, with data that takes restic a few seconds."""
    (fresh,) = backup_lab.add(1)
    says(
        fresh,
        "mkdir -p /srv/data; head -c 120000000 /dev/urandom >/srv/data/big; echo x >/srv/data/x",
    )
    yield fresh
    backup_lab.down([fresh.name])


def begun(shell: Shell, server: Machine, run: str, limit: int = SLOWLY, **more: Any) -> Running:
    """A backup that has begun to write to the repository."""
    repository = local("/srv/repo", upload_limit=limit)
    source = {"files": "/srv/data", "after": "echo after >>/srv/told"}
    value = {"name": "trial", "repository": repository, "sources": {"data": source}, **more}
    path: Path = shell.folder / "backup.yml"
    path.write_text(yaml.safe_dump({**value, "hosts": [place(server)]}))
    running = shell.start("run", "BackUp", "-f", str(path), "--id", run, **VARIABLES)
    eventually(lambda: at_work(server) and packs(server) > 0, "restic writes", 60)
    return running


def at_work(server: Machine) -> bool:
    return says(server, "pgrep -xc restic || :") not in ("", "0")


def packs(server: Machine) -> int:
    return int(says(server, "find /srv/repo/data -type f 2>/dev/null | wc -l"))


def snapshots(server: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(restic(server, "/srv/repo", "snapshots --json"))
    return found


def is_free_and_whole(server: Machine) -> None:
    """Nothing is left that stops who needs the repository alone, and what is there can be restored."""
    assert says(server, "ls /srv/repo/locks") == ""
    restic(server, "/srv/repo", "prune -q")
    restic(server, "/srv/repo", "restore latest --target /srv/restored")
    says(server, "cmp /srv/data/big /srv/restored/srv/data/big; rm -rf /srv/restored")


def worker(shell: Shell) -> Running:
    started = shell.start("worker", **VARIABLES)
    started.says("serves")
    return started


def test_a_killed_worker_is_followed_by_another_and_there_is_one_snapshot(
    shell: Shell,
    server: Machine,
) -> None:
    first = worker(shell)
    running = begun(shell, server, "once")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert at_work(server), "the host goes on by itself"
    second = worker(shell)
    # The next try may have ended before anyone could see it under way: the history keeps it.
    until_slowly(lambda: running.process.poll() is not None)
    assert running.ends() == DONE, running.err
    history = raw_history(shell, "once", "/srv/data")
    assert re.findall(r'"attempt": ?(\d+)', history).count("2") == 1, (
        "another try was made, and one"
    )
    assert len(snapshots(server)) == 1 and says(server, "cat /srv/told") == "after"
    is_free_and_whole(server)
    told = [running.out, running.err, first.out, first.err, second.out, second.err]
    told += [history, says(server, "journalctl -q --no-pager")]
    told.append(says(server, "grep -rs . /run/converge /var/lib/converge/runs || :"))
    for text in told:
        for form in forms(PASSWORD):
            assert form not in text


def test_a_cancelled_one_ends_restic_gently_and_still_runs_what_comes_after(
    shell: Shell,
    server: Machine,
) -> None:
    worker(shell)
    running = begun(shell, server, "cancelled", limit=3_000)
    arguments = says(server, "cat /proc/$(pgrep -xo restic)/cmdline | tr '\\0' ' '")
    assert "backup" in arguments and PASSWORD not in arguments
    assert shell("runs", "cancel", "cancelled").status == DONE
    assert running.ends() == ENDED
    assert not at_work(server) and says(server, "ls /srv/repo/locks") == ""
    assert snapshots(server) == [] and says(server, "cat /srv/told") == "after"
    assert says(server, "systemctl list-units --no-legend 'converge-*' | wc -l") == "0"


def test_a_killed_restic_is_begun_again_and_its_lock_goes(
    shell: Shell,
    server: Machine,
) -> None:
    worker(shell)
    running = begun(shell, server, "killed")
    says(server, "pkill -KILL -x restic")
    assert running.ends() == DONE, running.err
    assert len(snapshots(server)) == 1
    is_free_and_whole(server)


def test_killed_again_and_again_it_has_failed_and_says_so_and_its_lock_goes(
    shell: Shell,
    server: Machine,
) -> None:
    worker(shell)
    running = begun(shell, server, "dead", tries=1)
    says(server, "pkill -KILL -x restic")
    assert running.ends() != DONE
    assert "restic was ended by signal 9" in running.out + running.err
    assert snapshots(server) == [] and says(server, "ls /srv/repo/locks") == ""


def test_after_a_power_cut_it_is_begun_again_and_the_lock_of_the_dead_one_goes(
    shell: Shell,
    server: Machine,
    backup_lab: Lab,
) -> None:
    worker(shell)
    running = begun(shell, server, "cut")
    # Before the cut: once the server is back, the next pass may remove it before anyone looks.
    lock = says(server, "ls /srv/repo/locks")
    backup_lab.kill(server)
    backup_lab.power_on(server)
    assert running.ends() == DONE, running.err
    assert lock != "" and len(snapshots(server)) == 1
    is_free_and_whole(server)


def test_locks_of_others_stay(shell: Shell, server: Machine) -> None:
    """Of a restic that somebody runs by hand on the same host, dead or alive, nothing is taken."""
    worker(shell)
    variables = f"RESTIC_PASSWORD='{PASSWORD}' RESTIC_CACHE_DIR=/var/cache/trial"
    says(
        server,
        f"{variables} restic -q -r /srv/repo init; systemd-run -q --unit by-hand -E HOME=/root"
        f" -E RESTIC_PASSWORD='{PASSWORD}' restic -r /srv/repo backup --limit-upload 50 /srv/data",
    )
    eventually(lambda: says(server, "ls /srv/repo/locks") != "", "it has its lock")
    theirs = says(server, "ls /srv/repo/locks")
    running = begun(shell, server, "beside")
    eventually(lambda: len(says(server, "ls /srv/repo/locks").split()) == 2, "both have one")
    says(server, "pkill -KILL -x restic; systemctl reset-failed by-hand 2>/dev/null || :")
    # Both are dead now. Which is ours is known; the other may be cleared only by who ran it.
    assert running.ends() == DONE, running.err
    assert theirs in says(server, "ls /srv/repo/locks")
