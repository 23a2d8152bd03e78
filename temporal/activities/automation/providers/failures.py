"""What a cloud answers when it does not do as asked: worth another try, or not."""

from __future__ import annotations

import re

from temporal.shared.errors import Permanent, Retryable

_THROTTLED = re.compile(r"request ?limit|rate ?limit|throttl|too many requests|slow ?down", re.I)
_QUOTA = re.compile(
    r"quota|limit ?exceeded|exceed\w*\b.{0,80}\blimit|limit\b.{0,60}\bexceeded|limit reached", re.I
)
_LONGEST = 500
_BUSY = (408, 409, 425, 429)


def explained(error: Exception, provider: str, doing: str) -> Retryable | Permanent:
    """The error of a driver in words, with its own; never with an address that bears a key.

    Out of quota and refused is for a person to settle: Permanent. Throttled, 5xx, cut off, slow: may
    pass.
    """
    if isinstance(error, Retryable | Permanent):
        return error
    said = _said(error)
    status = _status(error)
    if _THROTTLED.search(said) or status == 429:
        return Retryable(f"{provider} is asked too often ({doing}): {said}")
    if _QUOTA.search(said):
        return Permanent(f"{provider} gives no more, a quota is reached ({doing}): {said}")
    kind = type(error).__name__
    if kind == "InvalidCredsError" or status in (401, 403):
        return Permanent(f"{provider} refuses the credentials ({doing}): {said}")
    if kind == "MalformedResponseError" or (status is not None and status >= 500):
        return Retryable(f"{provider} fails ({doing}): {said}")
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return Retryable(f"{provider} does not answer in time ({doing}): {said}")
    if isinstance(error, OSError):
        return Retryable(f"{provider} cannot be reached ({doing}): {said}")
    if status in _BUSY:
        return Retryable(f"{provider} is busy ({doing}): {said}")
    return Permanent(f"{provider} refuses ({doing}): {said}")


def _status(error: Exception) -> int | None:
    for name in ("code", "http_code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, int):
            return int(value)
    return None


def _said(error: Exception) -> str:
    value = getattr(error, "value", None)  # LibcloudError's text is its repr
    body = getattr(error, "body", None)
    text = value if isinstance(value, str) else str(error)
    if isinstance(body, str) and body.strip():
        text = f"{text}: {body}"
    # requests shows the whole URL, and some drivers sign there.
    text = re.sub(r"\?[^\s'\")]*", "", " ".join(text.split()))
    status = _status(error)
    wordless = f"HTTP {status}, without a word" if status else type(error).__name__
    return (text or wordless)[:_LONGEST]
