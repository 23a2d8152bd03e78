"""examples/systemd on a real server, installed as docs/production.md says."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

import lab
from lab import Machine

pytestmark = [
    pytest.mark.lab,
    pytest.mark.soak,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]

from lab.testing import eventually, fresh_lab, machine  # noqa: E402, F401

ROOT = Path(__file__).parents[1]
COMMAND = "/opt/temporal-ops/.venv/bin/temporal-ops"
SLOW = """\
host: root@127.0.0.1
resources:
  - command: "echo began >>/root/log; sleep {seconds}; touch {done}"
    creates: {done}
"""


def sh(server: Machine, script: str, check: bool = True, given: bytes | None = None) -> str:
    done = subprocess.run(
        server.ssh_command(f"sh -c {shlex.quote(script)}"),
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert not check or done.returncode == 0, (done.stderr + done.stdout).decode()
    return done.stdout.decode().strip()


def documented(heading: str) -> str:
    """The commands below a heading of docs/production.md: what is told is what is tried."""
    text = (ROOT / "docs/production.md").read_text()
    (part,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in part.splitlines() if line.startswith("    ")]
    return "\n".join(line for line in lines if not line.startswith("TEMPORAL_"))


def tree() -> bytes:
    """What a checkout would hold, with what is not committed yet."""
    names = ["converge", "docs", "examples", "lab", "temporal", "tools"]
    names += ["LICENSE", "README.md", "pyproject.toml", "requirements.lock"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            archive.add(ROOT / name, name, filter=lambda i: None if "__pycache__" in i.name else i)
    return packed.getvalue()


def ready(server: Machine, port: int) -> bool:
    asked = (
        f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    )
    answer = sh(server, f"bash -c {shlex.quote(asked)} 2>/dev/null", check=False)
    return " 200 " in answer and '"ready": true' in answer


def shown(server: Machine, unit: str, name: str) -> str:
    return sh(server, f"systemctl show -p {name} --value {unit}")


def begin(server: Machine, name: str, seconds: int) -> None:
    """A run whose command takes that long on the host, and is under way when this returns."""
    spec = SLOW.format(seconds=seconds, done=f"/root/{name}")
    sh(server, f"rm -f /root/log; cat >/root/{name}.yml", given=spec.encode())
    sh(server, f"{COMMAND} run ProvisionServer -f /root/{name}.yml --id {name} --no-wait")
    eventually(lambda: sh(server, "cat /root/log", check=False) == "began", f"{name} runs", 60)


def finished(server: Machine, name: str) -> None:
    def status() -> str:
        told = json.loads(sh(server, f"{COMMAND} runs show {name} --json"))
        return str(told["run"]["status"])

    eventually(lambda: status() != "running", f"{name} ends", 120)
    assert status() == "completed"
    assert sh(server, "cat /root/log") == "began", "the host did it once"


def test_units_as_documented(machine) -> None:  # noqa: F811
    server = machine("bookworm")
    sh(server, "mkdir -p /opt/temporal-ops && tar -xC /opt/temporal-ops", given=tree())
    sh(server, "apt-get update -qq")
    sh(server, f"set -e; export DEBIAN_FRONTEND=noninteractive\n{documented('Install')}")
    sh(server, documented("One machine"))
    eventually(lambda: ready(server, 9233), "the service is ready", 60)
    assert sh(server, f"{COMMAND} run TestWorkflow --input '\"World\"'").endswith("Hello, World!")
    # Inputs of runs are in the database.
    assert sh(server, "stat -c '%U %a' /var/lib/temporal-ops") == "temporal-ops 700"
    assert sh(server, "stat -c %a /var/lib/temporal-ops/temporal.db") == "600"

    # It reaches servers by the key in its home.
    sh(
        server,
        "set -e; cd /var/lib/temporal-ops; mkdir -p -m 700 .ssh /root/.ssh\n"
        "ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519\n"
        "cat .ssh/id_ed25519.pub >>/root/.ssh/authorized_keys\n"
        "ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null >.ssh/known_hosts\n"
        "chown -R temporal-ops: .ssh",
    )
    # Stopped while it works: drains.
    begin(server, "drained", 8)
    sh(server, "systemctl stop temporal-ops")
    assert sh(server, "ls /root/drained")
    assert shown(server, "temporal-ops", "Result") == "success"
    assert "draining" in sh(server, "journalctl -u temporal-ops -o cat")
    assert sh(server, "pgrep -u temporal-ops", check=False) == ""
    sh(server, "systemctl start temporal-ops")
    eventually(lambda: ready(server, 9233), "ready again", 60)
    finished(server, "drained")

    # Killed while it works: comes back by itself, and the run with it.
    begin(server, "killed", 8)
    pid = shown(server, "temporal-ops", "MainPID")
    sh(server, f"kill -9 {pid}")
    eventually(
        lambda: shown(server, "temporal-ops", "MainPID") not in (pid, "0"), "started again", 60
    )
    eventually(lambda: ready(server, 9233), "ready after the kill", 60)
    finished(server, "killed")

    # A worker of its own against that server.
    sh(
        server,
        "mkdir -p /etc/temporal-ops; umask 077; cat >/etc/temporal-ops/all.env",
        given=b"TEMPORAL_ADDRESS=127.0.0.1:7233\nTEMPORAL_HEALTH_ADDRESS=127.0.0.1:9234\n",
    )
    sh(server, documented("Workers against a cluster"))
    eventually(lambda: ready(server, 9234), "the worker is ready", 60)
    sh(server, "kill -9 $(systemctl show -p MainPID --value temporal-ops-worker@all)")
    eventually(
        lambda: shown(server, "temporal-ops-worker@all", "NRestarts") == "1", "started again", 60
    )
    eventually(lambda: ready(server, 9234), "the worker is ready again", 60)
    sh(server, "systemctl stop temporal-ops-worker@all")
    assert shown(server, "temporal-ops-worker@all", "Result") == "success"
    logged = sh(server, "journalctl -u temporal-ops-worker@all -o cat").splitlines()
    records = [json.loads(line) for line in logged if line.startswith("{")]
    assert records and all({"time", "level", "logger", "message"} <= set(r) for r in records)
