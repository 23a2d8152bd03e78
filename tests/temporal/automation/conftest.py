"""Lab servers for the tests of this folder, and packages there that install when told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Lab, Machine
from lab.testing import (  # noqa: F401 - fixtures
    FreshServer,
    Servers,
    fresh_lab,
    lab_machines,
    machine,
    session_lab,
)
from tests.temporal.automation.clouds import cloud, whole_cloud  # noqa: F401 - fixtures
from tests.temporal.cli.support import Server, Shell

# What apt runs before it has dpkg install: notes that it came here, and waits to be let through.
GATE = """\
DPkg::Pre-Invoke { "echo came >> /root/gate.log; while [ ! -e /root/open ]; do sleep 0.1; done"; };
"""


def says(server: Machine, command: str) -> str:
    """What a shell command prints on a server, through its init, not through ssh."""
    done = Lab(server.lab).exec(server, ["sh", "-c", command])
    return done.stdout.strip()


@dataclass
class Gated:
    """A fresh server on which every installation waits at a gate."""

    machine: Machine

    def says(self, command: str) -> str:
        """What a shell command prints there."""
        return says(self.machine, command)

    def arrivals(self) -> int:
        return int(self.says("cat /root/gate.log 2>/dev/null | wc -l"))

    def open(self) -> None:
        self.says("touch /root/open")

    @property
    def spec(self) -> dict[str, object]:
        return {"lab": self.machine.name, "lab_name": self.machine.lab}


@pytest.fixture
def gated(machine: FreshServer) -> Gated:  # noqa: F811
    fresh = machine()
    Lab(fresh.lab).exec(fresh, ["sh", "-c", "cat >/etc/apt/apt.conf.d/99gate"], input=GATE)
    return Gated(fresh)


@pytest.fixture
def shared(lab_machines: Servers) -> Machine:  # noqa: F811
    """A server that all tests of this folder use; what each leaves there bears its own name."""
    return lab_machines(1)[0]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Commands and workers against a server of the test's own."""
    server = Server(tmp_path / "server")
    made = Shell(
        tmp_path,
        {
            "TEMPORAL_ADDRESS": server.address,
            "TEMPORAL_HEARTBEAT_EVERY": "0.25",
            "TEMPORAL_LOG_LEVEL": "DEBUG",
        },
    )
    try:
        yield made
    finally:
        made.end()
        server.close()
