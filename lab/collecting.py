"""Cleaning up after processes that died: nothing here touches what somebody still uses."""

from __future__ import annotations

from pathlib import Path

from lab import base, disk, registry
from lab.errors import LabError
from lab.labs import Lab, valid_name
from lab.needs import missing
from lab.processes import alive
from lab.remains import remove_remains
from lab.store import default_root, locked


def gc(root: Path | str | None = None) -> list[str]:
    """Remove what dead processes left on this machine; returns what was removed, for people.

    That is: labs whose owner is dead, kernel objects of labs whose state folder was
    deleted, replaced base images, and packages beyond the pool's limit.
    """
    root = Path(root).absolute() if root else default_root()
    if missing(root):
        return []  # nothing can have been started here, and the tools to look are not there
    removed = []
    folder = root / "labs"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not valid_name(path.name):
            continue  # not a lab's: somebody else put it there
        try:
            lab = Lab(path.name, root=root)
            owner = lab.owner()
            if owner is None or alive(owner):
                continue
            names = lab.down()
            removed.append(f"lab {lab.name} of the dead process {owner.pid} ({len(names)} servers)")
        except LabError as error:
            # One broken lab must not keep the others from being cleaned.
            removed.append(f"not removed: lab {path.name}: {error}")
    for entry in registry.entries():
        if not (entry.root / "labs" / entry.name).exists():
            lock = entry.root / "locks" / f"lab-{entry.name}"
            with locked(lock, wait=False) as mine:
                if mine and not (entry.root / "labs" / entry.name).exists():
                    remove_remains(entry.token)
                    registry.unregister(entry.token)
                    lock.unlink(missing_ok=True)
                    removed.append(f"what lab {entry.name} left (its state folder is gone)")
    removed += [f"base image {name}" for name in base.collect(root)]
    for pool in (root / "debs").glob("*"):
        disk.trim(pool)
    return removed
