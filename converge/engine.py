"""plan and apply: the loop of probe, diff, apply, verify. All I/O is in the transport."""

from __future__ import annotations

import asyncio
import os
import random
import secrets as randomness
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from converge import names
from converge.armed import CONFIRM_WITHIN
from converge.changes import Change
from converge.errors import (
    Aborted,
    ConnectError,
    ConnectionLost,
    HostFailed,
    Interrupted,
    Locked,
    PlanOutdated,
    SudoRefused,
)
from converge.framing import new_nonce
from converge.graph import arrange
from converge.host import Host
from converge.journal import Pass
from converge.material import Loader
from converge.planner import compare, make_plan, steps
from converge.plans import Plan
from converge.reports import Report, settle
from converge.resource import Resource, State
from converge.survey import abort_script, states
from converge.talk import collect
from converge.unit import unit_script
from converge.work import Progress, Secrets, Work

MOST_PASSES = 3
MOST_RESTARTS = 3
"""How often one call begins anew because a pass was interrupted or the host moved on."""
LEAST_EXPECTED = 32
"""Characters of a digest that stand for one plan and no other: 128 bits."""


async def plan(
    host: Host,
    resources: Iterable[Resource],
    *,
    secrets: Secrets | None = None,
    load: Loader | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Plan:
    """What would change on the host. One round trip; changes nothing there.

    `load` reads the files that resources take from this machine (see `material.folder`), and
    `variables` are for templates.

    Raises InvalidResources, SecretUnresolved and MaterialMissing before connecting; ConnectError,
    SudoRefused, HostUnsupported, HostFailed.
    """
    work = await Work.open(host, arrange(resources), secrets, load=load, variables=variables)
    survey = await work.survey(None)
    assert survey.states is not None
    return make_plan(host.name, work.spec, compare(work.spec, survey.states))


async def apply(
    host: Host,
    what: Plan | Iterable[Resource],
    *,
    run_id: str | None = None,
    secrets: Secrets | None = None,
    load: Loader | None = None,
    variables: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    lock_wait: float = 30.0,
    reconnects: int = 5,
    confirm_within: float = CONFIRM_WITHIN,
    expect: str | None = None,
) -> Report:
    """Bring the host to what is wanted, and report what was seen there afterwards.

    One round trip if nothing is to do, else two. The work runs on the host by itself: if this
    call dies or is cancelled, it goes on, and the same `run_id` attaches to it again; a run that
    ended hands back its result, and is never run twice. `lock_wait` is in seconds.

    A change that can cut us off is taken back by the host itself, and failed, if no new connection
    can be made within `confirm_within` seconds after it (see `converge.armed`).

    A Plan is applied only if the host still looks as it did (else PlanOutdated). The same goes for
    resources with `expect`: the digest of a plan of them, or its beginning, 32 characters at least,
    for who keeps many plans and not their contents.

    A resource that cannot be settled is in the report, not raised: see `Report.ok`,
    `Report.raise_for_failure`.

    `load` and `variables` are as in `plan`; with other contents it is another run (RunMismatch).

    Raises InvalidResources, SecretUnresolved and MaterialMissing before connecting; ConnectError,
    SudoRefused, HostUnsupported, HostFailed, Locked, Interrupted, Aborted, RunMismatch,
    PlanOutdated; ValueError for an `expect` that is too short.
    """
    wanted: Plan | str | None = what if isinstance(what, Plan) else expect
    spec = arrange(what.resources if isinstance(what, Plan) else what)
    if isinstance(what, Plan) and what.host != host.name:
        raise PlanOutdated(f"the plan was made for {what.host}", host=host.name)
    if isinstance(wanted, str) and len(wanted) < LEAST_EXPECTED:
        raise ValueError(f"{wanted!r} is too short for the digest of one plan and no other")
    run = names.run_id(run_id if run_id is not None else randomness.token_hex(8))
    work = await Work.open(host, spec, secrets, load=load, variables=variables)
    work.on_progress, work.lock_wait, work.confirm_within = on_progress, lock_wait, confirm_within
    lost = 0
    while True:
        try:
            # Safe to begin again: the host knows the run, and starts nothing twice.
            return await _apply(work, run, wanted)
        except (ConnectError, SudoRefused) as error:
            # If it was our change that cut us off, the host takes it back by itself, and tells.
            if not work.armed and (lost >= reconnects or not isinstance(error, ConnectionLost)):
                raise
            lost += not work.armed
            await asyncio.sleep(random.uniform(0.1, min(10.0, 0.5 * 2**lost)))


async def abort(host: Host, run_id: str, *, secrets: Secrets | None = None) -> bool:
    """Stop a run on its host. False if it was not running. Waits until it is gone."""
    work = await Work.open(host, arrange([]), secrets)
    nonce = new_nonce()
    script = abort_script(host, nonce, names.run_id(run_id))
    heard = await collect(work.transport, host, nonce, script, work.password)
    if not any(record.kind == "end" for record in heard):
        raise HostFailed("the abort did not get to its end", host=host.name)
    return any(record.kind == "stopped" for record in heard)


async def _apply(work: Work, run: str, wanted: Plan | str | None) -> Report:
    host, spec = work.host, work.spec
    first: dict[int, Change] = {}
    passes: list[Pass] = []
    attached = False
    for _ in range(MOST_RESTARTS + 1):
        survey = await work.survey(run)
        if survey.passes and survey.run != "none":
            passes = await work.follow(run, over=survey.run == "ended")
            attached = True
            if survey.run in ("running", "ended"):
                decided = _decide(work, run, passes, first, attached)
                if isinstance(decided, Report):
                    return decided
                # It ended or died with work left, and nobody is at it: look again, do not guess.
                survey = await work.survey(None)
        assert survey.states is not None
        found, token = survey.states, survey.token
        number = survey.passes or len(passes)
        changes = compare(spec, found)
        if wanted is not None and all(one.void for one in passes):
            # Once a pass has begun, what it did itself is no reason to refuse.
            _still(wanted, make_plan(host.name, spec, changes))
        first = first or changes
        while True:
            if not steps(spec, changes) or _worked(passes) >= MOST_PASSES:
                return settle(host.name, run, spec, passes, first, changes, attached=attached)
            number += 1
            started = await _start(work, run, number, found, changes, token)
            passes = await work.follow(run, started)
            last = passes[-1] if passes else None
            if last is None or last.end is None or last.end == "stale":
                break  # interrupted, or the host moved on: begin anew from a fresh look
            if last.end == "locked":
                raise Locked(
                    f"another run holds the host: {last.holder or 'unknown'}; waited"
                    f" {work.lock_wait:g} s",
                    host=host.name,
                    holder=last.holder,
                )
            decided = _decide(work, run, passes, first, attached)
            if isinstance(decided, Report):
                return decided
            found, changes = decided
            number, token = last.number, f"{run}.{last.number}"
    raise Interrupted(
        f"run {run} was interrupted {MOST_RESTARTS + 1} times on the host", host=host.name
    )


def _worked(passes: list[Pass]) -> int:
    return sum(1 for one in passes if one.end == "ok")


def _decide(
    work: Work, run: str, passes: list[Pass], first: dict[int, Change], attached: bool
) -> Report | tuple[tuple[State, ...], dict[int, Change]]:
    """After a pass: done, or what still differs and is worth another one."""
    last = passes[-1] if passes else None
    if last is not None and last.end == "aborted":
        raise Aborted(f"run {run} was stopped by abort", host=work.host.name)
    if last is None or last.end != "ok":
        return (), {}
    found = states(work.spec, last.bodies, work.context)
    remaining = compare(work.spec, found)
    if any(one.reverted for one in passes):
        # Once more would be the same again, and cut off whoever else works there.
        return settle(work.host.name, run, work.spec, passes, first, remaining, attached=attached)
    progress = remaining != last.changes
    if remaining and progress and steps(work.spec, remaining) and _worked(passes) < MOST_PASSES:
        return found, remaining
    return settle(work.host.name, run, work.spec, passes, first, remaining, attached=attached)


async def _start(
    work: Work,
    run: str,
    number: int,
    found: tuple[State, ...],
    changes: dict[int, Change],
    token: str,
) -> tuple[int, str, bytes]:
    nonce = new_nonce()
    script = unit_script(
        work.host,
        work.spec,
        found,
        changes,
        await work.spool(changes),
        run_id=run,
        number=number,
        nonce=nonce,
        token=token,
        holder=f"{_whoami()} on {socket.gethostname()}, process {os.getpid()}",
        lock_wait=work.lock_wait,
        confirm_within=work.confirm_within,
    )
    return number, nonce, script


def _whoami() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _still(wanted: Plan | str, fresh: Plan) -> None:
    if isinstance(wanted, str):
        if not fresh.digest.startswith(wanted):
            raise PlanOutdated(
                "the host no longer looks as it did when the plan was made; now it is:"
                f" {fresh.summary} Make a new plan",
                host=fresh.host,
            )
        return
    if fresh.digest == wanted.digest:
        return
    before = {change.resource: change for change in wanted.changes}
    after = {change.resource: change for change in fresh.changes}
    moved = [ref for ref in {**before, **after} if before.get(ref) != after.get(ref)]
    raise PlanOutdated(
        "the host no longer looks as it did when the plan was made; it differs in"
        f" {', '.join(moved) or 'the resources'}: make a new plan",
        host=fresh.host,
    )
