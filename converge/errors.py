"""What can go wrong, as types. Each says whether trying again can help.

`retryable` is about the cause, not about safety: every call in this package may be repeated
with the same run id. A caller such as a workflow engine maps it to its own retry policy.
"""

from __future__ import annotations


class ConvergeError(Exception):
    """Base of all errors of this package."""

    retryable: bool = False

    def __init__(self, message: str, *, host: str = "") -> None:
        super().__init__(f"{host}: {message}" if host else message)
        self.host = host


class InvalidResources(ConvergeError):
    """The resources contradict each other, form a cycle, or name what is not there."""


class SecretUnresolved(ConvergeError):
    """A secret reference could not be turned into a value."""


class MaterialMissing(ConvergeError):
    """A file or template of the controller could not be read, or not be rendered."""


class ConnectError(ConvergeError):
    """The host could not be reached or did not let us in."""


class Unreachable(ConnectError):
    """No answer: name not resolved, no route, or timed out."""

    retryable = True


class Refused(ConnectError):
    """The address answers, the port does not."""

    retryable = True


class ConnectionLost(ConnectError):
    """The connection broke. What runs on the host goes on; the same run id attaches again."""

    retryable = True


class HostKeyUnknown(ConnectError):
    """The host's key is in no known_hosts file."""


class HostKeyChanged(ConnectError):
    """The host shows another key than the one on record."""


class PermissionDenied(ConnectError):
    """The host answers and refuses the user, the key or the password."""


class SudoRefused(ConvergeError):
    """sudo wants a password that was not given, or refuses the one given."""


class HostUnsupported(ConvergeError):
    """The host lacks something this package cannot do without."""


class HostFailed(ConvergeError):
    """The host answered, but not with what its script should have said."""

    retryable = True


class Locked(ConvergeError):
    """Another run holds this host."""

    retryable = True

    def __init__(self, message: str, *, host: str = "", holder: str = "") -> None:
        super().__init__(message, host=host)
        self.holder = holder


class Interrupted(ConvergeError):
    """The run on the host keeps ending before its end (killed, rebooted)."""

    retryable = True


class Aborted(ConvergeError):
    """The run was stopped by `abort`. This run id is spent."""


class RunMismatch(ConvergeError):
    """This run id was used on this host with other resources."""


class PlanOutdated(ConvergeError):
    """The host no longer looks as it did when the plan was made."""


class ApplyFailed(ConvergeError):
    """Something still differs after the last pass. `Report.raise_for_failure` raises it."""
