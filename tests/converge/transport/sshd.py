"""A real sshd on this machine, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converge import Host
from converge.transport import transport_for

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
ON_SSHD = pytest.mark.skipif(
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


async def say(host: Host, command: str) -> str:
    async with transport_for(host).run(command) as process:
        await process.send(b"", eof=True)
        return b"".join([data async for data in process.chunks()]).decode().strip()
