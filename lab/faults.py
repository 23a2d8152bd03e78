"""What can go wrong with a server, on demand. Power cuts are Lab.kill and Lab.power_on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lab import cgroups, network
from lab.commands import run
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


def _space(record: Record, folder: Path) -> Path:
    """The server's own file system, seen through its supervisor, who alone has it mounted."""
    process = _alive(record).process
    if not record.disk_mib or process is None:
        raise LabError(
            "the server's disk has no bound, so filling it would fill this machine's",
            where=record.name,
            do="start it with add(disk_mib=...)",
        )
    return Path(f"/proc/{process.pid}/root{folder}/space")


def fill_disk(record: Record, folder: Path, *, keep: int = 0) -> None:
    space = _space(record, folder)
    # What the server wrote and the kernel did not place yet would find no room afterwards.
    run(["sync", "-f", str(space)], where=record.name)
    with (space / "ballast").open("ab") as ballast:
        size, step = ballast.tell(), 2**28
        while step >= 512:
            try:
                os.posix_fallocate(ballast.fileno(), size, step)
                size += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
        ballast.truncate(max(0, size - keep))
        os.fsync(ballast.fileno())


def empty_disk(record: Record, folder: Path) -> None:
    (_space(record, folder) / "ballast").unlink(missing_ok=True)
