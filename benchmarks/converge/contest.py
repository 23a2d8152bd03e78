"""Who takes part, and one turn of each: a whole command, by the clock, on the lab's servers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.converge import peers, site, wire
from benchmarks.processes import command, environment, running
from converge import Host
from converge.framing import new_nonce
from converge.graph import arrange
from converge.resource import Context
from converge.survey import survey_script
from lab import Lab, Machine, cgroups
from temporal.cli.front import SOCKET

CLI, LIBRARY, PYINFRA, ANSIBLE, LIMIT = "temporal-ops", "converge", "pyinfra", "ansible", "limit"
EVERYBODY = (CLI, LIBRARY, PYINFRA, ANSIBLE)
MOST_SECONDS = 3600.0


@dataclass(frozen=True)
class Turn:
    """One command: seconds by the clock, and CPU seconds here (it, its children, the worker and
    the Temporal server) and on all servers together."""

    seconds: float
    cpu_here: float
    cpu_servers: float


class Void(Exception):
    """The comparison does not hold: a command failed, or the servers are not alike."""


@dataclass
class Field:
    """The servers of one set of turns, and the files that tell everybody about them."""

    lab: Lab
    machines: Sequence[Machine]
    folder: Path
    bin: Path
    seen: Sequence[Machine] = ()
    """The same servers, as everybody reaches them."""
    pids: list[int] = field(default_factory=list)
    """Processes of ours that run all the time and whose CPU counts."""
    env: Mapping[str, str] = field(default_factory=dict)

    def write(self, value: str) -> None:
        """Everybody's files."""
        seen = self.seen
        shutil.copy(seen[0].known_hosts, self.folder / "known_hosts")
        known = self.folder / "known_hosts"
        hosts = [wire.described(one.address, one.port, one.key, known) for one in seen]
        resources = site.resources(value)
        self._put("hosts.json", hosts)
        self._put("resources.json", resources)
        self._put("spec.yml", {"host": hosts[0], "resources": resources})
        at_once = {"canary": 0, "wave": "100%", "parallel": len(hosts)}
        self._put("fleet.yml", {"hosts": hosts, "resources": resources, "rollout": at_once})
        self._put("site.json", site.playbook(value))
        entries = {
            one.name: {
                "ansible_host": one.address,
                "ansible_port": one.port,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(one.key),
            }
            for one in seen
        }
        self._put("inventory.json", {"all": {"hosts": entries}})
        (self.folder / "ansible.cfg").write_text(peers.ansible_settings(self.folder, len(seen)))
        (self.folder / "deploy.py").write_text(site.deploy(value))
        listed = [
            (
                one.name,
                {
                    "ssh_hostname": one.address,
                    "ssh_port": one.port,
                    "ssh_user": "root",
                    "ssh_key": str(one.key),
                    "ssh_known_hosts_file": str(known),
                    "ssh_strict_host_key_checking": "yes",
                    "ssh_allow_agent": False,
                    "ssh_look_for_keys": False,
                },
            )
            for one in seen
        ]
        (self.folder / "inventory.py").write_text(f"hosts = {listed!r}\n")
        (self.folder / "probe.sh").write_bytes(_probe(resources, dict(hosts[0])))

    def _put(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value, indent=1) + "\n")

    def argv(self, who: str) -> list[str]:
        """The whole command of one contestant."""
        own = [sys.executable, "-m"]
        files = ["hosts.json", "resources.json"]
        match who:
            case "temporal-ops" if len(self.machines) == 1:
                return [*command(), "run", "ProvisionServer", "-f", "spec.yml"]
            case "temporal-ops":
                return [*command(), "run", "ProvisionFleet", "-f", "fleet.yml"]
            case "converge":
                return [*own, "benchmarks.converge.library", *files]
            case "limit":
                return [*own, "benchmarks.converge.limit", "hosts.json", "probe.sh"]
            case "pyinfra":
                many = ["--parallel", str(len(self.machines))]
                return [str(self.bin / "pyinfra"), "-y", *many, "inventory.py", "deploy.py"]
            case "ansible":
                return [str(self.bin / "ansible-playbook"), "site.json"]
        raise ValueError(who)

    def turn(self, who: str) -> Turn:
        """Run it to its end. Raises Void if it fails."""
        env = {**environment(self.folder, self.env), "HOME": str(self.folder)}
        env |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        env["ANSIBLE_CONFIG"] = str(self.folder / "ansible.cfg")
        log = self.folder / f"{who}.log"
        before, servers = self._cpu(), self._servers_cpu()
        with log.open("wb") as out:
            start = time.perf_counter()
            process = subprocess.Popen(
                self.argv(who),
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            _, status, usage = _wait(process)
            seconds = time.perf_counter() - start
        if status != 0:
            tail = log.read_text(errors="replace")[-3000:]
            raise Void(f"{who} ended with status {status}:\n{tail}")
        here = usage.ru_utime + usage.ru_stime + self._cpu() - before
        return Turn(seconds, here, self._servers_cpu() - servers)

    def _cpu(self) -> float:
        total = 0.0
        for pid in self.pids:
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def _servers_cpu(self) -> float:
        stat = (cgroups.lab_path(self.lab.token) / "cpu.stat").read_text()
        used = dict(line.split() for line in stat.splitlines())
        return int(used["usage_usec"]) / 1e6

    def look(self) -> list[str]:
        """What every server is like now."""
        return self._everywhere(site.look())

    def look_at_change(self) -> list[str]:
        """The file that a change changes, on every server."""
        return self._everywhere(f"cat {site.files('')[0].path}")

    def _everywhere(self, script: str) -> list[str]:
        def one(machine: Machine) -> str:
            done = self.lab.exec(machine, ["sh"], script, timeout=120)
            return done.stdout + done.stderr

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, self.machines))


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int, Any]:
    """As wait4(2), so that what it and its children used is known; ended when it takes for ever."""
    import threading

    late = threading.Timer(MOST_SECONDS, lambda: os.killpg(process.pid, 9))
    late.start()
    try:
        pid, raw, usage = os.wait4(process.pid, 0)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        raise
    finally:
        late.cancel()
    process.returncode = os.waitstatus_to_exitcode(raw)
    return pid, process.returncode, usage


def _probe(resources: list[dict[str, Any]], host: dict[str, Any]) -> bytes:
    """The very script that an apply looks at a host with."""
    there = Host(host.pop("address"), **host)
    return survey_script(there, arrange(wire.wanted(resources)), Context(), new_nonce(), None)


@contextlib.contextmanager
def worker(field_: Field) -> Iterator[int]:
    """Temporal server and worker, running; gives the worker's pid."""
    env = environment(field_.folder)
    with running([*command(), "up"], env, "Ctrl-C stops") as process:
        _until_warm(field_.folder)
        below = psutil.Process(process.pid).children(recursive=True)
        field_.pids = [process.pid, *(one.pid for one in below)]
        try:
            yield process.pid
        finally:
            field_.pids = []


def _until_warm(folder: Path) -> None:
    """Until `up` has loaded what its commands use: its start is not what is measured."""
    deadline = time.monotonic() + 60
    while not list(folder.rglob(SOCKET)):
        if time.monotonic() > deadline:
            raise Void("the warm process of `up` did not begin to listen")
        time.sleep(0.05)


def peak_mib(pid: int) -> float:
    """The most memory that a process had resident so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def alike(looks: Mapping[str, Sequence[str]]) -> None:
    """Raises Void, naming lines, unless every server of everybody is the same."""
    first_who, first = next((who, look[0]) for who, look in looks.items())
    for who, seen in looks.items():
        for number, one in enumerate(seen, 1):
            if one != first:
                here, there = set(first.splitlines()), set(one.splitlines())
                raise Void(
                    f"{who}'s server {number} is not like {first_who}'s:\n"
                    f"  {sorted(here - there)}\n  {sorted(there - here)}"
                )
