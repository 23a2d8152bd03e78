"""Failures as text for people."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure

from temporal.shared import errors

# Our own messages say all there is to say; the name of their type would only stand in front.
_SPEAK_FOR_THEMSELVES = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.Permanent | errors.Retryable)
}


def failure_text(failure: Failure) -> str:
    """A failure with its causes, each on a line of its own, without stack traces."""
    lines: list[str] = []
    inner: Failure | None = failure
    while inner is not None:
        text = inner.message or inner.WhichOneof("failure_info") or "failed"
        kind = inner.application_failure_info.type
        if kind and kind not in _SPEAK_FOR_THEMSELVES and not text.startswith(f"{kind}: "):
            text = f"{kind}: {text}"
        # What Temporal wraps around an activity's failure says nothing that the step does not.
        wrapper = inner.HasField("activity_failure_info") and inner.HasField("cause")
        told = bool(lines and inner.message) and inner.message in lines[-1]
        if not wrapper and not told:  # told: `raise B(str(a)) from a`
            lines.append(text)
        inner = inner.cause if inner.HasField("cause") else None
    return "\ncaused by ".join(lines)
