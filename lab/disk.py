"""A server's disk: an overlay of its own on the base image, seeded before it starts.

The overlay itself is mounted by the supervisor in a mount namespace of its own, so
it vanishes with the server's last process and never shows among this machine's mounts.
"""

from __future__ import annotations

import os
import shutil
import uuid
from ipaddress import IPv4Network
from pathlib import Path

from lab.commands import run
from lab.keys import make_key, public_key
from lab.recipe import NETWORK_SETTINGS
from lab.subnets import PREFIX, gateway, hosts_file, machine_address, machine_name

ARCHIVES = Path("var/cache/apt/archives")
_POOL_LIMIT_BYTES = 2 * 1024**3
_RESOLV = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))


def _put(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def _folders(top: Path, relative: Path, mode: int = 0o755) -> Path:
    for part in [*reversed(relative.parents), relative]:
        path = top / part
        if not path.is_dir():
            path.mkdir()
            path.chmod(mode)
    return top / relative


def resolv_conf() -> str:
    """Name servers for a server of the lab: this machine's, as far as others can reach them.

    A resolver on loopback is this machine's alone; systemd-resolved lists the real ones
    in a file of its own.
    """
    resolved, plain = _RESOLV
    text = plain.read_text(errors="replace") if plain.is_file() else ""
    only_loopback = "nameserver 127." in text and resolved.is_file()
    return resolved.read_text(errors="replace") if only_loopback else text


def seed(
    folder: Path, *, number: int, subnet: IPv4Network, login_key: str, mtu: int, pool: Path
) -> str:
    """Lay out the disk of server `number` in `folder` and return its public host key.

    Leaves `folder` with: upper (the server's own files), cache (a layer with the
    packages others downloaded), work and root (for the mount).

    Args:
        login_key: public key that may log in as root.
        pool: folder of .deb files that may be shared with this server.
    """
    for part in ("upper", "cache", "work", "root"):
        (folder / part).mkdir()
        (folder / part).chmod(0o755)
    upper = folder / "upper"
    etc = _folders(upper, Path("etc"))
    ssh = _folders(upper, Path("etc/ssh"))
    login = _folders(_folders(upper, Path("root"), 0o700), Path(".ssh"), 0o700)
    name = machine_name(number)
    _put(etc / "hostname", f"{name}\n")
    _put(etc / "hosts", hosts_file(subnet, number))
    _put(etc / "machine-id", f"{uuid.uuid4().hex}\n", 0o444)
    _put(etc / "resolv.conf", resolv_conf())
    address = machine_address(subnet, number)
    settings = {"ADDRESS": address, "PREFIX": PREFIX, "GATEWAY": gateway(subnet), "MTU": mtu}
    _put(upper / NETWORK_SETTINGS, "".join(f"{key}={text}\n" for key, text in settings.items()))
    _put(login / "authorized_keys", f"{login_key}\n", 0o600)
    host_key = ssh / "ssh_host_ed25519_key"
    make_key(host_key, f"root@{name}")
    _lend(pool, folder / "cache")
    return public_key(host_key)


def bound(folder: Path, mib: int) -> None:
    """Move the seeded disk into a file system of `mib` MiB of its own.

    It lies in `folder`/disk.img and is mounted by the supervisor at `folder`/space. It is as full
    as any disk when it is full, for the whole of the server: /, /var and /tmp are one.
    """
    stage = folder / "stage"
    stage.mkdir()
    for part in ("upper", "work"):
        (folder / part).rename(stage / part)
    with (folder / "disk.img").open("xb") as image:
        image.truncate(mib * 2**20)
    # -m 0: nothing is set aside for root, who is everybody there.
    words = ["mkfs.ext4", "-q", "-F", "-m", "0", "-d", str(stage), str(folder / "disk.img")]
    run(words, where=str(folder))
    shutil.rmtree(stage)
    (folder / "space").mkdir()


def _lend(pool: Path, cache: Path) -> None:
    """Put hard links to the pool's packages in a read-only layer of the server.

    Each server has its own archives folder and so its own apt lock; overlayfs copies a
    file up before any write, so no server can change what the pool holds.
    """
    archives = _folders(cache, ARCHIVES)
    for package in pool.glob("*.deb") if pool.is_dir() else []:
        os.link(package, archives / package.name)


def harvest(folder: Path, pool: Path) -> None:
    """Keep what a server that no longer runs had downloaded, for the next ones.

    apt renames a package into its archives folder only after its digest was right.
    """
    archives = folder / "upper" / ARCHIVES
    if not archives.is_dir():
        return
    pool.mkdir(parents=True, exist_ok=True)
    for package in archives.glob("*.deb"):
        kept = pool / package.name
        if package.is_file() and not package.is_symlink() and not kept.exists():
            try:
                os.link(package, kept)
            except FileExistsError:
                continue  # another server brought the same one in this moment


def trim(pool: Path) -> None:
    """Drop the oldest packages of a pool that has grown over 2 GiB."""
    files = sorted(pool.glob("*.deb"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > _POOL_LIMIT_BYTES:
            path.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Delete a server's folder. It holds no mount: those died with the server."""
    shutil.rmtree(folder, ignore_errors=False)
