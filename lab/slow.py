"""Servers as seen over a slow link: a relay in front of each, known by its own host key line."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from lab import cgroups, relay
from lab.commands import environment
from lab.errors import LabError
from lab.machine import Machine
from lab.store import read_json, write_atomic
from lab.subnets import gateway


@contextlib.contextmanager
def relayed(
    machines: Sequence[Machine], *, token: str, folder: Path, rtt: float
) -> Iterator[list[Machine]]:
    """The same servers at addresses from where everything takes `rtt` seconds there and back.

    The relay is one process for all of them, in a control group of the lab: it ends with the
    block, with this process, and with the lab.
    """
    if not 0 < rtt <= 10:
        raise LabError(f"a round trip of {rtt:g} s", do="ask for more than 0 and at most 10 s")
    value = read_json(folder / "lab.json")
    if value is None or not machines:
        raise LabError("no servers to relay to", where=str(folder), do="start some with `up`")
    listen = str(gateway(IPv4Network(value["subnet"])))
    name = f"relay.{secrets.token_hex(4)}"
    group, known_hosts = cgroups.lab_path(token) / name, folder / f"known_hosts.{name}"
    group.mkdir()
    process = subprocess.Popen(
        # -I: nothing of the caller's environment, and no folder of ours before the library's.
        [sys.executable, "-I", relay.__file__, f"{folder}/"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        (group / "cgroup.procs").write_text(str(process.pid))
        targets = [[one.address, one.port] for one in machines]
        order = {"listen": listen, "delay": rtt / 2, "targets": targets}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise LabError("the relay did not start", where=listen)
        seen = []
        for one, port in zip(machines, json.loads(line), strict=True):
            key = one.known_hosts_line.split(" ", 1)[1]
            known = f"[{listen}]:{port} {key}"
            seen.append(
                replace(
                    one,
                    address=listen,
                    port=port,
                    known_hosts=known_hosts,
                    known_hosts_line=known,
                )
            )
        write_atomic(known_hosts, "".join(f"{one.known_hosts_line}\n" for one in seen))
        yield seen
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
        if group.exists():
            cgroups.end(group)
        known_hosts.unlink(missing_ok=True)
