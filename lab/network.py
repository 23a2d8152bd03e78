"""A lab's network on this machine: one bridge, one nft table that masquerades, its /24."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Interface, IPv4Network, ip_network
from pathlib import Path

from lab.commands import attempt, run
from lab.errors import LabError
from lab.subnets import PREFIX, gateway

# Every machine's systemd, journald, dbus and logind hold inotify instances, all as one user:
# Debian's 128 end at about 25 machines with "Too many open files".
_SYSCTLS_AT_LEAST = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "net/ipv4/ip_forward": 1,
}
_PROC_SYS = Path("/proc/sys")
# Held while a subnet is chosen and put on a bridge: also between labs of different state folders.
SUBNET_LOCK = Path("/run/temporal-lab/subnets.lock")


def bridge_name(token: str) -> str:
    return f"tl-{token}"


def table_name(token: str) -> str:
    return f"tl_{token}"


def link_name(token: str, number: int) -> str:
    """This machine's end of a server's cable, as systemd-nspawn names it (15 characters at most)."""
    return f"vb-{token}-{number}"


def raise_limits() -> list[str]:
    """Lift kernel settings that are too low for a lab; returns what was changed, for people.

    They stay lifted: another lab, or the user, may count on them by the time this one ends.
    """
    changed = []
    for name, least in _SYSCTLS_AT_LEAST.items():
        path = _PROC_SYS / name
        now = int(path.read_text())
        if now < least:
            path.write_text(f"{least}\n")
            changed.append(f"{name.replace('/', '.')} from {now} to {least}")
    return changed


def _ip_json(*words: str) -> list[dict[str, object]]:
    text = run(["ip", "-json", *words]).strip()
    value = json.loads(text) if text else []
    return [entry for entry in value if entry]


def networks_in_use(except_link: str = "") -> list[IPv4Network]:
    """IPv4 networks this machine has an address in or a route to, the default route aside."""
    found: set[IPv4Network] = set()
    for link in _ip_json("-4", "address", "show"):
        if link.get("ifname") == except_link:
            continue
        addresses = link.get("addr_info")
        for address in addresses if isinstance(addresses, list) else []:
            found.add(IPv4Interface(f"{address['local']}/{address['prefixlen']}").network)
    for route in _ip_json("-4", "route", "show", "table", "all"):
        target = str(route.get("dst", "default"))
        if target == "default" or route.get("dev") == except_link or route.get("type"):
            continue
        network = ip_network(target, strict=False)
        if isinstance(network, IPv4Network) and network.prefixlen > 0:
            found.add(network)
    return sorted(found)


def link_exists(name: str) -> bool:
    return (Path("/sys/class/net") / name).exists()


def uplink_mtu() -> int:
    """The MTU towards the internet: a tunnel's or a cloud's is often under Ethernet's 1500."""
    for route in _ip_json("-4", "route", "show", "default"):
        path = Path("/sys/class/net") / str(route.get("dev")) / "mtu"
        if path.is_file():
            return min(1500, int(path.read_text()))
    return 1500


def set_up(token: str, subnet: IPv4Network) -> None:
    """Make the lab's bridge and its way to the internet; doing it again changes nothing."""
    bridge = bridge_name(token)
    if not link_exists(bridge):
        run(["ip", "link", "add", "name", bridge, "type", "bridge", "forward_delay", "0"])
    run(["ip", "link", "set", bridge, "addrgenmode", "none", "up"])
    run(["ip", "address", "replace", f"{gateway(subnet)}/{PREFIX}", "dev", bridge])
    table = table_name(token)
    # `add` then `flush` then the rules, in one transaction: the same whether it was there or not.
    script = f"""
add table ip {table}
flush table ip {table}
table ip {table} {{
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} ip daddr != {subnet} masquerade
  }}
}}
"""
    run(["nft", "-f", "-"], input=script)


def tear_down(token: str) -> None:
    """Remove bridge and nft table; what is already gone is fine."""
    bridge = bridge_name(token)
    if link_exists(bridge):
        attempt(["ip", "link", "delete", bridge])
    table = table_name(token)
    if table in tables():
        attempt(["nft", "delete", "table", "ip", table])
    left = [name for name in (bridge,) if link_exists(name)]
    left += [name for name in (table,) if name in tables()]
    if left:
        raise LabError(f"{' and '.join(left)} could not be removed", do="try `down` again as root")


def tables() -> list[str]:
    """Names of the IPv4 nft tables of this machine."""
    return re.findall(r"^table ip (\S+)$", run(["nft", "list", "tables"]), re.MULTILINE)


def links(token: str) -> list[str]:
    """Servers' cables of this lab that exist now."""
    names = (path.name for path in Path("/sys/class/net").iterdir())
    return sorted(name for name in names if name.startswith(f"vb-{token}-"))


def set_link(token: str, number: int, *, up: bool) -> None:
    """Plug a server's cable in or out.

    Raises:
        LabError: the server has no cable now (it does not run).
    """
    name = link_name(token, number)
    run(["ip", "link", "set", name, "up" if up else "down"], where=name)
