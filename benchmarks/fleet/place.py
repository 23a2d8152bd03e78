"""A fleet of any size: the addresses of a lab server's loopback network, all answered by one sshd.

Every address in 127.0.0.0/8 is that server's own, so each is a host with an address, a line in
known_hosts and a connection of its own; that one machine answers for all of them is what makes ten
thousand affordable. Whoever goes there has to be in the server's network: `Place.inside` runs it so.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab import Lab, Machine, cgroups

PORT = 2222
A_ROW = 250
"""Hosts 127.1.ROW.1 to 127.1.ROW.250."""
MOST = 250 * A_ROW

# As a server's own, but for what belongs to one that stands for thousands: no session manager (PAM)
# that keeps a record of each login, and no bound on logins in progress.
_SSHD = f"""\
Port {PORT}
ListenAddress 0.0.0.0
PidFile none
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 10000
Subsystem sftp internal-sftp
"""
_START = """\
cat >/etc/ssh/fleet_config && mkdir -p /run/sshd
systemd-run --quiet --unit=fleet-sshd -p TasksMax=infinity /usr/sbin/sshd -D -f /etc/ssh/fleet_config
"""


@dataclass(frozen=True)
class Place:
    """The server, and how to get into its network."""

    lab: Lab
    machine: Machine
    init: int
    """Its first process, as this machine numbers it."""

    def inside(self, *argv: str) -> list[str]:
        """argv that runs a program of this machine in the server's network."""
        return ["nsenter", f"--net=/proc/{self.init}/ns/net", *argv]

    def cpu_seconds(self) -> float:
        """What everything on the server has used so far: sshd, and what it was told to run."""
        stat = (cgroups.lab_path(self.lab.token) / "cpu.stat").read_text()
        used = dict(line.split() for line in stat.splitlines())
        return int(used["usage_usec"]) / 1e6

    def sessions(self) -> int:
        """Connections that its sshd holds open now."""
        listed = f"ss -Htn state established '( sport = :{PORT} )' | wc -l"
        return int(self.lab.exec(self.machine, ["sh", "-c", listed]).stdout)

    def write(self, folder: Path, hosts: int) -> None:
        """known_hosts with a line for each host, an inventory, and a fleet spec that changes nothing
        where it holds already."""
        key = self.machine.known_hosts_line.split(maxsplit=1)[1]
        addresses = named(hosts)
        known = folder / "known_hosts"
        known.write_text("".join(f"[{address}]:{PORT} {key}\n" for address in addresses))
        where = {"user": "root", "port": PORT, "known_hosts": str(known)}
        inventory = {"connection": {**where, "key": str(self.machine.key)}, "hosts": addresses}
        (folder / "hosts.yml").write_text(json.dumps(inventory))
        (folder / "fleet.yml").write_text(
            json.dumps(
                {
                    "inventory": "hosts.yml",
                    "resources": [
                        {"package": "openssh-server"},
                        {"file": "/etc/fleet", "content": "one of many\n"},
                    ],
                }
            )
        )


def named(hosts: int) -> list[str]:
    """The addresses of so many hosts.

    >>> named(251)[-2:]
    ['127.1.0.250', '127.1.1.1']
    """
    if not 1 <= hosts <= MOST:
        raise ValueError(f"between 1 and {MOST} hosts, not {hosts}")
    return [f"127.1.{number // A_ROW}.{number % A_ROW + 1}" for number in range(hosts)]


@contextmanager
def place() -> Iterator[Place]:
    """A lab server of its own, its sshd listening, until the end of the block."""
    lab = Lab(f"fleet-{os.getpid()}-{secrets.token_hex(2)}", owner=os.getpid())
    try:
        (machine,) = lab.up(1)
        done = lab.exec(machine, ["sh", "-ec", _START], _SSHD)
        if done.returncode != 0:
            raise RuntimeError(f"sshd does not start: {done.stderr}")
        assert machine.pid is not None
        below = psutil.Process(machine.pid).children(recursive=True)
        init = next(each.pid for each in below if each.name() == "systemd")
        yield Place(lab, machine, init)
    finally:
        lab.down()
