"""baseline: what every server of ours has, whatever else it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from converge.names import UserName
from converge.resource import Resource
from converge.resources import (
    File,
    Nftables,
    Package,
    Service,
    Sshd,
    Sudoers,
    Sysctl,
    Timezone,
    UnattendedUpgrades,
    User,
)
from converge.resources.keys import AuthorizedKey
from converge.roles import hardening
from converge.roles.role import Parameters

Port = Annotated[int, Field(ge=1, le=65535)]
LoginSetting = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]

SSHD = {
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "X11Forwarding": "no",
    "AllowAgentForwarding": "no",
    "AllowTcpForwarding": "no",
    "TCPKeepAlive": "no",
    "ClientAliveInterval": "60",
    "ClientAliveCountMax": "2",
    "MaxAuthTries": "3",
    "LoginGraceTime": "30",
    "LogLevel": "VERBOSE",
    "Compression": "no",
}


class Admin(Parameters):
    """Somebody who looks after the server: logs in by key and may become root."""

    user: UserName
    keys: tuple[AuthorizedKey, ...]
    sudo: Literal["without password", "with password", "no"] = "without password"
    shell: str = "/bin/bash"


def baseline(
    admins: tuple[Admin, ...] = (),
    root_login: Literal["keys", "no"] = "keys",
    ssh_port: Port = 22,
    ssh: dict[str, str | bool | int | None] | None = None,
    firewall: bool = True,
    open_ports: tuple[Port, ...] = (),
    open_udp_ports: tuple[Port, ...] = (),
    trusted: tuple[str, ...] = (),
    upgrades: Literal["security", "all", "off"] = "security",
    reboot: str | None = None,
    timezone: str | None = None,
    time_sync: bool = True,
    journal_size: str = "500M",
    journal_time: str = "1month",
    sysctl: dict[str, int | str | None] | None = None,
    blocked_modules: tuple[str, ...] = hardening.MODULES,
    login: dict[LoginSetting, int | str | None] | None = None,
    banner: str | None = None,
    stale_services: Literal["restart", "list", "ignore"] = "ignore",
    container: bool = False,
) -> Iterator[Resource]:
    """Users and keys, sshd, firewall, clock, updates, log limits, kernel and login settings.

    `trusted` are networks from which every port is open. In a `container` clock and kernel are the
    host machine's, and left alone. `ssh`, `sysctl` and `login` (/etc/login.defs) add to what is
    set, or replace it; null leaves out what we would set. `banner` is shown before a login.
    `stale_services`: what to do with daemons that run on with a library that was updated.
    """
    # Before the users: useradd takes the mode of a new home from there.
    yield from hardening.logins(hardening.changed(hardening.LOGIN, login))
    yield Package("sudo")
    for admin in admins:
        yield User(
            admin.user,
            shell=admin.shell,
            authorized_keys=admin.keys,
            authorized_keys_exclusive=True,
        )
        if admin.sudo != "no":
            nopasswd = admin.sudo == "without password"
            yield Sudoers(admin.user, user=admin.user, nopasswd=nopasswd)
    yield from _ssh(root_login, ssh_port, ssh, banner is not None)
    if firewall:
        ports = sorted({ssh_port, *open_ports})
        yield Package("nftables")
        yield Nftables("/etc/nftables.conf", content=_rules(ports, open_udp_ports, trusted))
    if timezone is not None:
        yield Timezone(timezone)
    if time_sync and not container:
        yield Package("systemd-timesyncd")
        yield Service("systemd-timesyncd", enabled=True, running=True)
    yield UnattendedUpgrades(upgrades, reboot=reboot)
    yield from _logs(journal_size, journal_time)
    kernel = {} if container else hardening.KERNEL
    for name, value in hardening.changed({**hardening.NETWORK, **kernel}, sysctl).items():
        yield Sysctl(name, value=value)
    if not container:
        yield from hardening.modules(blocked_modules)
    yield from hardening.no_core_dumps()
    if banner is not None:
        yield from hardening.banners(banner)
    if stale_services != "ignore":
        yield from hardening.stale_services(stale_services)


def _ssh(
    root_login: str, port: int, more: dict[str, str | bool | int | None] | None, banner: bool
) -> Iterator[Resource]:
    root = "prohibit-password" if root_login == "keys" else "no"
    settings: dict[str, str | bool | int] = {**SSHD, "PermitRootLogin": root}
    if port != 22:
        settings["Port"] = port
    if banner:
        settings["Banner"] = "/etc/issue.net"
    # First in its folder: sshd keeps the first value it reads.
    yield Sshd("00-baseline", settings=hardening.changed(settings, more))


def _rules(tcp: list[int], udp: tuple[int, ...], trusted: tuple[str, ...]) -> str:
    lines = [
        "flush ruleset",
        "table inet filter {",
        "  chain input {",
        "    type filter hook input priority 0; policy drop;",
        "    ct state established,related accept",
        "    ct state invalid drop",
        '    iifname "lo" accept',
        "    meta l4proto { icmp, ipv6-icmp } accept",
    ]
    for network in trusted:
        family = "ip6" if ":" in network else "ip"
        lines.append(f"    {family} saddr {network} accept")
    lines.append(f"    tcp dport {{ {', '.join(map(str, tcp))} }} accept")
    if udp:
        lines.append(f"    udp dport {{ {', '.join(map(str, sorted(set(udp))))} }} accept")
    lines += [
        "  }",
        "  chain forward {",
        "    type filter hook forward priority 0; policy drop;",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _logs(size: str, kept: str) -> Iterator[Resource]:
    limits = File(
        "/etc/systemd/journald.conf.d/50-limits.conf",
        content=f"[Journal]\nStorage=persistent\nSystemMaxUse={size}\nMaxRetentionSec={kept}\n",
        mode="0644",
    )
    yield limits
    yield Service("systemd-journald", running=True, on_change=[limits], action="restart")
    yield Package("logrotate")
