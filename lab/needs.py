"""Can this machine run a lab? Tried, not guessed: each probe is the real thing, made small."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lab import cgroups
from lab.base import debian_sources
from lab.commands import PATH, attempt
from lab.store import default_root

_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "apt-config": "apt",
}
# Each runs in namespaces of its own and leaves nothing behind.
_NETWORK_PROBE = """\
ip link add name lab0 type bridge || { echo "no bridge devices"; exit 1; }
ip link add name lab1 type veth peer name lab2 || { echo "no veth devices"; exit 1; }
nft "add table ip lab; add chain ip lab out { type nat hook postrouting priority srcnat; };
 add rule ip lab out ip saddr 198.18.0.0/15 masquerade" || { echo "no nftables masquerade"; exit 1; }
"""
_OVERLAY_PROBE = """\
mkdir lower upper work root
mount -t overlay lab -o lowerdir=lower,upperdir=upper,workdir=work root || exit 1
echo probe >root/file && umount root
"""


def missing(root: Path | str | None = None) -> list[str]:
    """What this machine lacks to run a lab, each with what to do; empty when all is there.

    Takes a few hundredths of a second and changes nothing but the state folder's existence.
    """
    if sys.platform != "linux":
        return [f"Linux is needed (this is {sys.platform}): run the lab in a Debian machine"]
    if os.geteuid() != 0:
        return ["root is needed to mount and to make networks: run it with sudo"]
    wanted = {
        program: package
        for program, package in _PROGRAMS.items()
        if shutil.which(program, path=PATH) is None
    }
    if wanted:
        packages = " ".join(sorted(set(wanted.values())))
        return [f"{', '.join(wanted)} not installed: apt-get install {packages}"]
    found = []
    group = cgroups.unified()
    if group is None:
        found.append(
            "cgroup v2 is not mounted: boot with systemd.unified_cgroup_hierarchy=1, or "
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified (mkdir it first)"
        )
    elif not os.access(group, os.W_OK) or not os.access(group / "cgroup.procs", os.W_OK):
        found.append(f"{group} is read-only: in a container, run it privileged")
    found += _kernel()
    found += _storage(Path(root) if root else default_root())
    if not any((Path(root) if root else default_root()).glob("base/*")) and not any(
        debian_sources(release) for release in ("bookworm", "trixie")
    ):
        found.append(
            "this machine's apt names no Debian mirror: set TEMPORAL_LAB_MIRROR to one's address"
        )
    return found


def _kernel() -> list[str]:
    done = attempt(["unshare", "--net", "sh", "-c", _NETWORK_PROBE])
    if done.returncode == 0:
        return []
    what = done.stdout.strip() or "no network namespaces"
    said = done.stderr.strip().splitlines()
    proof = f" ({said[-1]})" if said else ""
    return [f"{what}{proof}: use a kernel that has them, or a privileged container"]


def _storage(root: Path) -> list[str]:
    scratch = root / f".probe-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        return [f"{root} cannot be made ({error.strerror}): set TEMPORAL_LAB_ROOT to a folder"]
    try:
        script = f'cd "$1" && {{ {_OVERLAY_PROBE} }}'
        done = attempt(["unshare", "--mount", "sh", "-c", script, "probe", str(scratch)])
        if done.returncode == 0:
            return []
        said = done.stderr.strip().splitlines()
        proof = f" ({said[-1].strip()})" if said else ""
        return [
            f"no overlay mount on the file system of {root}{proof}: set TEMPORAL_LAB_ROOT to a "
            "folder on ext4, xfs or tmpfs"
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
