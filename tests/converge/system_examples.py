"""One good resource of each type that settles the system, for tests that go over all types."""

from __future__ import annotations

from converge import (
    Command,
    Cron,
    Hostname,
    HostsEntry,
    KernelModule,
    Locale,
    Mount,
    Nftables,
    PostgresDatabase,
    PostgresRole,
    Resource,
    Sshd,
    Sudoers,
    Swap,
    Sysctl,
    Timer,
    Timezone,
    UnattendedUpgrades,
    Unit,
)

RULES = """
flush ruleset
table inet filter {
  set seen { type ipv4_addr; flags timeout; timeout 1h; }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    tcp dport { 22, 80 } counter accept
  }
}
"""

SYSTEM: dict[str, Resource] = {
    "command": Command("touch /root/done", creates="/root/done"),
    "cron": Cron("job", schedule="*/5 1-3 * jan,feb mon-fri", command="date +%s"),
    "hostname": Hostname("web1"),
    "hosts_entry": HostsEntry("10.9.8.7", names=["db1", "db1.internal"]),
    "kernel_module": KernelModule("br_netfilter"),
    "locale": Locale("de_DE.UTF-8"),
    "mount": Mount("/srv/cache", source="tmpfs", fstype="tmpfs", options=["size=4M"]),
    "nftables": Nftables(content=RULES),
    "postgres_database": PostgresDatabase("app", owner="app"),
    "postgres_role": PostgresRole("app"),
    "sshd": Sshd("10-hard", settings={"PasswordAuthentication": False, "X11Forwarding": False}),
    "sudoers": Sudoers("ops", group="ops"),
    "swap": Swap("/swapfile", size="8M"),
    "sysctl": Sysctl("net.ipv4.ip_forward", value=1),
    "timer": Timer("tick", command="/bin/true", on_calendar=["daily"]),
    "timezone": Timezone("Europe/Berlin"),
    "unattended_upgrades": UnattendedUpgrades("security"),
    "unit": Unit("app.service", sections={"Service": {"ExecStart": "/bin/sleep infinity"}}),
}
