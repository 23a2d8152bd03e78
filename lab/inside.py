"""Running a command inside a server without ssh, by entering its namespaces."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import cgroups
from lab.commands import PATH, environment
from lab.errors import LabError
from lab.machine import Record

# The shell joins the server's control group first, so that freezing or killing the server
# freezes or kills what is run here as well.
_ENTER = """\
group=$1 init=$2; shift 2
echo 0 >"$group/cgroup.procs" && exec nsenter --target "$init" \\
  --mount --uts --ipc --net --pid --cgroup -- "$@"
"""


def init_pid(record: Record) -> int | None:
    """The server's PID 1 as this machine numbers it; None when it has none."""
    for pid in cgroups.processes(record.group() / "box"):
        try:
            status = Path(f"/proc/{pid}/status").read_text(errors="replace")
        except OSError:
            continue
        for line in status.splitlines():
            # NSpid (proc(5)): the pid in each nested pid namespace, innermost last.
            if line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2:
                return pid
    return None


def execute(
    record: Record, argv: Sequence[str], input: str | None, *, timeout: float
) -> subprocess.CompletedProcess[str]:
    if not argv:
        raise LabError("no command given", where=record.name)
    init = init_pid(record)
    if init is None:
        raise LabError(
            "the server does not run", where=record.name, do="start it with up or power_on"
        )
    group = record.group() / "exec" / secrets.token_hex(4)
    group.mkdir()
    clean = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", *argv]
    try:
        return subprocess.run(
            ["sh", "-c", _ENTER, "lab-exec", str(group), str(init), *clean],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=environment(),
            cwd="/",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"`{' '.join(argv)}` did not end within {timeout:g} s", where=record.name
        ) from error
    finally:
        # nsenter's child outlives it when only nsenter is killed: end the whole group.
        cgroups.end(group)
