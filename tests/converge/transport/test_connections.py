"""ssh to a real sshd on this machine: ways in, ways through, many at a time."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal

import pytest

from converge import Host
from converge.errors import (
    HostKeyUnknown,
    Refused,
    Unreachable,
)
from converge.transport import close, transport_for
from converge.transport.pool import pool
from tests.converge.transport.sshd import ON_SSHD, Site, free_port, say

# ruff: noqa: ASYNC110 -- nothing else runs in the loop meanwhile

pytestmark = ON_SSHD


async def test_one_connection_for_many_runs(site: Site) -> None:
    port = site.server()
    site.known(port)
    said = await asyncio.gather(*(say(site.host(port), f"echo {n}") for n in range(20)))
    assert said == [str(n) for n in range(20)]
    assert site.log().count("Accepted publickey") == 1


async def test_a_broken_connection_is_replaced(site: Site) -> None:
    port = site.server()
    site.known(port)
    host = site.host(port)
    daemon = await say(host, "echo $PPID")
    os.kill(int(daemon), signal.SIGKILL)
    assert await say(host, "echo again") == "again"
    # One that nobody answers on any more, though it looks open.
    frozen = int(await say(host, "echo $PPID"))
    os.kill(frozen, signal.SIGSTOP)
    try:
        from converge.transport import ssh

        before, ssh.OPENING = ssh.OPENING, 1.0
        try:
            assert await say(host, "echo and again") == "and again"
        finally:
            ssh.OPENING = before
    finally:
        os.kill(frozen, signal.SIGKILL)


async def test_a_renewed_connection_leaves_the_old_one_to_its_users(site: Site) -> None:
    port = site.server()
    site.known(port)
    transport = transport_for(site.host(port))
    async with transport.run("read line; echo $line") as process:
        await transport.renew()
        assert await say(site.host(port), "echo fresh") == "fresh"
        await process.send(b"old\n", eof=True)
        assert b"".join([data async for data in process.chunks()]) == b"old\n"
    assert site.log().count("Accepted publickey") == 2


async def test_through_jumps_over_one_connection_each(site: Site) -> None:
    outer, inner, last = site.server(), site.server(), site.server()
    site.known(outer, inner, last)
    jump = f"127.0.0.1:{outer},{getpass.getuser()}@127.0.0.1:{inner}"
    hosts = [site.host(last, jump=jump, concurrency=4), site.host(last, jump=jump)]
    said = await asyncio.gather(*(say(host, "echo $SSH_CONNECTION") for host in hosts))
    assert all(line.endswith(str(last)) for line in said)
    assert [site.log(n).count("Accepted publickey") for n in range(3)] == [1, 1, 2]
    # A jump that cannot reach the host, and one that is not there: each said by name.
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:\d+ does not reach"):
        await say(site.host(free_port(), jump=f"127.0.0.1:{outer}"), "true")
    with pytest.raises(Refused, match="jump host failed"):
        await say(site.host(last, jump=f"127.0.0.1:{free_port()}"), "true")
    with pytest.raises(HostKeyUnknown, match="jump host failed"):
        site.known(last)
        await close()
        await say(hosts[0], "true")


async def test_ssh_config_leads_there(site: Site) -> None:
    outer, last = site.server(), site.server()
    known = site.known(outer, last)
    config = site.path / "config"
    common = f"  HostName 127.0.0.1\n  IdentityFile {site.path}/key\n  UserKnownHostsFile {known}\n"
    user = getpass.getuser()
    config.write_text(
        f"Host hop\n  Port {outer}\n  User {user}\n{common}"
        f"Host web\n  Port {last}\n  User {user}\n  ProxyJump hop\n{common}"
    )
    assert await say(Host("web", ssh_config=str(config)), "echo in") == "in"
    assert "Accepted publickey" in site.log(0) and "Accepted publickey" in site.log(1)


async def test_more_sessions_than_the_host_allows(site: Site) -> None:
    port = site.server(MaxSessions="2")
    site.known(port)
    host = site.host(port, concurrency=6)
    said = await asyncio.gather(*(say(host, f"sleep 0.1; echo {n}") for n in range(6)))
    assert said == [str(n) for n in range(6)]
    assert site.log().count("Accepted publickey") == 1


async def test_connections_dropped_unheard_are_tried_again(site: Site) -> None:
    port = site.server(MaxStartups="2:50:6")
    site.known(port)
    hosts = [site.host(port, concurrency=n + 1) for n in range(24)]
    said = await asyncio.gather(*(say(host, "echo in") for host in hosts))
    assert said == ["in"] * 24
    assert "MaxStartups" in site.log() or "drop connection" in site.log(), "nothing was dropped"


async def test_cancelled_while_connecting(site: Site) -> None:
    port = site.server()
    site.known(port)
    os.kill(site.servers[0].pid, signal.SIGSTOP)
    task = asyncio.create_task(say(site.host(port), "true"))
    try:
        while not pool().slots:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not pool().slots
    finally:
        os.kill(site.servers[0].pid, signal.SIGCONT)
    assert await say(site.host(port), "echo in") == "in"
