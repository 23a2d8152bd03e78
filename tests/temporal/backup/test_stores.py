"""The servers that tests keep repositories on: real restic writes to each kind and reads it again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Lab, Machine
from lab.testing import eventually
from tests.temporal.backup.stores import MIB, Store, Stores
from tests.temporal.support import ROOT

pytestmark = pytest.mark.lab

Make = Callable[[Stores], Store]
KINDS: dict[str, Make] = {
    "s3": lambda stores: stores.s3(),
    "rest": lambda stores: stores.rest(),
    "rest with a password": lambda stores: stores.rest(user="ada"),
    "sftp": lambda stores: stores.sftp(),
}
# A test of its own that starts a server, says where it is and who holds it, and is killed.
HOLDER = """
import sys, time
from pathlib import Path
from tests.temporal.backup.stores import MIB, Stores
stores = Stores(Path(sys.argv[1]), sys.argv[2])
for one in (stores.s3(limit=32 * MIB), stores.sftp(limit=32 * MIB)):
    print(one.port, *one.pids(), flush=True)
print("all", flush=True)
time.sleep(600)
"""


@pytest.fixture
def server(backup_lab: Lab) -> Machine:
    return backup_lab.up(1)[0]


@pytest.fixture
def stores(server: Machine, tmp_path: Path) -> Iterator[Stores]:
    with Stores(tmp_path / "stores", server) as made:
        yield made


class Host:
    """restic on a lab server, told of one store."""

    def __init__(self, lab: Lab, server: Machine, store: Store) -> None:
        self.lab, self.server = lab, server
        self.home = f"/root/{store.folder.name}"
        given = {
            **store.variables,
            "RESTIC_REPOSITORY": store.secret_url,
            "RESTIC_PASSWORD": "open",
        }
        lines = [f"export {name}='{value}'" for name, value in given.items()]
        option = ""
        if store.key is not None:
            self.write(f"{self.home}/key", store.key.read_text())
            self.write(f"{self.home}/known_hosts", store.known_hosts_line + "\n")
            command = store.sftp_command(f"{self.home}/key", f"{self.home}/known_hosts")
            option = f' -o sftp.command="{command}"'
        lines.append(f'restic() {{ timeout ${{RESTIC_WAIT:-60}} restic{option} "$@"; }}')
        self.write(f"{self.home}/given", "\n".join([*lines, f"cd {self.home}\n"]))

    def write(self, path: str, text: str) -> None:
        made = f"umask 077 && mkdir -p {self.home} && cat >{path}"
        self.lab.exec(self.server, ["sh", "-c", made], input=text)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.lab.exec(
            self.server, ["sh", "-c", f". {self.home}/given\n{script}"], timeout=120
        )


def open_port(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((address, port)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_can_be_read_again(
    kind: str, backup_lab: Lab, server: Machine, stores: Stores
) -> None:
    store = KINDS[kind](stores)
    host = Host(backup_lab, server, store)
    done = host.run(
        "mkdir source && head -c 3000000 /dev/urandom >source/big && echo small >source/small\n"
        "restic init && restic backup source && restic check && "
        "restic restore latest --target back && diff -r source back/source && echo the same"
    )
    assert done.stdout.endswith("the same\n"), done.stdout + done.stderr
    assert len(list((store.repository / "snapshots").iterdir())) == 1
    assert store.secret_url in (store.url, store.url.replace("//", f"//ada:{store.password}@"))


def test_nobody_is_let_in_without_what_it_asks_for(
    backup_lab: Lab, server: Machine, stores: Stores
) -> None:
    def said(store: Store, script: str) -> str:
        done = Host(backup_lab, server, store).run(script)
        assert done.returncode, done.stdout
        return done.stderr

    assert "signature" in said(stores.s3(), "AWS_SECRET_ACCESS_KEY=wrong restic init")
    rest = stores.rest(user="ada")
    assert "401" in said(rest, f"RESTIC_REPOSITORY={rest.url} restic init")
    sftp = stores.sftp()
    other = stores.sftp()
    sftp.key = other.key
    said(sftp, "restic init")  # what ssh says of it is lost now and then
    assert "Accepted" not in sftp.log()


def test_an_append_only_server_keeps_what_it_has(
    backup_lab: Lab, server: Machine, stores: Stores
) -> None:
    host = Host(backup_lab, server, stores.rest(append_only=True))
    host.run("mkdir source; restic init && restic backup source")
    done = host.run("RESTIC_WAIT=8 restic forget latest")  # it would try ten times
    found = host.run("restic snapshots --json --no-lock | grep -c short_id")
    assert "403" in done.stderr and found.stdout == "1\n", done.stderr + found.stderr


@pytest.mark.parametrize("kind", ["s3", "rest", "sftp"])
def test_a_bounded_store_is_full_and_takes_more_once_it_has_room(
    kind: str, backup_lab: Lab, server: Machine, stores: Stores
) -> None:
    store = {"s3": stores.s3, "rest": stores.rest, "sftp": stores.sftp}[kind](limit=8 * MIB)
    host = Host(backup_lab, server, store)
    assert host.run("restic init").returncode == 0
    host.run("mkdir source && head -c 20000000 /dev/urandom >source/big")
    full = host.run("RESTIC_WAIT=5 restic backup source || true; restic snapshots --json --no-lock")
    assert full.stdout.rstrip().endswith("[]"), full.stdout + full.stderr
    assert store.used() <= 8 * MIB
    store.resize(64 * MIB)
    done = host.run("restic backup source && restic snapshots --json --no-lock")
    assert '"short_id"' in done.stdout, done.stdout + done.stderr


def test_a_stopped_server_is_the_same_when_it_starts_again(
    backup_lab: Lab, server: Machine, stores: Stores
) -> None:
    store = stores.rest()
    host = Host(backup_lab, server, store)
    assert host.run("restic init").returncode == 0
    store.stop()
    assert not open_port(store.address, store.port)
    store.start()
    assert host.run("restic cat config --no-lock").returncode == 0
    store.freeze()
    started = time.monotonic()
    host.run("RESTIC_WAIT=2 restic cat config --no-lock")
    assert time.monotonic() - started > 1.9, "a frozen server does not answer"
    store.thaw()
    assert host.run("restic cat config --no-lock").returncode == 0


def test_what_is_removed_behind_its_back_is_missed(
    backup_lab: Lab, server: Machine, stores: Stores
) -> None:
    store = stores.s3()
    host = Host(backup_lab, server, store)
    assert host.run("mkdir source; restic init && restic backup source").returncode == 0
    for one in (store.repository / "snapshots").iterdir():
        one.unlink()
    store.notice()
    assert host.run("restic snapshots --json").stdout.strip() == "[]"


def test_none_outlives_its_test_even_one_that_is_killed(server: Machine, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "held"), server.address],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    said = [line.split() for line in iter(holder.stdout.readline, "all\n")]
    address = Stores(tmp_path, server).address
    pids = [int(pid) for _port, *found in said for pid in found]
    assert len(said) == 2 and len(pids) >= 2
    assert all(open_port(address, int(port)) for port, *_ in said)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    eventually(
        lambda: (
            not any(Path(f"/proc/{pid}").exists() for pid in pids)
            and not any(open_port(address, int(port)) for port, *_ in said)
        ),
        "the servers have ended with the test that started them",
    )
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_a_server_listens_where_the_lab_is_and_nowhere_else(stores: Stores) -> None:
    store = stores.rest()
    found = subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True).stdout
    listening = {line.split()[3] for line in found.splitlines()}
    assert f"{store.address}:{store.port}" in listening
    assert not {f"0.0.0.0:{store.port}", f"*:{store.port}", f"[::]:{store.port}"} & listening
