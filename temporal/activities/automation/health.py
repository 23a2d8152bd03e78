"""Whether all is well: HTTP, a command's exit status, a Prometheus query."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from converge.errors import ConvergeError
from converge.framing import new_nonce
from converge.preamble import ENVIRONMENT, record
from converge.shell import complete, quote, words
from converge.talk import collect
from converge.transport import transport_for
from temporal.activities.automation.answers import TIMEOUT_S, ask, problem_of
from temporal.activities.automation.hosts import open_host
from temporal.shared import Progress, options
from temporal.shared.errors import SecretError
from temporal.shared.progress import Pulse
from temporal.shared.secrets import redactor, resolve
from temporal.shared.specs.automation.health import (
    Check,
    Checked,
    CheckHealth,
    CommandCheck,
    Health,
    HttpCheck,
    PrometheusCheck,
)
from temporal.shared.specs.automation.hosts import HostSpec

_LONGEST_PAUSE_S = 2.0
_LEAST_S = 3.0
"""For one question, however little time is left: else nothing could be seen over a slow network."""
_SHOWN = 300
_SERIES = 3


class Hopeless(Exception):
    """Unhealthy for a reason that asking again cannot change."""


Asking = Callable[[float], Awaitable[str]]
"""Asks once, in at most so many seconds. What is wrong; nothing if it is healthy."""


@activity.defn
@options(
    start_to_close=timedelta(hours=3),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=5),
)
async def check_health(request: CheckHealth) -> Health:
    """Asks all checks at a time, each again until it is healthy or its time is over.

    An unhealthy check is a result, not an error.
    """
    done = 0
    total = len(request.checks)
    async with Pulse(Progress(total=total)) as pulse:

        async def one(check: Check) -> Checked:
            nonlocal done
            problem = await until_healthy(check, asking(check))
            done += 1
            pulse.beat(Progress(done=done, total=total, what=str(check)))
            return Checked(check=str(check), problem=redactor.redact(problem))

        return Health(checked=tuple(await asyncio.gather(*map(one, request.checks))))


async def until_healthy(check: Check, once: Asking) -> str:
    """What is wrong with it when its time is over; nothing if it is, and stays, healthy."""
    began = time.monotonic()
    over = began + check.within
    healthy_since: float | None = None
    seen = ""
    pause = 0.1
    while True:
        left = over - time.monotonic() if healthy_since is None else TIMEOUT_S
        try:
            seen = problem = await _bounded(once, max(left, _LEAST_S))
        except TimeoutError:  # says less than what was seen before it
            problem = seen or f"no answer within {max(left, _LEAST_S):.0f} s"
        except Hopeless as error:
            return str(error)
        now = time.monotonic()
        if problem:
            if now + pause > over:
                was = healthy_since is not None
                since = "it was healthy before" if was else f"for {check.within:g} s"
                return f"{problem} ({since})"
            healthy_since = None
        else:
            healthy_since = now if healthy_since is None else healthy_since
            if now - healthy_since >= check.steady:
                return ""
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


async def _bounded(once: Asking, seconds: float) -> str:
    async with asyncio.timeout(seconds + 1):  # first it may end by itself, and say more
        return await once(seconds)


def asking(check: Check) -> Asking:
    """How `check` is asked."""
    if isinstance(check, HttpCheck):
        return partial(_http, check)
    if isinstance(check, CommandCheck):
        return partial(_command, check)
    return partial(_prometheus, check)


async def _get(url: str, token: str | None, seconds: float) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        secret = resolve(token).decode() if token else None
        return ask(url, secret, min(seconds, TIMEOUT_S))

    try:
        return await asyncio.to_thread(get)
    except SecretError as error:
        raise Hopeless(error.message) from None
    except UnicodeDecodeError:
        raise Hopeless(f"{token}: its value is no text") from None


async def _http(check: HttpCheck, seconds: float) -> str:
    try:
        status, body = await _get(check.http, check.token, seconds)
    except OSError as error:
        return str(error)
    problem = problem_of(status, body, check.status, check.contains)
    return f"{problem}; it says: {_line(body)}" if problem and body.strip() else problem


async def _command(check: CommandCheck, seconds: float) -> str:
    try:
        host = await open_host(check.on or HostSpec(local=True))
        secret = (
            await asyncio.to_thread(resolve, host.sudo_password) if host.sudo_password else None
        )
        nonce = new_nonce()
        script = complete(_script(check, nonce, seconds))
        heard = await collect(transport_for(host), host, nonce, script, secret)
    except ConvergeError as error:
        if error.retryable:
            return str(error)
        raise Hopeless(str(error)) from None
    except ApplicationError as error:  # no such lab server, no such secret
        raise Hopeless(error.message) from None
    found = next((each for each in heard if each.kind == "ran"), None)
    if found is None:
        return "it did not get to its end"
    said, _, status = found.body.decode(errors="replace").rpartition("\n")
    if status == "0":
        return ""
    why = f"no end within {seconds:.0f} s" if status in ("124", "137") else f"exit status {status}"
    return f"{why}; it says: {_line(said)}" if said.strip() else why


def _script(check: CommandCheck, nonce: str, seconds: float) -> str:
    """Runs it within bounds, and says the end of its output and its status."""
    command = check.command
    argv = f"sh -c {quote(command)}" if isinstance(command, str) else words(command)
    run = f"timeout -k 2 {max(seconds, _LEAST_S):.1f} {argv}"
    said = f"{{ {run} 2>&1; printf '\\n%s' $?; }} | tail -c 2000"
    return "\n".join([ENVIRONMENT, record(nonce), "rec ran", said, "rec ."])


async def _prometheus(check: PrometheusCheck, seconds: float) -> str:
    url = f"{check.prometheus}/api/v1/query?{urlencode({'query': check.query})}"
    try:
        status, body = await _get(url, check.token, seconds)
    except OSError as error:
        return str(error)
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            problem = f"{answer['errorType']}: {answer['error']}"
            if answer["errorType"] == "bad_data":  # it is not PromQL, and stays so
                raise Hopeless(problem)
            return problem
        return judged(check, answer["data"]["resultType"], answer["data"]["result"])
    except (ValueError, KeyError, TypeError, IndexError):
        return f"answers {status}, and not as Prometheus does: {_line(body)}"


def judged(check: PrometheusCheck, kind: str, result: Any) -> str:
    """What is wrong with the result of a query, as the API gives it.

    https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats

    Raises:
        Hopeless: neither vector nor scalar.
        ValueError, KeyError, TypeError, IndexError: it is not what the API says.
    """
    if kind == "scalar":
        values = [("", float(result[1]))]
    elif kind == "vector":
        values = [(_labels(each["metric"]), float(each["value"][1])) for each in result]
    else:
        raise Hopeless(f"the query gives a {kind}; an instant vector or a scalar is needed")
    if not values:
        return "" if check.empty == "healthy" else "the result is empty"
    wrong = [
        f"{labels} {problem}".strip()
        for labels, problem in ((labels, check.wrong(value)) for labels, value in values)
        if problem
    ]
    more = [f"and {len(wrong) - _SERIES} more"] if len(wrong) > _SERIES else []
    return ", ".join([*wrong[:_SERIES], *more])


def _labels(metric: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in metric.items() if name != "__name__")
    name = metric.get("__name__", "")
    return f"{name}{{{inner}}}" if inner else name


def _line(text: str) -> str:
    """The end of `text` in one line."""
    short = " ".join(text.split())
    return short if len(short) <= _SHOWN else f"…{short[-_SHOWN:]}"
