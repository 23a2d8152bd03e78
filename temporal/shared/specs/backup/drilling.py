"""How restores are tried, so that a backup is more than a hope."""

from __future__ import annotations

from pydantic import Field

from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.backup.sources import AbsolutePath


class Drill(Spec):
    """How restores are tried.

    Attributes:
        scratch: folder on the host below which it is done; it needs the room of the largest source.
        sources: so many of a host's sources in one drill, those whose proof is oldest; 0: all.
    """

    scratch: AbsolutePath = "/var/tmp"
    sources: int = Field(1, ge=0)
