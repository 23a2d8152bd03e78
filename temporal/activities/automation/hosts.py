"""Hosts: from a spec to the way there."""

from __future__ import annotations

import asyncio

from converge import Host
from temporal.shared.errors import Permanent
from temporal.shared.specs.automation import HostSpec


async def open_host(spec: HostSpec) -> Host:
    """The host that `spec` means; looks a lab server up in its lab.

    Raises:
        Permanent: the lab has no such server, or it does not run.
    """
    if spec.local:
        return Host.local(sudo=spec.sudo)
    if spec.lab:
        return await asyncio.to_thread(_lab_host, spec.lab, spec.lab_name)
    assert spec.address is not None  # the spec has exactly one of the three
    return Host(
        spec.address,
        user=spec.user,
        port=spec.port,
        key=spec.key,
        certificate=spec.certificate,
        known_hosts=spec.known_hosts,
        jump=spec.jump,
        concurrency=spec.concurrency,
        host_keys="accept-new" if spec.accept_new_host_key else "strict",
        sudo=spec.sudo,
        sudo_password=spec.sudo_password,
    )


def _lab_host(name: str, lab_name: str) -> Host:
    from lab import Lab

    machines = Lab(lab_name).machines()
    found = next((machine for machine in machines if machine.name == name), None)
    if found is None or found.state != "running":
        names = ", ".join(f"{m.name} ({m.state})" for m in machines) or "none"
        raise Permanent(
            f"lab {lab_name!r} has no running server {name!r}; it has: {names}. "
            "Start one: `temporal-ops lab up`"
        )
    return Host(
        found.address,
        user=found.user,
        port=found.port,
        key=str(found.key),
        known_hosts=str(found.known_hosts),
    )
