"""How a repository is maintained: what goes, what is reclaimed, what is checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from temporal.shared.specs.automation.hosts import Spec

Step = Literal["forget", "prune", "check"]
Bytes = Annotated[str, StringConstraints(pattern=r"^\d+[KMGT]?$")]


class Maintain(Spec):
    """How a repository is maintained.

    Attributes:
        steps: which of them a run does. Each can have a schedule of its own.
        max_repack: bytes that one prune rewrites at most, as 2G.
        max_unused: what may stay unused: bytes, or a share of the repository.
        subsets: the content is checked in so many parts, one a run, the one that is longest ago; 0:
            only the structure is.
    """

    steps: tuple[Step, ...] = Field(("forget", "prune", "check"), min_length=1)
    max_repack: Bytes = "4G"
    max_unused: Annotated[
        str, StringConstraints(pattern=r"^(\d+[KMGT]?|\d{1,2}(\.\d+)?%|unlimited)$")
    ] = "5%"
    subsets: int = Field(12, ge=0, le=255)
