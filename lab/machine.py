"""One server of a lab: the record on disk of how it was started, and the value people get."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lab import cgroups
from lab.errors import LabError
from lab.keys import known_hosts_line, ssh_options
from lab.processes import ProcessId
from lab.store import read_json, write_json

State = Literal["starting", "running", "frozen", "dead"]


@dataclass(frozen=True)
class Record:
    """machine.json: written before anything starts, so that whatever a crash leaves is known.

    `start` names one start of the server (its control group); `process` is its
    supervisor, None until that one has a pid; `ready` turns true when sshd answered.
    `link` and `mounts` say what else belongs to it: both vanish with its last process.
    `disk_mib`: how large its disk is; 0: as large as this machine's. `mark`: see `Lab.marked`.
    """

    name: str
    number: int
    release: str
    base: str
    address: str
    token: str
    start: str
    link: str
    mounts: tuple[str, ...]
    host_key: str = ""
    disk_mib: int = 0
    process: ProcessId | None = None
    ready: bool = False
    mark: str = ""

    def write(self, folder: Path) -> Record:
        value: dict[str, Any] = {**asdict(self), "mounts": list(self.mounts)}
        value["process"] = self.process.as_json() if self.process else None
        if not self.mark:
            del value["mark"]  # an older lab on this machine does not know it
        write_json(folder / "machine.json", value)
        return self

    @staticmethod
    def read(folder: Path) -> Record | None:
        """The record in a server's folder; None when a crash left the folder without one."""
        value = read_json(folder / "machine.json")
        if value is None:
            return None
        process = value.pop("process")
        try:
            return Record(
                **{**value, "mounts": tuple(value["mounts"])},
                process=ProcessId.from_json(process) if process else None,
            )
        except (TypeError, KeyError) as error:
            raise LabError(
                f"written by another version of the lab ({error})",
                where=str(folder / "machine.json"),
                do="run `down` on that lab with that version, or remove the folder",
            ) from error

    def group(self) -> Path:
        return cgroups.machine_path(self.token, self.start)

    def state(self) -> State:
        """Asked of the kernel: a server lives as long as its control group holds a process."""
        group = self.group()
        if not cgroups.populated(group):
            return "dead"
        if cgroups.frozen(group):
            return "frozen"
        return "running" if self.ready else "starting"

    def but(self, **changes: Any) -> Record:
        return replace(self, **changes)


@dataclass(frozen=True)
class Machine:
    """A server of a lab, as it was when asked.

    Log in with `ssh_command()`, or with any client from `user`, `address`, `port`,
    `key` and `known_hosts`, which holds `known_hosts_line`. `pid` is its supervisor
    on this machine while it runs. `log` is its console. `mark`: see `Lab.marked`.
    """

    name: str
    release: str
    address: str
    state: State
    pid: int | None
    key: Path
    known_hosts: Path
    known_hosts_line: str
    log: Path
    lab: str
    port: int = 22
    user: str = "root"
    mark: str = ""

    @staticmethod
    def of(record: Record, *, lab: str, folder: Path, lab_folder: Path) -> Machine:
        state = record.state()
        alive = state != "dead" and record.process is not None
        return Machine(
            name=record.name,
            release=record.release,
            address=record.address,
            state=state,
            pid=record.process.pid if alive and record.process else None,
            key=lab_folder / "key",
            known_hosts=lab_folder / "known_hosts",
            known_hosts_line=known_hosts_line(record.address, record.name, record.host_key),
            log=folder / "log",
            lab=lab,
            mark=record.mark,
        )

    def ssh_command(self, *command: str) -> list[str]:
        """argv of an ssh that logs in (or runs `command`), with strict host keys."""
        target = ["-p", str(self.port), f"{self.user}@{self.address}"]
        return ["ssh", *ssh_options(self.key, self.known_hosts), *target, *command]
