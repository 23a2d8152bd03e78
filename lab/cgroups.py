"""The control group of each server: who belongs to it, killing all of it, freezing all of it.

Membership is inherited and cannot be lost, so it names a server's processes also
when whoever started them was killed before writing down a pid. Only the unified
hierarchy is used; on a hybrid machine (v1 controllers beside it) that is
/sys/fs/cgroup/unified, and it freezes and kills just the same (Linux 5.2 and 5.14).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from lab.errors import LabError

_PARENT = "temporal-lab"
_KILL_SECONDS = 20.0


def unified() -> Path | None:
    """Where cgroup v2 is mounted on this machine; None when it is not."""
    for candidate in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (candidate / "cgroup.procs").exists() and (candidate / "cgroup.controllers").exists():
            return candidate
    return None


def _hierarchy() -> Path:
    found = unified()
    if found is None:
        raise LabError("cgroup v2 is not mounted", do="mount it: see lab.missing()")
    return found


def lab_path(token: str) -> Path:
    return _hierarchy() / _PARENT / token


def machine_path(token: str, start: str) -> Path:
    """The group of one start of one server; `start` is unique to it, so a late child of an
    abandoned start can never walk into the group of the next."""
    return lab_path(token) / start


def create(path: Path) -> None:
    """Make the group `path` with the places a server's processes go to.

    `loop` holds the supervisor and `exec` what lab.exec runs; `box` stays free for
    systemd-nspawn, since a group that hands controllers on may hold no process itself.
    """
    path.mkdir(parents=True, exist_ok=True)
    for group in (path.parent.parent.parent, path.parent.parent, path.parent, path):
        _hand_on_controllers(group)
    for part in ("loop", "box", "exec"):
        (path / part).mkdir(exist_ok=True)


def _hand_on_controllers(group: Path) -> None:
    # A controller that cannot be handed on (v1 has it, or the kernel refuses) is not needed.
    for name in (group / "cgroup.controllers").read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError:
            continue


def _event(path: Path, name: str) -> bool:
    try:
        lines = (path / "cgroup.events").read_text().splitlines()
    except OSError:
        return False
    return f"{name} 1" in lines


def populated(path: Path) -> bool:
    """Does any process live in the group or below it?"""
    return _event(path, "populated")


def frozen(path: Path) -> bool:
    return _event(path, "frozen")


def processes(path: Path) -> list[int]:
    """Pids in the group and below it, as this machine counts them."""
    found: list[int] = []
    # Groups come and go meanwhile: os.walk passes over what has gone, Path.rglob raises.
    for folder, _, _ in os.walk(path):
        try:
            text = Path(folder, "cgroup.procs").read_text()
        except OSError:
            continue
        found += [int(line) for line in text.split() if line != "0"]
    return found


def freeze(path: Path, *, on: bool, timeout: float = 10.0) -> None:
    """Stop every process of the group in its tracks, or let them run on; returns when it is so.

    Raises:
        LabError: there is no such group (the server does not run), or the kernel took too long.
    """
    try:
        (path / "cgroup.freeze").write_text("1" if on else "0")
    except FileNotFoundError as error:
        raise LabError("it does not run, so it cannot be frozen or thawed") from error
    deadline = time.monotonic() + timeout
    while frozen(path) != on:
        if time.monotonic() > deadline:
            raise LabError(f"not {'frozen' if on else 'thawed'} within {timeout:g} s")
        time.sleep(0.005)


def kill(path: Path) -> None:
    """End every process of the group at once and wait until they are gone.

    Raises:
        LabError: some are still there after 20 s (stuck in the kernel).
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while populated(path):
        (path / "cgroup.kill").write_text("1")
        if time.monotonic() > deadline:
            raise LabError(
                f"processes {processes(path)} did not end within {_KILL_SECONDS:g} s",
                where=str(path),
                do="look at /proc/PID/stack of one of them",
            )
        time.sleep(0.005)


def end(path: Path) -> None:
    """Kill every process of the group and remove it, and its twin in a v1 hierarchy.

    Once it is gone no late child can join it any more. A group that is not there is fine.

    Raises:
        LabError: it is still there after 20 s.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while True:
        kill(path)
        try:
            # systemd-nspawn keeps a twin of the group in the v1 hierarchy named systemd.
            for top in (_hierarchy(), Path("/sys/fs/cgroup/systemd")):
                _remove_tree(top / path.relative_to(_hierarchy()))
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(
                    f"could not remove the control group: {error}", where=str(path)
                ) from error
            time.sleep(0.005)


def _remove_tree(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            if child.is_dir():
                _remove_tree(child)
        path.rmdir()


def forget_lab(token: str) -> None:
    """Remove the lab's empty group, and the one above all labs when it was the last."""
    end(lab_path(token))
    for top in (_hierarchy(), Path("/sys/fs/cgroup/systemd")):
        parent = top / _PARENT
        if parent.is_dir() and not any(child.is_dir() for child in parent.iterdir()):
            try:
                parent.rmdir()
            except OSError:
                continue  # another lab came in between: then it is not ours to remove
