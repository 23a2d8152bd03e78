"""What `baseline` hardens beside sshd and firewall: kernel, logins, core dumps, banners.

Sources: the kernel's documentation (admin-guide/sysctl), login.defs(5), limits.conf(5),
coredump.conf(5), modprobe.d(5), and the advice of lynis where it does more than raise its index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar

from converge.resource import Resource
from converge.resources import File, KernelModule, Line, Package

# Each network namespace has its own, so they are set in containers too.
NETWORK: dict[str, int | str] = {
    "net.ipv4.conf.all.rp_filter": 1,
    "net.ipv4.conf.default.rp_filter": 1,
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv4.conf.default.accept_redirects": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.conf.all.accept_source_route": 0,
    "net.ipv4.conf.default.accept_source_route": 0,
    "net.ipv4.conf.all.log_martians": 1,
    "net.ipv4.conf.default.log_martians": 1,
    "net.ipv4.icmp_echo_ignore_broadcasts": 1,
    "net.ipv4.icmp_ignore_bogus_error_responses": 1,
    "net.ipv4.tcp_syncookies": 1,
    "net.ipv6.conf.all.accept_redirects": 0,
    "net.ipv6.conf.default.accept_redirects": 0,
    "net.ipv6.conf.all.accept_source_route": 0,
    "net.ipv6.conf.default.accept_source_route": 0,
}
KERNEL: dict[str, int | str] = {
    "dev.tty.ldisc_autoload": 0,
    "fs.protected_fifos": 2,
    "fs.protected_hardlinks": 1,
    "fs.protected_regular": 2,
    "fs.protected_symlinks": 1,
    "fs.suid_dumpable": 0,
    "kernel.core_uses_pid": 1,
    "kernel.dmesg_restrict": 1,
    "kernel.kptr_restrict": 2,
    # 3 is Debian's own step: no perf for unprivileged users. Other kernels take it as 2.
    "kernel.perf_event_paranoid": 3,
    "kernel.randomize_va_space": 2,
    "kernel.sysrq": 0,
    "kernel.unprivileged_bpf_disabled": 1,
    "kernel.yama.ptrace_scope": 1,
    "net.core.bpf_jit_harden": 2,
}
# Protocols that any local user could have loaded and that had holes of their own; and FireWire,
# which reads memory. Not usb_storage: a server may well have its root file system on it.
MODULES = ("dccp", "firewire_core", "firewire_ohci", "rds", "sctp", "tipc")

# HOME_MODE as trixie has it; bookworm lets everybody look into a new home.
# PAM hashes by yescrypt already; this is for what hashes without PAM (gpasswd, newusers), and for
# who asks PAM for SHA. With both bounds equal that is the number of rounds.
LOGIN: dict[str, int | str] = {
    "UMASK": "027",
    "HOME_MODE": "0700",
    "ENCRYPT_METHOD": "YESCRYPT",
    "SHA_CRYPT_MIN_ROUNDS": 65536,
    "SHA_CRYPT_MAX_ROUNDS": 65536,
}

Value = TypeVar("Value")


def changed(
    ours: Mapping[str, Value], theirs: Mapping[str, Value | None] | None
) -> dict[str, Value]:
    """`ours` with what `theirs` adds or replaces, and without what it sets to None."""
    merged: dict[str, Value | None] = {**ours, **(theirs or {})}
    return {name: value for name, value in merged.items() if value is not None}


def logins(settings: Mapping[str, int | str]) -> Iterator[Resource]:
    """Lines of /etc/login.defs, in place of the one that is there, else at its end; and the umask."""
    for name, value in settings.items():
        yield Line(f"{name}\t{value}", file="/etc/login.defs", match=f"^{name}[[:space:]]")
    if "UMASK" in settings:
        # PAM is what makes it hold; trixie has this line, bookworm has not. It stands outside the
        # block that pam-auth-update writes anew.
        yield Line(
            "session optional\t\t\tpam_umask.so",
            file="/etc/pam.d/common-session",
            match="^session[[:space:]].*pam_umask[.]so",
        )


def modules(blocked: tuple[str, ...]) -> Iterator[Resource]:
    for name in blocked:
        yield KernelModule(name, blacklisted=True)


def no_core_dumps() -> Iterator[Resource]:
    """A core dump holds what was in memory, keys and passwords among it."""
    yield File(
        "/etc/security/limits.d/50-no-core.conf",
        content="* hard core 0\nroot hard core 0\n",
        mode="0644",
    )
    yield File(
        "/etc/systemd/coredump.conf.d/50-none.conf",
        content="[Coredump]\nStorage=none\nProcessSizeMax=0\n",
        mode="0644",
    )


def banners(text: str) -> Iterator[Resource]:
    """What is shown before somebody logs in, at the console and by sshd's `Banner`."""
    # getty(8) takes \ and @ in /etc/issue for its own; issue.net goes out as it is.
    console = text.replace("\\", "\\\\")
    yield File("/etc/issue", content=console.rstrip("\n") + "\n\n", mode="0644")
    yield File("/etc/issue.net", content=text.rstrip("\n") + "\n", mode="0644")


def stale_services(what: Literal["restart", "list"]) -> Iterator[Resource]:
    """An update of a library does nothing for daemons that still run with the old one.

    needrestart looks for them after each run of apt. It needs Perl modules and binutils, which is
    why nobody gets it unasked.
    """
    yield Package("needrestart")
    # Told what to do, it asks nobody; hints on kernels are for who upgrades by hand.
    letter = {"restart": "a", "list": "l"}[what]
    yield File(
        "/etc/needrestart/conf.d/50-baseline.conf",
        content=f"$nrconf{{restart}} = '{letter}';\n$nrconf{{kernelhints}} = 0;\n",
        mode="0644",
    )
