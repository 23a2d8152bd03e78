"""What a lab server is made of: a value, whose digest names the base image built from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from lab.sources import Source, render

# No Python and no curl: a host needs sh and coreutils only, and a lab must show that this is so.
PACKAGES = (
    "apt-utils",
    "ca-certificates",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
)

# Units that only cost time or memory in a throw-away server, or that wait for a network
# manager it does not have. apt's timers would hold the lock at a moment nobody chose.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "apt-daily.service",
    "apt-daily-upgrade.service",
    "console-getty.service",
    "container-getty@.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty@.service",
    "getty.target",
    "systemd-firstboot.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
)

_SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
"""

_JOURNALD = """\
[Journal]
Storage=persistent
SystemMaxUse=32M
"""

# The machine gives itself its address, so that a reboot from inside comes back by itself.
NETWORK_SETTINGS = "etc/lab-network"
_NETWORK_UNIT = f"""\
[Unit]
Description=Address of this lab server
DefaultDependencies=no
After=systemd-remount-fs.service
Before=network-pre.target network.target shutdown.target
Wants=network-pre.target network.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/{NETWORK_SETTINGS}
ExecStart=/bin/ip link set lo up
ExecStart=/bin/ip link set host0 mtu ${{MTU}} up
ExecStart=/bin/ip address replace ${{ADDRESS}}/${{PREFIX}} dev host0
ExecStart=/bin/ip route replace default via ${{GATEWAY}}

[Install]
WantedBy=sysinit.target
"""

_APT = 'APT::Keep-Downloaded-Packages "true";\n'

_FILES = {
    "etc/ssh/sshd_config.d/10-lab.conf": _SSHD,
    "etc/systemd/journald.conf.d/10-lab.conf": _JOURNALD,
    "etc/systemd/system/lab-network.service": _NETWORK_UNIT,
    "etc/apt/apt.conf.d/90lab": _APT,
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/fstab": "",
}

_LINKS = {
    **{f"etc/systemd/system/{unit}": "/dev/null" for unit in _MASKED},
    "etc/systemd/system/sysinit.target.wants/lab-network.service": (
        "/etc/systemd/system/lab-network.service"
    ),
    "etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target",
}

# Made anew for each machine, so that no two machines share an identity.
_REMOVED = (
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "var/lib/dbus/machine-id",
)


@dataclass(frozen=True)
class Recipe:
    """Everything a base image is made from; two equal recipes make interchangeable images.

    `host_files` maps absolute paths copied from this machine (keyrings, certificates)
    to the digest of their content, so that a changed key makes another image.
    `layout` rises when what the builder does to the tree changes.
    """

    release: str
    sources: tuple[Source, ...]
    settings: str = ""
    host_files: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = PACKAGES
    files: dict[str, str] = field(default_factory=lambda: dict(_FILES))
    links: dict[str, str] = field(default_factory=lambda: dict(_LINKS))
    removed: tuple[str, ...] = _REMOVED
    layout: int = 2

    def digest(self) -> str:
        """Sixteen hex digits that change when anything in the recipe does."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sources_text(self) -> str:
        return render(self.sources)
