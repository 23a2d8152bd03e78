"""Starting a server and knowing when it is up.

Each server has one small shell as its supervisor, in a session and a mount
namespace of its own: it outlives whoever started it, restarts systemd-nspawn when
the server reboots itself, and its overlay mount goes when it goes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

from lab import cgroups
from lab.commands import attempt, run
from lab.errors import LabError
from lab.machine import Machine, Record
from lab.network import bridge_name
from lab.processes import ProcessId, alive, identify

READY_SECONDS = 90.0
# systemd-nspawn ends with this status when the server asked for a reboot (--keep-unit).
_SCRIPT = """\
set -eu
group=$1 folder=$2 base=$3 machine=$4 bridge=$5
echo 0 >"$group/loop/cgroup.procs"
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=0755,size=1m lab /run/systemd/nspawn
top=$folder
if [ -f "$folder/disk.img" ]; then
  mount -t ext4 -o loop "$folder/disk.img" "$folder/space"
  top=$folder/space
fi
mount -t overlay lab "$folder/root" \\
  -o "lowerdir=$folder/cache:$base,upperdir=$top/upper,workdir=$top/work"
while :; do
  status=0
  # The kernel takes the cable of a server that has ended away in its own time.
  ip link delete "vb-$machine" 2>/dev/null || :
  (
    echo 0 >"$group/box/cgroup.procs" &&
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --settings=no --boot \\
      --directory="$folder/root" --machine="$machine" --network-bridge="$bridge" \\
      --keep-unit --register=no --link-journal=no --resolv-conf=off --timezone=off \\
      --console=read-only --suppress-sync=yes --rlimit=NOFILE=1024:524288 systemd.show_status=1
  ) || status=$?
  [ "$status" -eq 133 ] || exit "$status"
  echo "lab: the server reboots"
done
"""
# The shell that starts the supervisor says its pid and is gone, so nobody is left with a
# zombie to reap. `setsid` and `unshare` replace themselves: the pid is the supervisor's.
_LAUNCH = """\
log=$1; shift
setsid unshare --mount sh -c "$@" </dev/null >>"$log" 2>&1 &
echo $!
"""


def launch(record: Record, folder: Path) -> ProcessId | None:
    """Start the server whose disk lies in `folder`; returns its supervisor.

    None when that ended at once: `await_ready` then tells why.
    """
    cgroups.create(record.group())
    words = [
        *("sh", "-c", _LAUNCH, "lab", str(folder / "log"), _SCRIPT, f"lab-{record.name}"),
        *(str(record.group()), str(folder), record.base),
        *(f"{record.token}-{record.number}", bridge_name(record.token)),
    ]
    return identify(int(run(words, where=record.name)))


def log_tail(log: Path, lines: int = 20) -> str:
    """The end of a server's console, without the colours."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    plain = "".join(part for part in _without_escapes(text) if part.isprintable() or part == "\n")
    return "\n".join(line.rstrip() for line in plain.splitlines()[-lines:])


def _without_escapes(text: str) -> str:
    out, position = [], 0
    while (start := text.find("\x1b[", position)) >= 0:
        out.append(text[position:start])
        end = start + 2
        while end < len(text) and not "@" <= text[end] <= "~":
            end += 1
        position = end + 1
    return "".join(out) + text[position:]


def _banner(address: str, port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection((address, port), timeout=1.0) as connection,
    ):
        connection.settimeout(5.0)
        return connection.recv(4) == b"SSH-"
    return False


def await_ready(
    record: Record,
    machine: Machine,
    *,
    give_up: threading.Event,
    seconds: float = READY_SECONDS,
) -> str:
    """Wait until the server answers ssh and has booted; returns systemd's word on it.

    That word is "running", or "degraded" when a unit failed.

    Raises:
        LabError: it ended, or did not answer in time, or refused our key; holds the end
            of its console.
    """
    deadline = time.monotonic() + seconds

    def failed(what: str, proof: str = "") -> LabError:
        return LabError(
            what,
            where=f"{machine.lab}/{machine.name}",
            do=f"read {machine.log}",
            details=proof or log_tail(machine.log),
        )

    joined = False
    while not _banner(machine.address, machine.port):
        joined = joined or cgroups.populated(record.group())
        process = record.process
        if joined and not cgroups.populated(record.group()):
            raise failed("it ended while it booted")
        if not joined and (process is None or not alive(process)):
            # Gone before it joined its group, or so quickly that we never saw it there.
            raise failed("its supervisor ended at once")
        if time.monotonic() > deadline:
            raise failed(f"no ssh answer within {seconds:g} s")
        if give_up.wait(0.03):
            raise failed("given up, since another server failed or the run was interrupted")
    left = max(5.0, deadline - time.monotonic())
    done = attempt(machine.ssh_command("systemctl is-system-running --wait"), timeout=left)
    word = done.stdout.strip()
    if done.returncode == 255 or not word:
        raise failed("sshd answers but did not let us in", done.stderr)
    return word


def stop(record: Record) -> None:
    """End the server at once, as a power cut would, and remove its control group."""
    cgroups.end(record.group())
