"""ssh to a real sshd on this machine: ways in, ways through, and what stands in the way."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converge import ConvergeError, File, Host, apply, plan
from converge.errors import (
    ConnectError,
    HostFailed,
    HostKeyChanged,
    HostKeyUnknown,
    PermissionDenied,
    Refused,
    Unreachable,
)
from converge.material import folder
from converge.transport import close, transport_for
from converge.transport.pool import pool
from converge.transport.routes import route_to, through, written
from converge.transport.uploads import SPOOL, Upload

# ruff: noqa: ASYNC110, ASYNC220, ASYNC221, ASYNC240 -- nothing else runs in the loop meanwhile

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
pytestmark = pytest.mark.skipif(
    SSHD is None or os.getuid() != 0, reason="needs OpenSSH's sshd, and root to run it"
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def keygen(path: Path, *more: str) -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path, *more],
        check=True,
        capture_output=True,
    )
    return path


@dataclass
class Site:
    """A folder with keys, and the servers that were started from it."""

    path: Path
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def server(self, **options: str) -> int:
        """An sshd of its own; the port it listens on."""
        port = free_port()
        number = len(self.servers)
        lines = {
            "Port": str(port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.path / "host_key"),
            "PidFile": "none",
            "AuthorizedKeysFile": str(self.path / "authorized_keys"),
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "Subsystem": "sftp internal-sftp",
            **options,
        }
        config = self.path / f"sshd_{number}"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = self.path / f"log_{number}"
        self.servers.append(
            subprocess.Popen(
                [str(SSHD), "-D", "-f", config, "-E", log],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        end = time.monotonic() + 20
        while not _answers(port):
            assert time.monotonic() < end and self.servers[-1].poll() is None, log.read_text()
            time.sleep(0.02)
        return port

    def log(self, number: int = 0) -> str:
        return (self.path / f"log_{number}").read_text()

    def known(self, *ports: int) -> Path:
        public = (self.path / "host_key.pub").read_text().split()[:2]
        path = self.path / "known_hosts"
        path.write_text("".join(f"[127.0.0.1]:{port} {' '.join(public)}\n" for port in ports))
        return path

    def host(self, port: int, **more: object) -> Host:
        fields = {
            "user": getpass.getuser(),
            "port": port,
            "key": str(self.path / "key"),
            "known_hosts": str(self.path / "known_hosts"),
            "ssh_config": "none",
            **more,
        }
        return Host("127.0.0.1", **fields)  # type: ignore[arg-type]


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as it:
        return it.recv(4) == b"SSH-"
    return False


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    place = Site(tmp_path)
    keygen(tmp_path / "host_key")
    keygen(tmp_path / "key")
    shutil.copy(tmp_path / "key.pub", tmp_path / "authorized_keys")
    yield place
    for server in place.servers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(autouse=True)
async def ended() -> object:
    yield
    await close()
    assert not pool().slots and not pool().ending


async def say(host: Host, command: str) -> str:
    async with transport_for(host).run(command) as process:
        await process.send(b"", eof=True)
        return b"".join([data async for data in process.chunks()]).decode().strip()


# --- what a host is reached by -------------------------------------------------------------------


def test_ssh_config_says_what_the_host_does_not(tmp_path: Path) -> None:
    config = tmp_path / "config"
    (tmp_path / "more").write_text("Host web\n  Port 2222\n")
    config.write_text(
        f"Include {tmp_path}/more\n"
        "Host web\n  HostName 192.0.2.7\n  User deploy\n  IdentityFile ~/keys/web\n"
        "  IdentitiesOnly yes\n  CertificateFile /keys/web-cert.pub\n"
        "  UserKnownHostsFile /known/web /known/two\n  HostKeyAlias web-alias\n"
        "  ProxyJump ann@bastion:2200\n  IdentityAgent none\n"
        "Host *\n  User nobody\n"
    )
    route = route_to(Host("web", ssh_config=str(config)))
    assert (route.address, route.port, route.user) == ("192.0.2.7", 2222, "deploy")
    assert route.keys == (str(Path("~/keys/web").expanduser()),)
    assert route.certificates == ("/keys/web-cert.pub",)
    assert route.only_named and route.agent == "" and route.known_name == "web-alias"
    assert route.known_hosts[:2] == ("/known/web", "/known/two")
    assert route.jump is not None
    assert (route.jump.address, route.jump.port, route.jump.user) == ("bastion", 2200, "ann")
    # What the host says itself wins.
    mine = route_to(
        Host(
            "web",
            user="eve",
            port=22,
            key="/k",
            jump="none",
            known_hosts="/kh",
            ssh_config=str(config),
        )
    )
    assert (mine.user, mine.port, mine.keys, mine.jump) == ("eve", 22, ("/k",), None)
    assert mine.known_hosts == ("/kh",)
    assert route_to(Host("other", ssh_config=str(config))).user == "nobody"
    assert route_to(Host("web", ssh_config="none")).address == "web"


def test_a_broken_ssh_config_names_file_and_line(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  Port many\n")
    with pytest.raises(ConnectError, match=r"config line 2"):
        route_to(Host("web", ssh_config=str(config)))
    with pytest.raises(ConnectError, match="no readable ssh_config"):
        route_to(Host("web", ssh_config=str(tmp_path / "none-such")))


def test_jumps_are_read_as_ssh_writes_them() -> None:
    last = through(Host("web", key="/k", ssh_config="none"), "ann@one:2201,[2001:db8::2]:22,three")
    assert last is not None and last.address == "three"
    assert written(last) == "ann@one:2201,[2001:db8::2]:22,three"
    assert last.key == "/k"
    with pytest.raises(ConnectError, match="no-port"):
        through(Host("web"), "one,no-port:x")


def test_a_jump_for_every_host_is_none_for_itself(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyJump bastion\n")
    assert route_to(Host("bastion", ssh_config=str(config))).jump is None
    assert route_to(Host("web", ssh_config=str(config))).jump is not None


# --- in and through ------------------------------------------------------------------------------


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


# --- keys ----------------------------------------------------------------------------------------


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


# --- files ---------------------------------------------------------------------------------------


async def test_uploads(site: Site) -> None:
    port = site.server()
    site.known(port)
    large = site.path / "large"
    with large.open("wb") as file:
        for number in range(24):
            file.write(os.urandom(1 << 20) if number % 2 else bytes(1 << 20))
    state = site.path / "state of the host"
    host = site.host(port, state_dir=str(state))
    wanted = [Upload.of(large), Upload.of(b"small"), Upload.of(b"")]
    placed = await transport_for(host).upload(wanted)
    for upload in wanted:
        data = Path(placed[upload.sha256]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == upload.sha256
        assert Path(placed[upload.sha256]).stat().st_mode & 0o777 == 0o600
    assert state.joinpath("spool").stat().st_mode & 0o777 == 0o700
    # Sent once: what is there whole is not touched, what was damaged is replaced.
    whole, broken = (Path(placed[upload.sha256]) for upload in wanted[:2])
    inode = whole.stat().st_ino
    broken.write_bytes(b"smell")
    old = state / "spool" / "old.part"
    old.touch()
    os.utime(old, (0, 0))
    assert await transport_for(host).upload(wanted) == placed
    assert whole.stat().st_ino == inode and broken.read_bytes() == b"small"
    assert not old.exists()
    assert await transport_for(site.host(port, state_dir=str(state))).upload([]) == {}


async def test_an_upload_that_is_not_what_it_says(site: Site) -> None:
    port = site.server()
    site.known(port)
    wrong = Upload(b"this", hashlib.sha256(b"that").hexdigest())
    for host in (
        site.host(port, state_dir=str(site.path / "s")),
        Host.local(state_dir=str(site.path / "l")),
    ):
        with pytest.raises(HostFailed, match="SHA-256"):
            await transport_for(host).upload([wrong])
        spool = Path(str(host.state_dir)) / "spool"
        assert list(spool.iterdir()) == []


async def test_a_cancelled_upload_leaves_nothing(site: Site) -> None:
    port = site.server()
    site.known(port)
    host = site.host(port, state_dir=str(site.path / "s"))
    spool = site.path / "s" / "spool"
    upload = Upload.of(b"x" * 200_000_000)
    task = asyncio.create_task(transport_for(host).upload([upload]))
    while not (spool.exists() and any(path.stat().st_size for path in spool.iterdir())):
        assert not task.done(), task.result()
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(spool.iterdir()) == []


async def test_a_large_file_of_a_resource_goes_beside_the_script(site: Site) -> None:
    port = site.server()
    site.known(port)
    (site.path / "large").write_bytes(os.urandom(5_000_000))
    state, target = site.path / "state", site.path / "target" / "large"
    for host in (site.host(port, state_dir=str(state)), Host.local(state_dir=str(state))):
        target.unlink(missing_ok=True)
        wanted = [File(str(target), source="large", mode="0640")]
        report = await apply(host, wanted, load=folder(site.path))
        assert report.ok and report.changed, report.render()
        assert target.read_bytes() == (site.path / "large").read_bytes()
        assert list((state / "spool").iterdir()) == [], "the run has taken it"
        assert (await plan(host, wanted, load=folder(site.path))).empty
    # Without SFTP it travels in the script.
    bare = site.server(Subsystem="none /bin/false")
    site.known(bare)
    target.unlink()
    report = await apply(
        site.host(bare, state_dir=str(site.path / "s")), wanted, load=folder(site.path)
    )
    assert report.ok and target.read_bytes() == (site.path / "large").read_bytes()


async def test_uploads_on_this_machine(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    host = Host.local(state_dir=str(tmp_path / "state"))
    upload = Upload.of(source)
    placed = await transport_for(host).upload([upload])
    assert Path(placed[upload.sha256]).read_bytes() == source.read_bytes()
    with pytest.raises(ConvergeError, match="cannot be read"):
        Upload.of(tmp_path / "none-such")
    assert not Path(SPOOL).is_absolute()
