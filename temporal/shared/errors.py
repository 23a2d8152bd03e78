"""The few error types, each of which says whether another try makes sense.

Raised in an activity, `Retryable` is tried again under the activity's retry policy; everything that
derives from `Permanent` ends the activity at once, since the same input would fail the same way.
Outside of activities (command line, library) they are ordinary exceptions with a clear message.
"""

from __future__ import annotations

from temporalio.exceptions import ApplicationError


class OpsError(Exception):
    """Base of this project's errors outside of workflows and activities."""


class ConfigError(OpsError):
    """A setting is wrong; the message names the variable or file that set it."""


class RegistryError(OpsError):
    """What is registered does not hold together; `problems` has one line for each finding."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class UnknownName(OpsError):
    """No workflow or activity has this name; the message offers the near ones."""


class SpecError(OpsError):
    """A spec file is wrong; the message names file, line, field, value and what would be right."""


class ConnectError(OpsError):
    """The Temporal server did not answer; the message says which setting named it."""


class Retryable(ApplicationError):
    """Failed for a reason that may pass: network, lock, a busy service."""

    def __init__(self, message: str, *details: object) -> None:
        super().__init__(message, *details, type=type(self).__name__)


class Permanent(ApplicationError):
    """Failed for a reason that another try cannot change: bad input, a refused key."""

    def __init__(self, message: str, *details: object) -> None:
        super().__init__(message, *details, type=type(self).__name__, non_retryable=True)


class SecretError(Permanent):
    """A secret reference cannot be resolved. Never carries the secret."""


class PayloadTooLarge(Permanent, OpsError):
    """An argument or result is over Temporal's payload limit."""


class NotSerialisable(Permanent, OpsError):
    """An argument or result cannot be turned into JSON."""


class HostFailed(Permanent):
    """A host was reached, and its resources did not reach the declared state."""
