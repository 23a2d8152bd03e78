"""What came of a command that was run on a host once. A value."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Ending = Literal["exited", "timed out", "unknown"]


class Said(BaseModel):
    """What a command wrote to one of its outputs.

    Attributes:
        text: all of it, or of a long one the beginning; bytes that are no UTF-8 as U+FFFD.
        rest: of a long one, its end.
        cut: how many bytes between them were not kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    rest: str = ""
    cut: int = 0

    def render(self) -> str:
        """For people: what was kept, and where something was not."""
        if not self.cut:
            return self.text
        return f"{self.text.rstrip()}\n[... {self.cut} bytes not kept ...]\n{self.rest.lstrip()}"


class Ran(BaseModel):
    """What came of a command.

    Attributes:
        host: where it ran.
        run_id: which run of it.
        ending: exited; timed out: it was ended; unknown: the host stopped it half way (it was
            rebooted, or its unit killed), and nobody knows how far it came.
        status: what it ended with; 128 and more: by a signal, as the shell tells it. None if unknown.
        seconds: how long it took on the host.
        stdout, stderr: what it said.
        attached: it was begun by an earlier call.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    run_id: str
    ending: Ending
    status: int | None = None
    seconds: float = 0.0
    stdout: Said = Said()
    stderr: Said = Said()
    attached: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.ending == "exited" and self.status == 0
