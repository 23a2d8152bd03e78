"""Write hosts into an inventory, and remove them: a folder with one file for each, on this machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from temporalio import activity

from temporal.activities.automation.hosts import open_host
from temporal.shared import Permanent, Retryable, options
from temporal.shared.specs.automation.creating import RegisterHost
from temporal.shared.specs.automation.hosts import HostSpec

HEADER = "# Written by temporal-ops; DecommissionServer removes it.\n"


@activity.defn
@options(start_to_close=timedelta(minutes=1))
async def register_host(request: RegisterHost) -> str:
    """The file in which the host now stands; the same when it stood there already.

    Raises:
        Permanent: the folder is a file, or the host's file is somebody else's.
        Retryable: it could not be written.
    """
    assert request.host is not None
    path = _path(request)
    host = await _by_address(request.host)
    text = HEADER + entry(request.name, host, request.groups)
    await asyncio.to_thread(_write, path, text)
    return str(path)


@activity.defn
@options(start_to_close=timedelta(minutes=1))
async def forget_host(request: RegisterHost) -> str | None:
    """The file that was removed; None if there was none.

    Raises:
        Permanent: the host's file is somebody else's.
        Retryable: it could not be removed.
    """
    path = _path(request)
    return str(path) if await asyncio.to_thread(_remove, path) else None


def entry(name: str, host: HostSpec, groups: tuple[str, ...]) -> str:
    """A host as an inventory of ours has it, in YAML."""
    given: dict[str, Any] = host.model_dump(exclude_defaults=True, exclude={"alias", "lab_name"})
    if not groups:
        return yaml.safe_dump({"hosts": {name: given}}, sort_keys=False)
    first, *more = groups
    members = {first: {"hosts": {name: given}}, **{each: {"hosts": [name]} for each in more}}
    return yaml.safe_dump({"groups": members}, sort_keys=False)


async def _by_address(spec: HostSpec) -> HostSpec:
    """An inventory knows the servers of the default lab by name, and others by their address."""
    if not spec.lab or spec.lab_name == "default":
        return spec
    host = await open_host(spec)
    fields = host.model_dump(include={"address", "user", "port", "key", "known_hosts"})
    return HostSpec(alias=spec.alias, **fields)


def _path(request: RegisterHost) -> Path:
    folder = Path(request.inventory)
    if not folder.is_absolute():
        raise Permanent(
            f"inventory {folder} must be an absolute path: it is on the worker's machine"
        )
    return folder / f"{request.name}.yml"


def _write(path: Path, text: str) -> None:
    if path.parent.exists() and not path.parent.is_dir():
        raise Permanent(
            f"{path.parent} is a file that somebody keeps: name a folder, in which each server gets a"
            " file of its own. An inventory may be a folder, so the other file can move there"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _ours(path) and path.read_text() == text:
            return
        # A leading dot: who reads the folder meanwhile passes it over.
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror} (on the worker's machine)") from None


def _remove(path: Path) -> bool:
    try:
        if not _ours(path):
            return False
        path.unlink()
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror} (on the worker's machine)") from None


def _ours(path: Path) -> bool:
    """Is it there? Raises Permanent if somebody else wrote it."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return False
    if not text.startswith(HEADER):
        raise Permanent(f"{path} was not written by temporal-ops, so it is left alone")
    return True
