"""What comes over HTTP, and whether it is as expected."""

from __future__ import annotations

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from datetime import timedelta
from functools import partial

from temporalio import activity

from temporal.activities.automation.hosts import open_host
from temporal.shared import Permanent, Progress, options
from temporal.shared.progress import Pulse
from temporal.shared.specs.automation import Answered, CheckAnswers, HostSpec, HttpAnswer

TIMEOUT_S = 10.0
"""For one question: to connect, and for each silence after that."""
_BODY = 2000


@activity.defn
@options(start_to_close=timedelta(hours=2), heartbeat=timedelta(seconds=30))
async def check_answers(request: CheckAnswers) -> tuple[Answered, ...]:
    """What the server answers over HTTP, each asked until it is as expected or its time is over.

    Raises:
        Permanent: an answer did not become what it should be; says what came instead.
    """
    async with Pulse(Progress(host=request.host.name, total=len(request.answers))) as pulse:
        found = []
        for done, wanted in enumerate(request.answers):
            url = await _url(wanted, request.host)
            pulse.beat(
                Progress(done=done, total=len(request.answers), what=url, host=request.host.name)
            )
            found.append(await _until_as_wanted(url, wanted))
    return tuple(found)


def ask(url: str, token: str | None = None, timeout: float = TIMEOUT_S) -> tuple[int, str]:
    """Status and body, at most 1 MiB of it, of a GET. Blocks.

    Raises:
        OSError: no answer; its text says why.
    """
    request = urllib.request.Request(url)
    if token:
        # Not to where a redirect leads: that may be somebody else.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read(1 << 20).decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(1 << 20).decode(errors="replace")
    except urllib.error.URLError as error:
        raise OSError(f"no answer ({error.reason})") from None
    except OSError as error:
        raise OSError(f"no answer ({error})") from None
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer in HTTP ({type(error).__name__}: {error})") from None


def problem_of(status: int, body: str, wanted_status: int, contains: str | None) -> str:
    """What is wrong with an answer; nothing if it is as wanted."""
    if status != wanted_status:
        return f"answers {status}, not {wanted_status}"
    if contains is not None and contains not in body:
        return f"the answer does not contain {contains!r}"
    return ""


async def _url(wanted: HttpAnswer, spec: HostSpec) -> str:
    if not wanted.http.startswith("/"):
        return wanted.http
    host = await open_host(spec)
    address = "127.0.0.1" if spec.local else host.address
    bracketed = f"[{address}]" if ":" in address else address
    port = "" if wanted.port == 80 else f":{wanted.port}"
    return f"http://{bracketed}{port}{wanted.http}"


async def _until_as_wanted(url: str, wanted: HttpAnswer) -> Answered:
    deadline = time.monotonic() + wanted.within
    pause = 0.1
    while True:
        came, problem = await asyncio.to_thread(partial(_ask, url, wanted))
        if came is not None and not problem:
            return came
        if time.monotonic() + pause > deadline:
            raise Permanent(f"{url}: {problem}, and it stayed so for {wanted.within:.0f} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _ask(url: str, wanted: HttpAnswer) -> tuple[Answered | None, str]:
    """The answer and what is wrong with it (nothing: an empty text)."""
    try:
        status, body = ask(url)
    except OSError as error:
        return None, str(error)
    came = Answered(url=url, status=status, body=body[:_BODY])
    return came, problem_of(status, body, wanted.status, wanted.contains)
