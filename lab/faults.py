"""What can go wrong with a server, on demand. Power cuts are Lab.kill and Lab.power_on."""

from __future__ import annotations

from lab import cgroups, network
from lab.errors import LabError
from lab.machine import Record


def _alive(record: Record) -> Record:
    if record.state() == "dead":
        raise LabError(
            "the server does not run", where=record.name, do="start it with up or power_on"
        )
    return record


def freeze(record: Record) -> None:
    cgroups.freeze(_alive(record).group(), on=True)


def thaw(record: Record) -> None:
    cgroups.freeze(_alive(record).group(), on=False)


def cut_network(record: Record) -> None:
    network.set_link(record.token, _alive(record).number, up=False)


def restore_network(record: Record) -> None:
    network.set_link(record.token, _alive(record).number, up=True)
