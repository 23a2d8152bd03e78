"""Which process is meant: a pid alone is recycled, a pid with its start time is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot of this machine.

    `started` is the kernel's start time in clock ticks since boot (field 22 of
    /proc/PID/stat, proc(5)); `boot` is /proc/sys/kernel/random/boot_id.
    """

    pid: int
    started: int
    boot: str

    def as_json(self) -> dict[str, int | str]:
        return {"pid": self.pid, "started": self.started, "boot": self.boot}

    @staticmethod
    def from_json(value: dict[str, object]) -> ProcessId:
        return ProcessId(int(str(value["pid"])), int(str(value["started"])), str(value["boot"]))


def parse_stat(stat: str) -> tuple[str, int] | None:
    """State letter and start time out of a /proc/PID/stat line; None if it is not one.

    The command name (field 2) is in parentheses and may itself hold spaces and
    parentheses, so fields are counted from the last `)`.
    """
    _, closed, rest = stat.rpartition(")")
    fields = rest.split()
    if not closed or len(fields) < 20 or not fields[19].isdigit():
        return None
    return fields[0], int(fields[19])


def same_process(wanted: ProcessId, stat: str | None, boot: str) -> bool:
    """Is what now runs under `wanted.pid` still the process that was meant, and alive?

    Args:
        stat: the text of /proc/PID/stat now; None when there is no such process.
        boot: this boot's id.
    """
    found = parse_stat(stat) if stat is not None else None
    if found is None or boot != wanted.boot:
        return False
    state, started = found
    return started == wanted.started and state not in "ZX"


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> str | None:
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None


def identify(pid: int) -> ProcessId | None:
    """The identity of the process that runs under `pid` now; None when there is none."""
    stat = _stat(pid)
    found = parse_stat(stat) if stat is not None else None
    return None if found is None else ProcessId(pid, found[1], boot_id())


def alive(process: ProcessId) -> bool:
    """Does exactly this process still run (not a zombie, not another under its pid)?"""
    return same_process(process, _stat(process.pid), boot_id())
