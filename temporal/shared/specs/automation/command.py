"""Specs of a command that is run once on many hosts.

inventory: hosts.yml
limit: web,!web3
command: systemctl is-active nginx
timeout: 30
"""

from __future__ import annotations

import re
import shlex
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from temporal.shared.secrets import SecretRef
from temporal.shared.specs.automation.fleet import Fleet
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.rollout import Rollout, Share

LONGEST = 100_000
"""Bytes of a command: it is one argument of a shell, and those end at 131,072 (execve(2))."""
MOST_HOURS = 12
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class CommandRollout(Rollout):
    """In what steps a command is run: on all hosts at once, `parallel` at a time, and on all of them
    whatever fails, unless the spec says otherwise. Who asks 300 hosts wants 300 answers."""

    canary: Share = "0"
    wave: Share = "100%"
    max_failures: Share = "100%"


class HostCommand(Spec):
    """What is run on each host. The same for all, so it is kept once.

    Attributes:
        command: a line for sh.
        argv: or a program and its arguments, taken as they are; exactly one of the two.
        user: run it as this user; default: whom the host's login (and `sudo`) makes us.
        cwd: where; default: the user's home directory.
        environment: variables.
        secrets_environment: variables with secret references. On its way to a host a value is
            never in argv, and it is taken out of what comes back.
        timeout: seconds on a host; then it is ended there, and has failed.
    """

    command: str | None = None
    argv: tuple[str, ...] | None = Field(None, min_length=1)
    user: str | None = Field(None, pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    cwd: str | None = Field(None, pattern=r"^/")
    environment: dict[str, str] = Field(default_factory=dict)
    secrets_environment: dict[str, SecretRef] = Field(default_factory=dict)
    timeout: float = Field(600.0, gt=0, le=MOST_HOURS * 3600)

    @model_validator(mode="after")
    def _one_command(self) -> Self:
        if (self.command is None) == (self.argv is None):
            raise ValueError("give exactly one of command and argv")
        if not self.text.strip() or (self.argv and not self.argv[0]):
            raise ValueError("the command is empty")
        if "\0" in self.text:
            raise ValueError("the command holds a NUL character, which no shell can")
        if len(self.text.encode()) > LONGEST:
            raise ValueError(f"a command has at most {LONGEST} bytes: bring it there as a file")
        both = set(self.environment) & set(self.secrets_environment)
        if both:
            raise ValueError(f"{min(both)} is in environment and in secrets_environment")
        return self

    @field_validator("environment", "secrets_environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _VARIABLE.fullmatch(name) or "\0" in text:
                raise ValueError(f"{name!r} is no name of a variable")
        return value

    @property
    def text(self) -> str:
        """What sh is given."""
        return shlex.join(self.argv) if self.argv is not None else self.command or ""


class CommandSpec(HostCommand, Fleet):
    """A command and the hosts that it is run on: the input of RunCommand."""

    rollout: CommandRollout = CommandRollout()

    @property
    def each(self) -> HostCommand:
        """What is run on each of them."""
        return HostCommand(**{name: getattr(self, name) for name in HostCommand.model_fields})


class Output(Spec):
    """What a command wrote to one of its outputs.

    Attributes:
        text: what was kept of it: all, or of over 64 KiB the beginning and the end, with a line
            between them that says how much is missing.
        cut: how many bytes were not kept.
    """

    text: str = ""
    cut: int = 0


class CommandResult(Spec):
    """What a command said on one host. Kept as the activity's result, not in the workflow's state.

    Attributes:
        ending: exited; timed out; unknown: the host stopped it half way (a reboot, a kill), and it
            was not run again; not run: it could not be begun, and `because` says why.
        status: its exit status; over 128: by a signal, as a shell tells it.
        seconds: how long it took there.
    """

    host: str
    ending: Literal["exited", "timed out", "unknown", "not run"]
    status: int | None = None
    seconds: float = 0.0
    stdout: Output = Output()
    stderr: Output = Output()
    because: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.ending == "exited" and self.status == 0

    @property
    def why(self) -> str:
        """Why it failed, in a line; nothing if it did not."""
        if self.ok:
            return ""
        last = (self.stderr.text.strip() or self.stdout.text.strip()).rpartition("\n")[2].strip()
        said = f": {last[:300]}" if last else ""
        match self.ending:
            case "exited":
                return f"exit status {self.status}{said}"
            case "timed out":
                return f"ended after {self.seconds:.0f} s, its timeout{said}"
            case "unknown":
                return (
                    "the host stopped it half way (a reboot, or its unit was killed); how far it"
                    " came is not known, and it was not run again"
                )
            case "not run":
                return self.because

    @property
    def summary(self) -> str:
        """In one line."""
        return f"{self.host}: {self.why or 'done'}"

    @property
    def outcome(self) -> HostOutcome:
        """The part of it that a fleet's report is made of."""
        return HostOutcome(host=self.host, ending="done" if self.ok else "failed", because=self.why)
