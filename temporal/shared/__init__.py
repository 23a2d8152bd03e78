"""What workflows and activities share: retry policies, options, specs, secrets, errors."""

from temporal.shared.errors import HostFailed, Permanent, Retryable
from temporal.shared.options import ActivityOptions, options
from temporal.shared.progress import Progress, beat
from temporal.shared.retries import (
    get_default_retry_policy,
    get_no_retry_policy,
    get_patient_retry_policy,
)

__all__ = [
    "ActivityOptions",
    "HostFailed",
    "Permanent",
    "Progress",
    "Retryable",
    "beat",
    "get_default_retry_policy",
    "get_no_retry_policy",
    "get_patient_retry_policy",
    "options",
]
