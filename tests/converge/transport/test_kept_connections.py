"""How many unused connections stay open: a real ssh server in this process, at many addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from converge import Host
from converge.transport import pool as pools
from converge.transport import transport_for
from converge.transport.pool import pool
from tests.converge.transport.sshd import free_port

KEPT = 5


class Server(asyncssh.SSHServer):
    """Lets everybody in, and counts who is."""

    now = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        Server.now += 1

    def connection_lost(self, exc: Exception | None) -> None:
        Server.now -= 1

    def begin_auth(self, username: str) -> bool:
        return False


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Host]]:
    """Twenty hosts, each an address of its own."""
    monkeypatch.setattr(pools, "KEPT", KEPT)
    Server.now = 0
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def answer(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write("in\n")
        process.exit(0)

    addresses: Any = [f"127.0.9.{n}" for n in range(1, 21)]
    port = free_port()
    server = await asyncssh.listen(
        addresses, port, server_factory=Server, server_host_keys=[key], process_factory=answer
    )
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.9.*]:{port} {key.export_public_key().decode()}")
    yield [
        Host(each, user="root", port=port, known_hosts=str(known), ssh_config="none")
        for each in addresses
    ]
    server.close()
    await server.wait_closed()


async def says(host: Host) -> str:
    async with transport_for(host).run("true") as process:
        said = b"".join([data async for data in process.chunks()])
        await process.wait()
    return said.decode().strip()


async def test_of_many_hosts_few_connections_stay_and_the_last_ones(fleet: list[Host]) -> None:
    assert await asyncio.gather(*(says(host) for host in fleet)) == ["in"] * 20
    assert len(pool().slots) == len(pool().unused) == KEPT
    while pool().ending:
        await asyncio.gather(*pool().ending)
    async with asyncio.timeout(10):
        while Server.now > KEPT:  # noqa: ASYNC110 - the server hears of it a moment later
            await asyncio.sleep(0.01)
    # One that is used again is the last to go, and one in use does not count.
    again = next(iter(pool().unused)).host
    async with transport_for(again).run("true") as process:
        assert len(pool().unused) == KEPT - 1
        for host in [host for host in fleet if host not in pool().slots][:KEPT]:
            await says(host)
        assert again in pool().slots and len(pool().unused) == KEPT
        assert await process.wait()
    assert list(pool().unused)[-1].host == again and len(pool().unused) == KEPT
