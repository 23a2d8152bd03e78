"""Host keys, user keys, agents and certificates: who may in, and who is believed."""

from __future__ import annotations

import asyncio
import getpass
import os
import subprocess

import pytest

from converge.errors import (
    HostKeyChanged,
    HostKeyUnknown,
    PermissionDenied,
    Refused,
)
from converge.transport import close
from tests.converge.transport.sshd import ON_SSHD, Site, free_port, keygen, say

# ruff: noqa: ASYNC110, ASYNC220, ASYNC221 -- nothing else runs in the loop meanwhile

pytestmark = ON_SSHD


async def test_host_keys(site: Site) -> None:
    port = site.server()
    known = site.path / "known_hosts"
    with pytest.raises(HostKeyUnknown, match="accept-new"):
        await say(site.host(port), "true")
    assert await say(site.host(port, host_keys="accept-new"), "echo in") == "in"
    assert f"[127.0.0.1]:{port} ssh-ed25519" in known.read_text()
    assert await say(site.host(port), "echo in") == "in"
    await close()
    other = keygen(site.path / "other").with_suffix(".pub").read_text().split()[:2]
    known.write_text(f"[127.0.0.1]:{port} {' '.join(other)}\n")
    for policy in ("strict", "accept-new"):
        with pytest.raises(HostKeyChanged, match="another host key"):
            await say(site.host(port, host_keys=policy), "true")
    assert known.read_text().count("\n") == 1


async def test_a_key_of_another_kind_beside_the_known_one(site: Site) -> None:
    """Only the RSA key was written down; the host offers ed25519 first."""
    rsa = site.path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa], check=True)
    port = site.server(HostKey=f"{site.path}/host_key\nHostKey {rsa}")
    public = (site.path / "rsa.pub").read_text().split()[:2]
    (site.path / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    assert await say(site.host(port), "echo in") == "in"


async def test_encrypted_keys_and_the_agent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    port = site.server()
    site.known(port)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = site.path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", key], check=True, capture_output=True
    )
    with pytest.raises(PermissionDenied, match=r"is encrypted.*ssh-add"):
        await say(site.host(port), "true")
    sock = site.path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    try:
        while not sock.exists():
            await asyncio.sleep(0.01)
        ask = site.path / "ask"
        ask.write_text("#!/bin/sh\necho open sesame\n")
        ask.chmod(0o755)
        subprocess.run(
            ["ssh-add", "-q", key],
            check=True,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "SSH_AUTH_SOCK": str(sock),
                "SSH_ASKPASS": str(ask),
                "SSH_ASKPASS_REQUIRE": "force",
                "DISPLAY": ":0",
            },
        )
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        assert await say(site.host(port), "echo in") == "in"
        assert await say(site.host(port, key=None), "echo in") == "in"
    finally:
        agent.terminate()
        agent.wait()


async def test_a_certificate(site: Site) -> None:
    authority = keygen(site.path / "ca")
    key = keygen(site.path / "user")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "ann", "-n", getpass.getuser(), f"{key}.pub"],
        check=True,
        capture_output=True,
    )
    port = site.server(TrustedUserCAKeys=f"{authority}.pub")
    site.known(port)
    assert await say(site.host(port, key=str(key)), "echo in") == "in"
    moved = site.path / "elsewhere"
    (site.path / "user-cert.pub").rename(moved)
    await close()
    with pytest.raises(PermissionDenied, match="authorized_keys"):
        await say(site.host(port, key=str(key)), "true")
    assert await say(site.host(port, key=str(key), certificate=str(moved)), "echo in") == "in"


async def test_wrong_keys_and_closed_ports(site: Site) -> None:
    port = site.server()
    site.known(port)
    with pytest.raises(PermissionDenied, match="there is no private key"):
        await say(site.host(port, key=str(site.path / "nowhere")), "true")
    with pytest.raises(PermissionDenied, match="cannot be read"):
        (site.path / "garbage").write_text("no key\n")
        await say(site.host(port, key=str(site.path / "garbage")), "true")
    with pytest.raises(PermissionDenied, match="is the public key in its authorized_keys"):
        await say(site.host(port, key=str(keygen(site.path / "stranger"))), "true")
    with pytest.raises(Refused, match="nothing listens"):
        await say(site.host(free_port()), "true")
