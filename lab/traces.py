"""What one lab shows on this machine: the proof that nothing of it is left."""

from __future__ import annotations

import os
from pathlib import Path

from lab.commands import run
from lab.labs import Lab


def traces(lab: Lab) -> dict[str, list[str]]:
    """Everything of one lab that this machine shows now, by kind; empty lists: nothing.

    Only what bears the lab's token or folder is looked at, since other labs may come
    and go on this machine meanwhile.
    """
    marks = (lab.token, f"{lab.folder}/")
    mounts, processes = set(), []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
            mountinfo = (process / "mountinfo").read_text(errors="replace")
            group = (process / "cgroup").read_text()
        except OSError:
            continue
        if f"/{lab.token}/" in group or any(mark in command for mark in marks):
            processes.append(f"{process.name} {command[:80]}")
        mounts |= {line for line in mountinfo.splitlines() if any(mark in line for mark in marks)}
    top = Path("/sys/fs/cgroup")
    groups = [one / "temporal-lab" / lab.token for one in (top, *top.iterdir())]
    links = [path.name for path in Path("/sys/class/net").iterdir() if lab.token in path.name]
    tables = [line for line in run(["nft", "list", "tables"]).splitlines() if lab.token in line]
    addresses = run(["ip", "-o", "address"]).splitlines()
    files = [lab.folder, lab.root / "locks" / f"lab-{lab.name}"]
    files += Path("/run/temporal-lab").glob(f"{lab.token}*")
    files += Path("/run/systemd/nspawn").glob(f"*/{lab.token}*")
    return {
        "mounts": sorted(mounts),
        "processes": processes,
        "groups": [str(path) for path in groups if path.exists()],
        "links": links,
        "tables": tables,
        "addresses": [line for line in addresses if lab.token in line],
        "files": [str(path) for path in files if path.exists()],
    }


def nothing_left(lab: Lab) -> bool:
    return not any(traces(lab).values())
