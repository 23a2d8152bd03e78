"""Which addresses a lab gets: one /24 of 198.18.0.0/15, the range set aside for benchmarks.

RFC 2544 (appendix C.2.2) and RFC 6890 keep that range off the internet and off
anybody's LAN, so a lab never hides a network that its user needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

RANGE = IPv4Network("198.18.0.0/15")
PREFIX = 24
# .1 is this machine's end; machines start at .11, which leaves ten for what a lab may add.
_FIRST_HOST = 10
MAX_MACHINES = 240


def free_subnet(taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """The first /24 that overlaps nothing in `taken`; None when the range is used up.

    The upper half comes first: some VPN clients hand out 198.18.0.0/16 as fake addresses.
    """
    size = 1 << (32 - PREFIX)
    blocked: set[int] = set()
    for network in taken:
        if network.overlaps(RANGE):
            first = max(int(network.network_address), int(RANGE.network_address))
            last = min(int(network.broadcast_address), int(RANGE.broadcast_address))
            blocked.update(range(first // size, last // size + 1))
    lower, upper = RANGE.subnets(prefixlen_diff=1)
    for half in (upper, lower):
        start = int(half.network_address) // size
        for index in range(start, start + half.num_addresses // size):
            if index not in blocked:
                return IPv4Network((index * size, PREFIX))
    return None


def gateway(subnet: IPv4Network) -> IPv4Address:
    return subnet.network_address + 1


def machine_address(subnet: IPv4Network, number: int) -> IPv4Address:
    """Address of the lab's machine `number` (1 to MAX_MACHINES)."""
    if not 1 <= number <= MAX_MACHINES:
        raise ValueError(f"machine number {number} is not within 1..{MAX_MACHINES}")
    return subnet.network_address + _FIRST_HOST + number


def machine_name(number: int) -> str:
    return f"server{number}"


def hosts_file(subnet: IPv4Network, own_number: int) -> str:
    """/etc/hosts of one machine: every machine the lab can ever have, by name.

    Names and addresses follow from numbers alone, so a machine started later is
    already known to the ones that run, and nobody's /etc/hosts is rewritten.
    """
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines.append(f"{gateway(subnet)} lab-gateway")
    order = sorted(range(1, MAX_MACHINES + 1), key=lambda number: number != own_number)
    lines += [f"{machine_address(subnet, number)} {machine_name(number)}" for number in order]
    return "\n".join(lines) + "\n"
