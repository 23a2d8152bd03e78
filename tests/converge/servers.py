"""How tests reach a lab server: as converge does, and by ssh beside it."""

from __future__ import annotations

import subprocess

from converge import Host
from lab import Machine


def host_of(machine: Machine, **more: object) -> Host:
    known = {"user": machine.user, "key": str(machine.key), "known_hosts": str(machine.known_hosts)}
    return Host(machine.address, **{**known, **more})  # type: ignore[arg-type]


def on(machine: Machine, command: str, check: bool = True) -> str:
    done = subprocess.run(
        machine.ssh_command(command), capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr + done.stdout
    return done.stdout.strip()
