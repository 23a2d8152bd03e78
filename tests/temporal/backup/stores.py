"""Real servers that hold repositories: S3 and REST by rclone, SFTP by this machine's sshd.

Each listens on the lab's gateway address alone, which every server of the lab reaches, and runs
in namespaces of its own: what it forks, and a bounded file system below it, end with it, and it
ends with the thread that started it, killed or not.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import Machine
from lab.subnets import PREFIX, gateway
from tests.converge.transport.sshd import SSHD, keygen

RCLONE = Path(sys.executable).with_name("rclone")
MIB = 1024 * 1024
PATIENCE_S = 20.0
BUCKET = "backups"
# sshd asks that nobody else can write to a folder it roots a session in, nor to any above it;
# a test's folder is below /tmp. So the data is shown at a place that is as sshd wants it.
SHOWN = Path("/mnt")

# The first process of its own mount and pid namespaces: when it ends, all in them ends.
_INSIDE = """\
data=$1 limit=$2 shown=$3; shift 3
[ "$limit" = 0 ] || mount -t tmpfs -o "size=$limit,mode=0755" store "$data" || exit
mount --bind "$data" "$shown" && exec "$@"
"""
_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass
class Store:
    """One server, and what restic needs to know to keep a repository on it.

    Attributes:
        url: as `restic -r` takes it, without secrets.
        variables: what to have in restic's environment. restic 0.14 does not read a REST
            server's user and password there: give it `secret_url`.
        secret_url: the same as `url`, with user and password when it is a REST server's.
        user, password: a REST server's; "" when it asks for none.
        key: the private key's file on this machine, for SFTP.
        known_hosts_line: the server's own key, for SFTP.
    """

    url: str
    address: str
    port: int
    argv: list[str]
    folder: Path
    limit: int = 0
    hidden: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    secret_url: str = ""
    user: str = ""
    password: str = ""
    key: Path | None = None
    known_hosts_line: str = ""
    greeting: bytes = b""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data as seen from this machine, to look into or to damage."""
        return Path(f"/proc/{self._inner()}/root") / str(SHOWN).lstrip("/")

    @property
    def repository(self) -> Path:
        """The repository's folder, the same way."""
        return self.data / self.url.rpartition("/")[2]

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def sftp_command(self, key: str, known_hosts: str) -> str:
        """What restic is told as `-o sftp.command=`, the two files being on the lab's server."""
        options = {
            "UserKnownHostsFile": known_hosts,
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
        }
        words = ["ssh", "-p", str(self.port), "-i", key]
        words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return shlex.join([*words, f"{self.user}@{self.address}", "-s", "sftp"])

    def start(self) -> None:
        """Start the server, at the port it had, and wait until it answers."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        given = (str(data), str(self.limit), str(SHOWN))
        with (self.folder / "log").open("ab") as out:
            self._process = subprocess.Popen(
                [*_UNSHARE, "sh", "-c", _INSIDE, "store", *given, *self.argv],
                env={"PATH": os.defpath, "HOME": str(self.folder), **self.hidden},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and every connection to it; what a bounded one held is gone."""
        if self._process is None or self._process.poll() is not None:
            return
        # `unshare` ends when the first process inside has, and that when all others have.
        try:
            os.kill(self._inner(), signal.SIGKILL)
        except (OSError, IndexError):  # it has not come to that
            self._process.kill()
        self._process.wait(PATIENCE_S)

    def freeze(self) -> None:
        """Have the server answer nothing, its connections open."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def notice(self) -> None:
        """Have an S3 server see what was removed or added behind its back; the others do anyway."""
        if self.url.startswith("s3:"):
            os.kill(self._inner(), signal.SIGHUP)  # rclone: forget cached directories

    def used(self) -> int:
        """How many bytes of a bounded store are taken."""
        found = os.statvfs(self.data)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def resize(self, limit: int) -> None:
        """Bound a bounded store anew, not below what it holds."""
        assert self.limit, "only a store that was given a limit has one"
        command = ["nsenter", "--target", str(self._inner()), "--mount", "--", "mount"]
        subprocess.run(
            [*command, "-o", f"remount,size={limit}", str(self.folder / "data")], check=True
        )
        self.limit = limit

    def _inner(self) -> int:
        """The server's own process; the one we started is `unshare`, which waits for it."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(children.read_text().split()[0])

    def pids(self) -> list[int]:
        """Every process of its namespace."""
        own = Path(f"/proc/{self._inner()}/ns/pid").readlink()
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and (folder / "ns/pid").readlink() == own:
                    found.append(int(folder.name))
            except OSError:  # it has ended
                continue
        return found

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), 1) as it:
                return not self.greeting or it.recv(len(self.greeting)) == self.greeting
        except OSError:
            return False


class Stores:
    """Makes servers for the servers of one lab; all end at the end of a `with` block."""

    def __init__(self, folder: Path, near: Machine | str) -> None:
        """`folder`: all they write is below. `near`: a server of the lab, or its address."""
        address = near if isinstance(near, str) else near.address
        self.folder = folder
        self.address = str(gateway(IPv4Network(f"{address}/{PREFIX}", strict=False)))
        self.made: list[Store] = []

    def __enter__(self) -> Stores:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def s3(self, *, limit: int = 0) -> Store:
        """An S3 server with one bucket, and a key of its own."""
        key, secret = f"AK{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30)
        port = self._free_port()
        # A bucket's "folder" that was emptied stays: else removing it races with the next upload.
        argv = self._rclone("s3", port, "--no-cleanup")
        return self._started(
            url=f"s3:http://{self.address}:{port}/{BUCKET}",
            port=port,
            argv=argv,
            limit=limit,
            hidden={"RCLONE_AUTH_KEY": f'"{key},{secret}"'},
            variables={"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
        )

    def rest(self, *, user: str = "", append_only: bool = False, limit: int = 0) -> Store:
        """A REST server; with `user` it asks for that one and a password."""
        password = secrets.token_urlsafe(20) if user else ""
        port = self._free_port()
        more = ["--append-only"] if append_only else []
        place = f"{self.address}:{port}/{BUCKET}"
        login = f"{user}:{password}@" if user else ""
        return self._started(
            url=f"rest:http://{place}",
            secret_url=f"rest:http://{login}{place}",
            port=port,
            argv=self._rclone("restic", port, "--cache-objects=false", *more),
            limit=limit,
            user=user,
            password=password,
            hidden={"RCLONE_USER": user, "RCLONE_PASS": password} if user else {},
            variables={"RESTIC_REST_USERNAME": user, "RESTIC_REST_PASSWORD": password}
            if user
            else {},
        )

    def sftp(self, *, limit: int = 0) -> Store:
        """An sshd that gives root, by one key, the store's folder and nothing else."""
        assert SSHD is not None, "needs OpenSSH's sshd: apt-get install openssh-server"
        port = self._free_port()
        folder = self._folder()
        key, host_key = keygen(folder / "key"), keygen(folder / "host_key")
        shutil.copy(key.with_suffix(".pub"), folder / "authorized_keys")
        lines: Mapping[str, object] = {
            "Port": port,
            "ListenAddress": self.address,
            "HostKey": host_key,
            "PidFile": "none",
            "AuthorizedKeysFile": folder / "authorized_keys",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "MaxStartups": 100,
            "Subsystem": "sftp internal-sftp",
            "ForceCommand": "internal-sftp",
            "ChrootDirectory": SHOWN,
        }
        (folder / "sshd").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        public = host_key.with_suffix(".pub").read_text().split()[:2]
        return self._started(
            folder=folder,
            url=f"sftp://root@{self.address}:{port}//{BUCKET}",
            port=port,
            argv=[SSHD, "-D", "-e", "-f", str(folder / "sshd")],
            limit=limit,
            user="root",
            key=key,
            known_hosts_line=f"[{self.address}]:{port} {' '.join(public)}",
            greeting=b"SSH-",
        )

    def end(self) -> None:
        for store in self.made:
            store.stop()

    def _rclone(self, kind: str, port: int, *options: str) -> list[str]:
        where = ["--config", "", "--addr", f"{self.address}:{port}"]
        return [str(RCLONE), "serve", kind, *where, *options, str(SHOWN)]

    def _folder(self) -> Path:
        folder = self.folder / f"store-{len(self.made)}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        return folder

    def _free_port(self) -> int:
        with socket.socket() as listener:
            listener.bind((self.address, 0))
            return int(listener.getsockname()[1])

    def _started(self, *, folder: Path | None = None, url: str, **more: Any) -> Store:
        fields = {"secret_url": url, **more}
        store = Store(url, self.address, folder=folder or self._folder(), **fields)
        self.made.append(store)
        store.start()
        return store


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
