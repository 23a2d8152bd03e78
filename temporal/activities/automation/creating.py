"""Have a server made, found, and destroyed by its provider."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

from temporalio import activity
from temporalio.common import RetryPolicy

from temporal.activities.automation.providers import Provider, provider
from temporal.shared import Permanent, Progress, options
from temporal.shared.progress import Pulse
from temporal.shared.specs.automation.creating import Created, CreateServer
from temporal.shared.specs.automation.decommissioning import Discard, Located, One
from temporal.shared.specs.automation.places import Found

P = ParamSpec("P")
T = TypeVar("T")
_LOOK_EVERY_S = 1.0
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=8
)
"""About two minutes of a provider that fails or cannot be reached."""


@activity.defn
@options(start_to_close=timedelta(hours=3), heartbeat=timedelta(seconds=30), retry=_PATIENT)
async def create_server(request: CreateServer) -> Created:
    """The server that bears the token; made if there is none. Ends when it has an address.

    Raises:
        Retryable: the provider fails, is slow or asks for patience.
        Permanent: it refuses (quota, credentials, no such size), or there is such a server already.
    """
    order = request.order
    async with Pulse(Progress(what="asking the provider", host=order.name)) as pulse:
        there = await _blocking(provider, order)
        other = await _another(there, request)
        if other is not None:
            return _created(there, request, other, fresh=False)
        found = await _blocking(there.create, order, request.token)
        deadline = activity.info().scheduled_time + timedelta(seconds=order.wait)
        pulse.beat(Progress(what=f"{found.id} is {found.state or 'made'}", host=order.name))
        while found.address is None and not found.ended and found.state != "error":
            if datetime.now(UTC) > deadline:
                raise Permanent(
                    f"{found.id} has no address after {order.wait:.0f} s; it is {found.state}"
                )
            await asyncio.sleep(_LOOK_EVERY_S)
            seen = await _blocking(lambda: there.find(token=request.token))
            found = seen[0] if seen else found
        if found.ended or found.state == "error":
            raise Permanent(f"{order.provider} made {found.id}, and it is {found.state}")
        return _created(there, request, found, fresh=True)


async def _another(there: Provider, request: CreateServer) -> Found | None:
    """A server of ours of this name that another run made, if that is to be used."""
    order = request.order
    mine = await _blocking(lambda: there.find(token=request.token))
    same = [each for each in await _blocking(lambda: there.find(name=order.name)) if each.token]
    others = [each for each in same if each.id not in {one.id for one in mine}]
    if mine or not others:
        return None
    names = ", ".join(each.id for each in others)
    if order.if_there == "fail":
        raise Permanent(
            f"{order.provider} has a server {order.name!r} already ({names}), made by an earlier"
            " run. Say `if_there: use` to go on with it, or decommission it first"
        )
    if len(others) > 1:
        raise Permanent(f"{order.provider} has several servers {order.name!r}: {names}")
    return others[0]


def _created(there: Provider, request: CreateServer, found: Found, *, fresh: bool) -> Created:
    order = request.order
    if found.address is None:
        raise Permanent(f"{found.id} is {found.state} and has no address")
    named = found.model_copy(update={"name": order.name})
    return Created(
        provider=order.provider,
        id=found.id,
        name=order.name,
        token=found.token,
        fresh=fresh,
        host=there.host(named),
    )


@activity.defn
@options(start_to_close=timedelta(minutes=30), heartbeat=timedelta(seconds=30), retry=_PATIENT)
async def discard_server(request: Discard) -> tuple[str, ...]:
    """Destroys what bears the token or has the id; the ids of what was there. None is fine.

    Raises:
        Retryable: the provider fails.
        Permanent: it refuses, or what has the id does not bear our mark.
    """
    if not (request.token or request.id):
        raise Permanent("nothing says which server is to be destroyed")
    async with Pulse(Progress(what="destroying", host=request.id or request.token)):
        there = await _blocking(provider, request.place)
        until = asyncio.get_running_loop().time() + request.settle
        while True:
            seen = await _blocking(lambda: there.find(token=request.token, id=request.id))
            found = [each for each in seen if not each.ended]
            if found or asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        for each in found:
            if not each.token and not request.unmarked:
                raise Permanent(_stranger(each))
        return tuple([each.id for each in found if await _blocking(there.destroy, each.id)])


@activity.defn
@options(start_to_close=timedelta(minutes=10), heartbeat=timedelta(seconds=30), retry=_PATIENT)
async def locate_server(one: One) -> Located:
    """The server that is meant, and how to go there; nothing if it is gone.

    Raises:
        Retryable: the provider fails.
        Permanent: several are meant, or the one that is does not bear our mark.
    """
    async with Pulse(Progress(what="looking for it", host=one.name)):
        there = await _blocking(provider, one)
        seen = await _blocking(lambda: there.find(id=one.id or "", name="" if one.id else one.name))
    for each in seen:
        if not each.token and not one.unmarked:
            raise Permanent(_stranger(each))
    if one.id and seen and not one.unmarked and seen[0].name != one.name:
        raise Permanent(f"{one.provider} calls {one.id} {seen[0].name!r}, not {one.name!r}")
    if len(seen) > 1:
        ids = ", ".join(each.id for each in seen)
        raise Permanent(f"several servers are called {one.name!r}: {ids}. Say which by `id`")
    if not seen:
        return Located()
    found = seen[0].model_copy(update={"name": one.name})
    return Located(found=found, host=there.host(found) if found.address else None)


def _stranger(found: Found) -> str:
    return (
        f"{found.id} ({found.name}) does not bear our mark: none of our runs made it, so it is not"
        " destroyed. If it is the one, give its id and say `unmarked: true`"
    )


async def _blocking(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, and to its end: who stopped waiting would not know what it began."""
    task = asyncio.create_task(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
