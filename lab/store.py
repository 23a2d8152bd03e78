"""The lab's state folder: where things lie, and how to write and lock them so a crash is seen.

ROOT/base/RELEASE-DIGEST-TIME/   base images, read only once renamed into place
ROOT/debs/RELEASE/               packages that machines downloaded, for the next ones
ROOT/labs/NAME/lab.json          one lab: owner, subnet
ROOT/labs/NAME/{key,known_hosts} how to log in
ROOT/labs/NAME/machines/M/       one machine: machine.json, log, its disk
ROOT/locks/                      lock files, never deleted (deleting a held lock splits it)
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import LabError

DEFAULT_ROOT = Path("/var/lib/temporal-ops/lab")


def default_root() -> Path:
    """The state folder: TEMPORAL_LAB_ROOT, or the machine-wide one."""
    return Path(os.environ.get("TEMPORAL_LAB_ROOT") or DEFAULT_ROOT).absolute()


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Put `text` at `path` so that every reader sees the old whole or the new whole."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.rename(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`; None when there is no such file.

    Raises:
        LabError: the file is not a JSON object (files are written atomically, so
            somebody else wrote it).
    """
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise LabError(
            f"not a state file of the lab: {error}",
            where=str(path),
            do="run `down` on that lab, or remove the file",
        ) from error
    if not isinstance(value, dict):
        raise LabError("not a JSON object", where=str(path), do="remove the file")
    return value


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`; yields False when `wait` is off and somebody else holds it.

    The kernel drops the lock with the process that held it, so a kill -9 leaves none
    behind. The holder may delete the file: who waited on the deleted one then sees
    that it is not the one at `path` any more, and takes that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, kind)
            except BlockingIOError:
                yield False
                return
            if not _still_at(path, handle):
                continue
            yield True
            return
        finally:
            os.close(handle)


def _still_at(path: Path, handle: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
