"""Real throw-away servers on this machine, to try, test and measure on.

    from lab import Lab

    lab = Lab("trial")
    first, second = lab.up(2, release="bookworm", on_event=print)
    subprocess.run(first.ssh_command("systemctl", "is-system-running"))
    lab.down()

A server is a systemd-nspawn machine: its own systemd, sshd, apt, journal, address and
disk (an overlay on a base image that is built once). It is no security boundary: root
inside is root of this machine with fewer capabilities.
"""

from __future__ import annotations

from lab.collecting import gc
from lab.errors import LabError, LabMissing
from lab.labs import Lab
from lab.machine import Machine
from lab.needs import missing

__all__ = ["Lab", "LabError", "LabMissing", "Machine", "gc", "missing"]
