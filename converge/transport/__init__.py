"""Ways to a host. A transport runs one command, feeds it bytes and hands back what it prints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from converge.host import Host
from converge.transport.uploads import Upload


@dataclass(frozen=True)
class Exit:
    status: int | None
    """None: it ended by a signal."""
    stderr: bytes
    """Its last 64 KiB."""


class Process(Protocol):
    """A command that runs. Leaving its context ends it here, and only here."""

    async def send(self, data: bytes, *, eof: bool = False) -> None:
        """Write to standard input. Does not fail if nobody reads any more."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Standard output as it comes. Raises ConnectionLost."""

    async def wait(self) -> Exit: ...


class Transport(Protocol):
    def run(self, command: str) -> AbstractAsyncContextManager[Process]:
        """Runs `command` in the user's shell. Raises ConnectError."""

    async def upload(self, uploads: Sequence[Upload]) -> dict[str, str]:
        """SHA-256 of each -> the absolute path where it now lies on the host, whole and checked.

        Readable for the login user and root. Whoever takes a file from there removes it; what is
        left goes after a day. Raises ConnectError, HostFailed, HostUnsupported.
        """

    async def renew(self) -> None:
        """What comes next goes over a new connection: proof that the host still lets us in.

        What runs over the old one keeps it.
        """


def transport_for(host: Host) -> Transport:
    # Imported here: asyncssh takes a quarter of a second, and workflows import our types.
    if host.transport == "local":
        from converge.transport.local import LocalTransport

        return LocalTransport(host.state_dir)
    from converge.transport.ssh import SSHTransport

    return SSHTransport(host)


async def close() -> None:
    """Closes pooled connections of this event loop, if there are any."""
    import sys

    if "converge.transport.ssh" in sys.modules:
        from converge.transport.ssh import close_pool

        await close_pool()
