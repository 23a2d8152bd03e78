"""Addresses of labs: never one that somebody has, and names that follow from numbers."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.subnets import (
    MAX_MACHINES,
    RANGE,
    free_subnet,
    gateway,
    hosts_file,
    machine_address,
    machine_name,
)

networks = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.one_of(
        st.integers(int(RANGE.network_address), int(RANGE.broadcast_address)),
        st.integers(0, 2**32 - 1),
    ),
    st.integers(1, 32),
)


@given(st.lists(networks, max_size=12))
def test_a_free_subnet_overlaps_nothing(taken: list[IPv4Network]) -> None:
    found = free_subnet(taken)
    if found is None:
        candidates = RANGE.subnets(new_prefix=24)
        assert all(any(one.overlaps(other) for other in taken) for one in candidates)
    else:
        assert found.prefixlen == 24
        assert found.subnet_of(RANGE)
        assert not any(found.overlaps(network) for network in taken)


def test_labs_get_different_subnets_until_the_range_is_used_up() -> None:
    taken: list[IPv4Network] = []
    while (found := free_subnet(taken)) is not None:
        taken.append(found)
    assert len(set(taken)) == len(taken) == 512


def test_a_vpn_on_the_lower_half_is_left_alone() -> None:
    assert free_subnet([IPv4Network("198.18.0.0/16")]) == IPv4Network("198.19.0.0/24")


def test_addresses_and_names() -> None:
    subnet = IPv4Network("198.19.7.0/24")
    addresses = [machine_address(subnet, number) for number in range(1, MAX_MACHINES + 1)]
    assert len({*addresses, gateway(subnet)}) == MAX_MACHINES + 1
    assert all(address in subnet for address in addresses)
    assert subnet.broadcast_address not in addresses
    for number in (0, MAX_MACHINES + 1):
        with pytest.raises(ValueError, match="not within"):
            machine_address(subnet, number)


def test_hosts_file_knows_everybody_and_itself_first() -> None:
    subnet = IPv4Network("198.19.7.0/24")
    lines = hosts_file(subnet, 5).splitlines()
    own = f"{machine_address(subnet, 5)} {machine_name(5)}"
    assert own in lines
    others = [line for line in lines if line.startswith("198.19.7.") and "gateway" not in line]
    assert others[0] == own
    assert len(others) == MAX_MACHINES
