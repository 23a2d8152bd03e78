"""How restores are tried, so that a backup is more than a hope; and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.backup.proofs import Chosen, Proving
from temporal.shared.specs.backup.sources import AbsolutePath, Kind


class Drill(Spec):
    """How restores are tried.

    Attributes:
        scratch: folder on the host below which it is done; it needs the room of the largest source.
        sources: so many of a host's sources in one drill, those whose last drill is longest ago,
            first of all those that never had one; 0: all.
    """

    scratch: AbsolutePath = "/var/tmp"
    sources: int = Field(1, ge=0)


class DrillChoice(Spec):
    """Result of the activity choose_drill: what a drill of a host is about.

    Attributes:
        chosen: the newest snapshots of the sources whose turn it is.
        missing: sources that have no snapshot at all. There is nothing to try, and that is told.
        because: why nothing could be chosen.
    """

    host: str
    chosen: tuple[Chosen, ...] = ()
    missing: tuple[str, ...] = ()
    because: str = ""


Verdict = Literal["proved", "unproven", "wrong", "failed", "cancelled"]


class DrilledSource(Proving):
    """What came of the restore of one source's newest snapshot into scratch.

    Attributes:
        ending: proved: all that can be compared is as it was backed up. unproven: restored without an
            error, but most of its files cannot be judged, or it has no manifest. wrong: something is
            not as it was backed up, or is missing. failed: it could not be restored. cancelled: it was
            ended.
        snapshot, time: which one, and when it was made.
        seconds: from nothing to usable: restored, and a database loaded; the real RTO.
        size: bytes in the snapshot.
        noted: whether the proof is written down in the repository.
        because: why it failed, and what to do.
    """

    source: str
    ending: Verdict
    kind: Kind | None = None
    snapshot: str = ""
    time: datetime | None = None
    seconds: float = 0.0
    size: int = 0
    noted: bool = False
    because: str = ""

    @property
    def reason(self) -> str:
        """Why it is not as it should be, in a line; nothing if it is."""
        which = f"{self.source}: " + (f"snapshot {self.snapshot[:8]}: " if self.snapshot else "")
        match self.ending:
            case "proved":
                return "" if self.noted else f"{which}proved, but {self.because}"
            case "wrong":
                shown = "; ".join(self.differences[:3])
                more = f" and {self.wrong - 3} more" if self.wrong > 3 else ""
                return f"{which}{self.because or 'restored, but wrong'}: {shown}{more}"
            case _:
                return f"{which}{self.because or self.ending}"

    @property
    def summary(self) -> str:
        """In one line."""
        if self.reason:
            return self.reason
        took = f"restored in {self.seconds:.1f} s"
        return f"{self.source}: snapshot {self.snapshot[:8]} {took}, {self.found}"


class DrilledHost(Spec):
    """What came of a host's drill. Kept as the activity's result, not in the workflow's state.

    Attributes:
        because: why nothing at all was tried there.
    """

    host: str
    sources: tuple[DrilledSource, ...] = ()
    because: str = ""

    @property
    def outcome(self) -> HostOutcome:
        """The part of it that a fleet's report is made of. Some unproven files are no reason to say
        more than `done`: on a busy host there always are some."""
        if self.because:
            return HostOutcome(host=self.host, ending="failed", because=self.because)
        why = "; ".join(filter(None, (each.reason for each in self.sources)))
        endings = {each.ending for each in self.sources}
        if endings & {"wrong", "failed", "cancelled"}:
            return HostOutcome(host=self.host, ending="failed", because=why)
        if why:
            return HostOutcome(host=self.host, ending="incomplete", because=why)
        return HostOutcome(host=self.host, ending="done")
