"""A lab: a named set of real servers on this machine, with their own network and keys."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from hashlib import sha256
from ipaddress import IPv4Network
from pathlib import Path
from subprocess import CompletedProcess

from lab import base, disk, faults, inside, network, registry, slow, supervisor
from lab.commands import cpus
from lab.errors import LabError, LabMissing
from lab.keys import known_hosts_line, make_key, public_key
from lab.machine import Machine, Record
from lab.needs import missing
from lab.processes import ProcessId, identify
from lab.remains import remove_remains
from lab.store import default_root, locked, read_json, write_atomic, write_json
from lab.subnets import MAX_MACHINES, free_subnet, machine_address, machine_name

OnEvent = Callable[[str], None]
_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,40}$")
# Waiting costs nothing, booting costs CPU: more at once than this only makes each later.
_BOOTS_AT_ONCE = max(4, 4 * cpus())


def valid_name(name: str) -> bool:
    return _NAME.match(name) is not None


def _silent(event: str) -> None:
    """What `on_event` is when nobody listens."""


class Lab:
    """A lab by its name; making the object touches nothing, `up` starts servers.

    Args:
        name: lower-case letters, digits and dashes. Two labs of different names share
            nothing but the base images.
        root: the state folder (default: TEMPORAL_LAB_ROOT, or /var/lib/temporal-ops/lab).
        owner: pid of the process this lab is for; when it is dead, `lab.gc` removes
            the lab. None: the lab stays until `down`.
        packages: Debian packages that its servers have beyond the usual few.

    Methods that change something hold the lab's lock, so processes can share a lab.
    """

    def __init__(
        self,
        name: str = "default",
        *,
        root: Path | str | None = None,
        owner: int | None = None,
        packages: Sequence[str] = (),
    ) -> None:
        if not valid_name(name):
            raise LabError(
                f"{name!r} cannot name a lab", do="use lower-case letters, digits and dashes"
            )
        self.name = name
        self.root = Path(root).absolute() if root else default_root()
        if re.search(r"[:,\\\s\"]", str(self.root)):
            raise LabError(
                "an overlay mount cannot have blanks, colons, commas or backslashes in its path",
                where=str(self.root),
                do="set TEMPORAL_LAB_ROOT to another folder",
            )
        self.token = sha256(f"{self.root}\0{name}".encode()).hexdigest()[:8]
        self.folder = self.root / "labs" / name
        self._lock = self.root / "locks" / f"lab-{name}"
        self._owner = owner
        self._packages = tuple(packages)

    # ---------------------------------------------------------------- looking

    def _machine_folder(self, name: str) -> Path:
        return self.folder / "machines" / name

    def _machine_names(self) -> list[str]:
        folder = self.folder / "machines"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return sorted(names, key=lambda name: (len(name), name))

    def _records(self) -> list[Record]:
        found = (Record.read(self._machine_folder(name)) for name in self._machine_names())
        return [record for record in found if record is not None]

    def _record(self, machine: Machine | str) -> Record:
        name = machine if isinstance(machine, str) else machine.name
        record = Record.read(self._machine_folder(name))
        if record is None:
            known = ", ".join(self._machine_names()) or "none"
            raise LabError(f"no server {name!r}", where=f"lab {self.name}", do=f"it has: {known}")
        return record

    def _view(self, record: Record) -> Machine:
        folder = self._machine_folder(record.name)
        return Machine.of(record, lab=self.name, folder=folder, lab_folder=self.folder)

    def machines(self) -> list[Machine]:
        """The lab's servers as they are now, dead ones too."""
        return [self._view(record) for record in self._records()]

    def machine(self, name: str) -> Machine:
        """One server by its name.

        Raises:
            LabError: the lab has no such server; the error names those it has.
        """
        return self._view(self._record(name))

    def owner(self) -> ProcessId | None:
        """The process this lab is for, as it was recorded."""
        value = read_json(self.folder / "lab.json")
        owner = value.get("owner") if value else None
        return ProcessId.from_json(owner) if owner else None

    # --------------------------------------------------------------- starting

    def up(
        self, count: int, release: str = "bookworm", on_event: OnEvent = _silent
    ) -> list[Machine]:
        """Bring the number of running servers of `release` to at least `count`.

        Crashed ones of that release are removed and started anew; running ones stay
        as they are. Returns all running servers of that release, by number, each of
        which has answered ssh with the host key in its known_hosts.

        Raises:
            LabMissing: this machine cannot run a lab.
            LabError: an image could not be built or a server did not come up.
        """
        if not 0 <= count <= MAX_MACHINES:
            raise LabError(f"{count} servers asked for", do=f"ask for 0 to {MAX_MACHINES}")
        return self._bring_up(
            release, on_event, lambda running: max(0, count - running), replace_dead=True
        )

    def add(
        self,
        count: int = 1,
        release: str = "bookworm",
        on_event: OnEvent = _silent,
        *,
        disk_mib: int = 0,
    ) -> list[Machine]:
        """Start `count` fresh servers beside all there are; returns the new ones.

        `disk_mib`: how much they can write in all (0: as much as this machine has room for);
        at least 32, of which 8 or so are used when a server has started.
        """
        if disk_mib and not 32 <= disk_mib <= 2**20:
            raise LabError(f"a disk of {disk_mib} MiB", do="ask for 32 to 1048576, or 0: no bound")
        before = set(self._machine_names())
        after = self._bring_up(
            release, on_event, lambda running: count, replace_dead=False, disk_mib=disk_mib
        )
        return [machine for machine in after if machine.name not in before]

    def marked(
        self,
        mark: str,
        release: str = "bookworm",
        on_event: OnEvent = _silent,
        *,
        disk_mib: int = 0,
    ) -> Machine:
        """The server that bears `mark`, a text of the caller's; a fresh one if there is none.

        Two calls at a time, and a call after one that was killed, end with one server.
        """

        def missing_ones(running: int) -> int:
            found = [record for record in self._records() if record.mark == mark]
            half = [one for one in found if one.state() == "dead" and not one.ready]
            for record in half:  # whoever made it was killed meanwhile
                self._remove(record.name)
            return 0 if len(found) > len(half) else 1

        self._bring_up(
            release, on_event, missing_ones, replace_dead=False, disk_mib=disk_mib, mark=mark
        )
        made = next(machine for machine in self.machines() if machine.mark == mark)
        return self.power_on(made, on_event)

    def _bring_up(
        self,
        release: str,
        say: OnEvent,
        how_many: Callable[[int], int],
        *,
        replace_dead: bool,
        disk_mib: int = 0,
        mark: str = "",
    ) -> list[Machine]:
        if reasons := missing(self.root):
            raise LabMissing(reasons)
        image = base.ensure(self.root, release, say, packages=self._packages)
        with locked(self._lock):
            subnet = self._open(say)
            self._clear(release if replace_dead else None, say)
            existing = self._records()
            waiting = [one for one in existing if one.release == release and one.state() != "dead"]
            new = self._numbers(how_many(len(waiting)), {one.number for one in existing})
            with ThreadPoolExecutor(_BOOTS_AT_ONCE) as pool:
                started = list(
                    pool.map(
                        lambda one: self._prepare(one, release, image, subnet, disk_mib, mark), new
                    )
                )
            self._write_known_hosts()
            unready = [one for one in waiting if not one.ready and one.state() == "starting"]
            self._each([*unready, *started], lambda one, stop: self._boot(one, say, stop))
            wanted = {one.name for one in [*waiting, *started]}
            return [machine for machine in self.machines() if machine.name in wanted]

    def _clear(self, release: str | None, say: OnEvent) -> None:
        """Remove the dead servers of `release`, and folders a crash left without a record."""
        for name in self._machine_names():
            record = Record.read(self._machine_folder(name))
            if record is None:
                self._remove(name)
            elif record.release == release and record.state() == "dead":
                say(f"{name} is dead: removed")
                self._remove(name)

    def _numbers(self, count: int, taken: set[int]) -> list[int]:
        free = [number for number in range(1, MAX_MACHINES + 1) if number not in taken]
        if count > len(free):
            raise LabError(f"a lab holds {MAX_MACHINES} servers at most", do="use a second lab")
        return free[:count]

    def _open(self, say: OnEvent) -> IPv4Network:
        """Make the lab itself (folder, key, subnet, bridge), or find it as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Private keys and, in a server's disk, setuid programs: not for every user here.
        self.root.chmod(0o711)
        self.folder.chmod(0o700)
        for change in network.raise_limits():
            say(f"raised {change}")
        make_key(self.folder / "key", f"lab-{self.name}")
        owner = identify(self._owner) if self._owner else self.owner()
        with locked(network.SUBNET_LOCK):
            value = read_json(self.folder / "lab.json") or {}
            subnet = IPv4Network(value["subnet"]) if "subnet" in value else None
            taken = network.networks_in_use(network.bridge_name(self.token))
            if subnet is None or (subnet in taken and not self._records()):
                subnet = free_subnet(taken)
            if subnet is None:
                raise LabError("every /24 of 198.18.0.0/15 is taken", do="take another lab down")
            write_json(
                self.folder / "lab.json",
                {"subnet": str(subnet), "owner": owner.as_json() if owner else None},
            )
            registry.register(self.token, self.root, self.name)
            network.set_up(self.token, subnet)
        return subnet

    def _prepare(
        self,
        number: int,
        release: str,
        image: Path,
        subnet: IPv4Network,
        disk_mib: int,
        mark: str = "",
    ) -> Record:
        name = machine_name(number)
        folder = self._machine_folder(name)
        folder.mkdir(parents=True)
        record = Record(
            name=name,
            number=number,
            release=release,
            base=str(image),
            address=str(machine_address(subnet, number)),
            token=self.token,
            start=f"{name}.{secrets.token_hex(4)}",
            link=network.link_name(self.token, number),
            mounts=(str(folder / "root"), *([str(folder / "space")] if disk_mib else [])),
            disk_mib=disk_mib,
            mark=mark,
        ).write(folder)
        host_key = disk.seed(
            folder,
            number=number,
            subnet=subnet,
            login_key=public_key(self.folder / "key"),
            mtu=network.uplink_mtu(),
            pool=self._pool(release),
        )
        if disk_mib:
            disk.bound(folder, disk_mib)
        return record.but(host_key=host_key).write(folder)

    def _boot(self, record: Record, say: OnEvent, stop: threading.Event) -> None:
        """Start the server, unless it already does, and wait until it is up."""
        started = time.monotonic()
        folder = self._machine_folder(record.name)
        if record.state() == "dead":
            record = record.but(process=supervisor.launch(record, folder)).write(folder)
        try:
            word = supervisor.await_ready(record, self._view(record), give_up=stop)
        except LabError:
            supervisor.stop(record)
            raise
        record.but(ready=True).write(folder)
        health = "" if word == "running" else f", but systemd says {word}"
        seconds = time.monotonic() - started
        say(f"{record.name} answers ssh at {record.address} after {seconds:.1f} s{health}")

    def _each(
        self, records: Sequence[Record], work: Callable[[Record, threading.Event], None]
    ) -> None:
        """Do `work` on all at once, bounded; the first failure stops the rest and is raised."""
        stop = threading.Event()
        with ThreadPoolExecutor(_BOOTS_AT_ONCE) as pool:
            futures: list[Future[None]] = [pool.submit(work, one, stop) for one in records]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                stop.set()
                for future in futures:
                    future.cancel()
                raise

    def _write_known_hosts(self) -> None:
        lines = [
            known_hosts_line(record.address, record.name, record.host_key)
            for record in self._records()
            if record.host_key
        ]
        write_atomic(self.folder / "known_hosts", "".join(f"{line}\n" for line in lines))

    def _pool(self, release: str) -> Path:
        return self.root / "debs" / release

    # --------------------------------------------------------------- stopping

    def down(self, names: Iterable[str] | None = None) -> list[str]:
        """Remove servers (all: None) with all they had; returns the names of those removed.

        Without names the lab goes too: keys, bridge, nft table, control groups, subnet.
        Also cleans what a killed process left. Down of what is not there is fine.
        """
        names = None if names is None else set(names)
        with locked(self._lock):
            known = self._machine_names()
            wanted = [name for name in known if names is None or name in names]
            for name in wanted:
                self._remove(name)
            if names is None:
                self._close()
            elif wanted:
                self._write_known_hosts()
            return wanted

    def _remove(self, name: str) -> None:
        folder = self._machine_folder(name)
        record = Record.read(folder)
        if record is not None:
            supervisor.stop(record)
            disk.harvest(folder, self._pool(record.release))
        shutil.rmtree(folder)

    def _close(self) -> None:
        remove_remains(self.token)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        registry.unregister(self.token)
        self._lock.unlink(missing_ok=True)  # held here: see store.locked

    # ----------------------------------------------------------------- faults

    def kill(self, machine: Machine | str) -> None:
        """Cut the server's power: every process of it ends at once, its disk stays."""
        with locked(self._lock):
            supervisor.stop(self._record(machine))

    def power_on(self, machine: Machine | str, on_event: OnEvent = _silent) -> Machine:
        """Start a dead server again, with the disk it had; returns when it answers ssh."""
        with locked(self._lock):
            record = self._record(machine)
            if record.state() != "dead":
                return self._view(record)
            self._open(on_event)
            start = f"{record.name}.{secrets.token_hex(4)}"
            again = record.but(start=start, process=None, ready=False)
            again.write(self._machine_folder(record.name))
            self._each([again], lambda one, stop: self._boot(one, on_event, stop))
            return self._view(self._record(machine))

    def freeze(self, machine: Machine | str) -> None:
        """Stop the server in its tracks: connections stay open and nothing answers."""
        faults.freeze(self._record(machine))

    def thaw(self, machine: Machine | str) -> None:
        """Let a frozen server run on."""
        faults.thaw(self._record(machine))

    def cut_network(self, machine: Machine | str) -> None:
        """Pull the server's cable: nothing passes, and neither side is told."""
        faults.cut_network(self._record(machine))

    def restore_network(self, machine: Machine | str) -> None:
        """Plug the server's cable in again."""
        faults.restore_network(self._record(machine))

    def fill_disk(self, machine: Machine | str, *, keep: int = 0) -> None:
        """Fill the server's disk up to the last block, or but for `keep` bytes.

        Raises:
            LabError: its disk has no bound of its own (see `add`), or it does not run.
        """
        record = self._record(machine)
        faults.fill_disk(record, self._machine_folder(record.name), keep=keep)

    def restore_disk(self, machine: Machine | str) -> None:
        """Give back what `fill_disk` took."""
        record = self._record(machine)
        faults.empty_disk(record, self._machine_folder(record.name))

    def relay(
        self, machines: Machine | Sequence[Machine], *, rtt: float
    ) -> AbstractContextManager[list[Machine]]:
        """The servers as seen over a slow link, for the length of a `with` block.

            with lab.relay(servers, rtt=0.05) as far:
                subprocess.run(far[0].ssh_command("true"))

        Each comes back as it was, but with the address, port and known_hosts of its relay, from
        where a round trip takes `rtt` seconds (making a connection takes one too). Bandwidth
        stays as it is.
        """
        given = [machines] if isinstance(machines, Machine) else list(machines)
        return slow.relayed(given, token=self.token, folder=self.folder, rtt=rtt)

    def exec(
        self,
        machine: Machine | str,
        argv: Sequence[str],
        input: str | None = None,
        *,
        timeout: float = 60.0,
    ) -> CompletedProcess[str]:
        """Run `argv` as root inside the server without ssh, and hand back what it said.

        Raises:
            LabError: the server does not run, or the command ran longer than `timeout`
                seconds (it is ended then).
        """
        return inside.execute(self._record(machine), argv, input, timeout=timeout)
