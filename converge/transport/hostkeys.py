"""Which host keys are believed. Strict: a key not on record is refused unless the host says otherwise,
and a changed one always."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

from converge.errors import ConnectError, HostKeyChanged, HostKeyUnknown
from converge.transport.routes import Route

Match = tuple[Any, ...]
"""As asyncssh has it: host keys, CA keys, revoked keys, then the same of X.509."""
_NONE: Match = ((), (), (), (), (), (), ())


class HostKeys(asyncssh.SSHClient):
    """Decides on the keys of one host, and remembers why it said no."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self.verdict: ConnectError | None = None

    def match(self, host: str, addr: str, port: int | None) -> Match:
        """Called by asyncssh with the port only if it is not 22."""
        return self._known(host, addr, port)

    @property
    def algorithms(self) -> list[str]:
        """What can be verified comes first, as ssh does: a second key of the host, of a kind that
        nobody wrote down, would look like a changed one."""
        port = self._route.port if self._route.port != 22 else None
        known = self._known(self._route.known_name, "", port)
        plain = [name.decode() for name in get_default_public_key_algs()]
        certified = [name.decode() for name in get_default_certificate_algs()]
        kept = {name.decode() for key in known[0] for name in key.sig_algorithms}
        first = [name for name in plain if name in kept]
        rest = [name for name in plain if name not in kept]
        return [*certified, *first, *rest] if known[1] else [*first, *rest, *certified]

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Only asked when the key is not among the known ones."""
        where = self._route.host.name
        fingerprint = f"{key.get_algorithm()} {key.get_fingerprint()}"
        path = self._route.writes
        if self._known(host, addr, port if port != 22 else None)[0]:
            self.verdict = HostKeyChanged(
                f"shows another host key ({fingerprint}) than {self._names} has on record. Either"
                " it was set up anew, then remove the old line, or somebody is in between",
                host=where,
            )
            return False
        if self._route.host.host_keys == "accept-new":
            name = host if port == 22 else f"[{host}]:{port}"
            try:
                _append(path, f"{name} {key.export_public_key().decode().strip()}\n")
            except OSError as error:
                self.verdict = HostKeyUnknown(
                    f"its host key is new and cannot be written to {path}: {error.strerror}",
                    host=where,
                )
                return False
            return True
        self.verdict = HostKeyUnknown(
            f"its host key ({fingerprint}) is not in {self._names}: add it, or set"
            " host_keys='accept-new' to take the key of a host not seen before",
            host=where,
        )
        return False

    @property
    def _names(self) -> str:
        there = [path for path in self._route.known_hosts if Path(path).is_file()]
        return " or ".join(there or self._route.known_hosts[:1])

    def _known(self, host: str, addr: str, port: int | None) -> Match:
        try:
            files = tuple(
                (path, found.st_mtime_ns, found.st_size)
                for path in self._route.known_hosts
                if (found := _stat(path)) is not None
            )
            return tuple(_read(files).match(host, addr, port)) if files else _NONE
        except (OSError, ValueError) as error:
            raise HostKeyUnknown(
                f"{self._names} cannot be read: {error}", host=self._route.host.name
            ) from None


def _stat(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None


Files = tuple[tuple[str, int, int], ...]
"""Path, time of change in nanoseconds and size of each."""


@dataclass(frozen=True)
class _Kept:
    files: Files
    texts: tuple[bytes, ...]
    keys: asyncssh.SSHKnownHosts

    def added(self, texts: tuple[bytes, ...]) -> str | None:
        """The lines that have been added since, if nothing else was changed."""
        added = b""
        for before, now in zip(self.texts, texts, strict=True):
            if not now.startswith(before) or (before != now and before[-1:] not in (b"", b"\n")):
                return None
            added += now[len(before) :] + b"\n"
        return added.decode()


_kept: dict[tuple[str, ...], _Kept] = {}
MOST_KEPT = 16


def _read(files: Files) -> asyncssh.SSHKnownHosts:
    """A fleet shares one file of thousands of lines: read once as long as it stays the same. One to
    which each new host adds its line is not read from the beginning for each of them."""
    paths = tuple(path for path, _, _ in files)
    kept = _kept.get(paths)
    if kept is not None and kept.files == files:
        return kept.keys
    texts = tuple(Path(path).read_bytes() for path in paths)
    _kept.pop(paths, None)  # not there any more, if a line is refused
    added = kept.added(texts) if kept is not None else None
    if kept is not None and added is not None:
        keys = kept.keys
        keys.load(added)
    else:
        keys = asyncssh.import_known_hosts(b"\n".join(texts).decode())
    _kept[paths] = _Kept(files, texts, keys)
    while len(_kept) > MOST_KEPT:
        del _kept[next(iter(_kept))]
    return keys


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # One write with O_APPEND: several hosts may be new at a time, also to other processes.
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
        os.write(descriptor, (line if whole else f"\n{line}").encode())
    finally:
        os.close(descriptor)
