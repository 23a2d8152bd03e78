"""Tell people something, through Apprise: mail, chat, webhooks, ...

A target is a secret: whoever has its URL can write there. Services put parts of that URL (a token, a
password) into requests, errors and debug logs, so the redactor learns these parts one by one, and what
Apprise logs goes no further than into the failure that we report.
"""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from temporalio import activity
from temporalio.common import RetryPolicy

from temporal.shared import options
from temporal.shared.errors import SecretError
from temporal.shared.secrets import Redactor, redactor, resolve
from temporal.shared.specs.automation.notices import Notice, Notified

TIMEOUT_S = 40.0
"""For one target, its tries together."""
_RETRIES = 2
_WAIT_S = 2.0
_SHOWN = 300

_SENSITIVE = re.compile(r"[+:-]|.*(pass|pwd|token|key|secret|auth|sid|hook)", re.IGNORECASE)
_HOST_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}|\d+(\.\d+){3}|localhost")
_WORD = re.compile(r"[a-z_-]{1,19}|[A-Z]?[a-z]{1,19}|[A-Z]{1,19}|\d{1,5}")


@activity.defn
@options(
    start_to_close=timedelta(minutes=3),
    # Who waits for a notification waits no longer than this for a worker that sends it.
    schedule_to_close=timedelta(hours=1),
    retry=RetryPolicy(maximum_attempts=3),
)
async def notify(notice: Notice) -> Notified:
    """Sends a notice to its targets, all at a time, each tried three times.

    A target that cannot be told is a result, not an error. A worker that dies in between may have
    told some of them; the next attempt tells them again.
    """
    told = await asyncio.gather(
        *(asyncio.to_thread(tell, target, notice) for target in notice.targets)
    )
    failed = tuple(problem for problem in told if problem)
    for problem in failed:
        activity.logger.warning("a notification was not sent: %s", problem)
    return Notified(sent=len(told) - len(failed), failed=failed)


def tell(target: str, notice: Notice) -> str:
    """Sends it to one target, and blocks meanwhile. Why that failed; nothing if it was taken."""
    try:
        url = resolve(target).decode().strip()
    except SecretError as error:
        return redactor.redact(error.message)
    except UnicodeDecodeError:
        return f"{target}: its value is no text"
    own = Redactor()
    own.add(target, url.encode())
    for part in tokens(url):
        own.add(target, part.encode())
        redactor.add(target, part.encode())
    try:
        problem = _sent(url, notice)
    except Exception as error:  # a service's own code, of which there are over a hundred
        problem = f"{type(error).__name__}: {error}"
    clean = own.redact(" ".join(problem.split()))
    return f"{target}: {clean[:_SHOWN]}" if clean else ""


def _sent(url: str, notice: Notice) -> str:
    # Imported late: it takes half a second, and few commands and runs need it.
    import apprise

    for noisy in ("apprise", "urllib3"):  # at debug level they log whole URLs
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        service_timeout=TIMEOUT_S,
        allow_templates=False,
        default_service_retry=_RETRIES,
        default_service_wait=_WAIT_S,
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return _not_understood(url, apprise)
    if service.overflow_mode is apprise.OverflowMode.UPSTREAM:
        # Some services refuse what is over their limit; cut, it is still told.
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    result = apprise.Apprise(service, asset=asset).notify(
        notice.body,
        title=notice.title,
        notify_type=apprise.NotifyType(notice.kind),
        body_format=apprise.NotifyFormat.TEXT,
        timeout=TIMEOUT_S,
    )
    if result:
        return ""
    said = [entry.message for entry in result.logs()]
    return f"{service.service_name}: {said[-1] if said else result.status.name.lower()}"


def _not_understood(url: str, apprise: Any) -> str:
    scheme = url.partition("://")[0].lower()
    if scheme in apprise.manager_plugins.NotificationManager().schemas():
        return f"its value is no complete {scheme}:// URL as Apprise wants it"
    return "its value is no URL that Apprise knows, as mailtos://user:password@host is one"


def tokens(url: str) -> set[str]:
    """The parts of an Apprise URL that are secret by themselves, as far as one can tell by looking.

    A password and what a sensitive parameter holds always; else what is no host name, no number and
    no plain word: a redactor that knew `services` would blacken every text in which that stands.

    >>> sorted(tokens("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl/#general"))
    ['A1BRTD4JD', 'T1JJ3T3L2', 'TIiajkdnl']
    >>> tokens("mailtos://ops:hunter@mail.example.org:587/?to=a@example.org")
    {'hunter'}
    """
    place, _, query = url.partition("://")[2].partition("?")
    found = set()
    if secret := re.match(r"[^:/@]*:([^/]*)@|[^:/@]*:(?!\d{1,5}(?:/|$))([^/]*)", place):
        found.add(secret[1] or secret[2])
    parts = re.split(r"[/@:#,;&]", place)
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if _SENSITIVE.match(unquote(name)):
            found.add(value)
        parts += re.split(r"[@,;]", unquote(value))
    found |= {
        part
        for part in parts
        if len(part) > 5 and not _HOST_NAME.fullmatch(part) and not _WORD.fullmatch(part)
    }
    return {each for each in found | {unquote(each) for each in found} if each}
