"""What is backed up from which hosts, where to, and what is promised of it: one file for all of it.

name: shop
hosts: [admin@web1.example.org]
repository:
  url: s3:https://s3.example.org/backups/shop
  password: env://SHOP_BACKUP_PASSWORD
sources:
  uploads:
    files: [/srv/shop/uploads]
  orders:
    postgresql: shop
rpo: 26h
proof: 7d
keep: {daily: 7, weekly: 5, monthly: 12}
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.fleet import Fleet
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.rollout import Rollout, Share
from temporal.shared.specs.backup.drilling import Drill
from temporal.shared.specs.backup.maintaining import Maintain
from temporal.shared.specs.backup.repository import Repository
from temporal.shared.specs.backup.retention import Keep
from temporal.shared.specs.backup.sources import Kind, Source
from temporal.shared.specs.reading import Misfit, Reading, plain, read, read_text
from temporal.shared.specs.schedules import Duration

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
MOST_HOURS = 48
LISTED = 100
"""Files that a result names; their number is told always."""


class BackupRollout(Rollout):
    """In what steps hosts are gone over: all of them, `parallel` at a time. That one host has no backup
    is no reason to leave the others without: `max_failures` decides only how the run ends."""

    canary: Share = "0"
    wave: Share = "100%"
    max_failures: Share = "0"
    parallel: int = Field(10, ge=1, le=500)


class Protection(Spec):
    """What is backed up on each host, where to, and what is promised of it.

    Attributes:
        name: what it is called in the repository, for ever: snapshots are found by it.
        repository: where to.
        sources: what, by a name that stands in the repository as well.
        rpo: no source's newest snapshot should be older than this.
        proof: no source's last proven restore should be older than this.
        keep: which snapshots stay when the repository is maintained; without it all do.
        drill: how restores are tried.
        maintain: how the repository is maintained.
        nice: lets others on the host go first, as nice(1) and ionice(1) do.
        tries: so often restic is begun for a source that fails for a reason that may pass.
        manifest: whether the content of files is written down beside them. Without it no restore of
            them can be proved.
    """

    name: Name
    repository: Repository
    sources: dict[Name, Source] = Field(min_length=1)
    rpo: Duration = timedelta(hours=26)
    proof: Duration = timedelta(days=7)
    keep: Keep | None = None
    drill: Drill = Drill()
    maintain: Maintain = Maintain()
    nice: bool = True
    tries: int = Field(2, ge=1, le=10)
    manifest: bool = True

    @property
    def references(self) -> tuple[str, ...]:
        """All secret references that its work on a host needs."""
        named = [getattr(each, "password", None) for each in self.sources.values()]
        found = (*self.repository.references, *(each for each in named if each is not None))
        return tuple(dict.fromkeys(found))


class BackupSpec(Protection, Fleet):
    """The hosts and how they are protected: the input of BackUp, DrillRestore, MaintainRepository
    and InspectBackups.

    In a file, `backup` with the path of another one beside it takes what stands there; what is said
    beside `backup` goes over that: `{backup: shop.yml, maintain: {steps: [prune]}}`.
    """

    rollout: BackupRollout = BackupRollout()

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this."""
        if not isinstance(value, dict) or "backup" not in value:
            return super().read_as(value, folder)
        path = folder / str(value["backup"])
        over = {name: given for name, given in value.items() if name != "backup"}
        added = {name: given for name, given in over.items() if isinstance(given, dict)}
        try:
            there = plain(read_text(path), str(path))
            if isinstance(there, dict) and "backup" in there:
                raise SpecError(f"{path}: takes what it says from another file itself")
            return Reading(
                read(path, cls, {n: v for n, v in over.items() if n not in added}, added)
            )
        except SpecError as error:
            raise Misfit((("backup",), str(error), None)) from None

    @property
    def each(self) -> Protection:
        """What is done on each of them."""
        return Protection(**{name: getattr(self, name) for name in Protection.model_fields})


Ending = Literal["saved", "incomplete", "failed", "cancelled"]


class SourceBackup(Spec):
    """What came of one source.

    Attributes:
        ending: saved; incomplete: there is a snapshot, without what could not be read; failed: there
            is none; cancelled: it was not begun or not ended.
        snapshot: its id in the repository.
        seconds: how long restic took.
        files, size, added: files in it, their bytes, and the bytes that were new to the repository.
        unread, unreadable: how many files could not be read; the first hundred of them.
        because: why it failed, and what to do.
        note: what else is worth knowing.
    """

    source: str
    kind: Kind
    ending: Ending
    snapshot: str = ""
    seconds: float = 0.0
    files: int = 0
    size: int = 0
    added: int = 0
    unread: int = 0
    unreadable: tuple[str, ...] = ()
    because: str = ""
    note: str = ""

    @property
    def reason(self) -> str:
        """Why it is not as it should be, in a line; nothing if it is."""
        match self.ending:
            case "incomplete" if not self.unread:
                return f"{self.source}: incomplete: {self.because}"
            case "incomplete":
                names = ", ".join(self.unreadable[:3]) or "see restic's words"
                more = f" and {self.unread - 3} more" if self.unread > 3 else ""
                return f"{self.source}: {self.unread} files could not be read: {names}{more}"
            case "failed" | "cancelled":
                return f"{self.source}: {self.because or self.ending}"
            case _:
                return ""


class HostBackup(Spec):
    """What came of a host's backup. Kept as the activity's result, not in the workflow's state.

    Attributes:
        because: why nothing at all was begun there.
    """

    host: str
    sources: tuple[SourceBackup, ...] = ()
    because: str = ""

    @property
    def outcome(self) -> HostOutcome:
        """The part of it that a fleet's report is made of."""
        if self.because:
            return HostOutcome(host=self.host, ending="failed", because=self.because)
        why = "; ".join(filter(None, (each.reason for each in self.sources)))
        endings = {each.ending for each in self.sources}
        if endings & {"failed", "cancelled"}:
            return HostOutcome(host=self.host, ending="failed", because=why)
        if "incomplete" in endings:
            return HostOutcome(host=self.host, ending="incomplete", because=why)
        return HostOutcome(host=self.host, ending="done")
