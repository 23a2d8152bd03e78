"""plan and apply: the loop of probe, diff, apply, verify. All I/O is in the transport."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets as randomness
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from converge import names
from converge.changes import Change
from converge.errors import (
    Aborted,
    ConnectionLost,
    HostFailed,
    HostUnsupported,
    Interrupted,
    Locked,
    PlanOutdated,
    RunMismatch,
    SecretUnresolved,
)
from converge.framing import new_nonce
from converge.graph import Spec, arrange
from converge.host import Host
from converge.journal import Journals, Pass, redactor
from converge.launcher import launcher_script
from converge.material import Loader, compose
from converge.planner import compare, make_plan, steps
from converge.plans import Plan
from converge.reports import Report, settle
from converge.resource import Context, Resource, State
from converge.resources.file import LIMIT
from converge.survey import Survey, abort_script, read_survey, states, survey_script
from converge.talk import collect, records
from converge.transport import Transport, transport_for
from converge.unit import unit_script

Secrets = Callable[[str], bytes]
"""Turns a reference such as env://NAME into a value."""

MOST_PASSES = 3
MOST_RESTARTS = 3
"""How often one call begins anew because a pass was interrupted or the host moved on."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` resources that are to change are dealt with; `resource` was the last."""

    done: int
    total: int
    resource: str


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
    work = _Work(host, arrange(resources), secrets, load=load, variables=variables)
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
) -> Report:
    """Bring the host to what is wanted, and report what was seen there afterwards.

    One round trip if nothing is to do, else two. The work runs on the host by itself: if this
    call dies or is cancelled, it goes on, and the same `run_id` attaches to it again; a run that
    ended hands back its result, and is never run twice. `lock_wait` is in seconds.

    A Plan is applied only if the host still looks as it did (else PlanOutdated). A resource that
    cannot be settled is in the report, not raised: see `Report.ok`, `Report.raise_for_failure`.

    `load` and `variables` are as in `plan`; with other contents it is another run (RunMismatch).

    Raises InvalidResources, SecretUnresolved and MaterialMissing before connecting; ConnectError,
    SudoRefused, HostUnsupported, HostFailed, Locked, Interrupted, Aborted, RunMismatch,
    PlanOutdated.
    """
    wanted = what if isinstance(what, Plan) else None
    spec = arrange(what.resources if isinstance(what, Plan) else what)
    if wanted is not None and wanted.host != host.name:
        raise PlanOutdated(f"the plan was made for {wanted.host}", host=host.name)
    run = names.run_id(run_id if run_id is not None else randomness.token_hex(8))
    work = _Work(host, spec, secrets, on_progress, lock_wait, load, variables)
    for lost in range(reconnects + 1):
        try:
            # Safe to begin again: the host knows the run, and starts nothing twice.
            return await _apply(work, run, wanted)
        except ConnectionLost:
            if lost == reconnects:
                raise
            await asyncio.sleep(random.uniform(0.1, min(10.0, 0.5 * 2**lost)))
    raise AssertionError("unreachable")


async def abort(host: Host, run_id: str, *, secrets: Secrets | None = None) -> bool:
    """Stop a run on its host. False if it was not running. Waits until it is gone."""
    work = _Work(host, arrange([]), secrets)
    nonce = new_nonce()
    script = abort_script(host, nonce, names.run_id(run_id))
    heard = await collect(work.transport, host, nonce, script, work.password)
    if not any(record.kind == "end" for record in heard):
        raise HostFailed("the abort did not get to its end", host=host.name)
    return any(record.kind == "stopped" for record in heard)


class _Work:
    """One call: host, wanted state, and the secrets it resolved, in memory only."""

    def __init__(
        self,
        host: Host,
        spec: Spec,
        secrets: Secrets | None,
        on_progress: Callable[[Progress], None] | None = None,
        lock_wait: float = 30.0,
        load: Loader | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self.host = host
        self.lock_wait = lock_wait
        self.on_progress = on_progress
        values = _resolve(spec, secrets)
        self.spec, bodies = compose(spec, load, variables, values)
        self.password: bytes | None = None
        if host.sudo and host.sudo_password is not None:
            self.password = _one(host.sudo_password, f"host {host.name}", secrets)
        self.context = Context(secrets=values, bodies=bodies, provided=spec.provided)
        self.redact = redactor(values)
        self.transport: Transport = transport_for(host)
        self._done: set[int] = set()
        self._total = 0

    async def survey(self, run_id: str | None) -> Survey:
        nonce = new_nonce()
        script = survey_script(self.host, self.spec, self.context, nonce, run_id)
        heard = await collect(self.transport, self.host, nonce, script, self.password)
        survey = read_survey(self.spec, self.context, heard)
        if survey.lacks:
            raise HostUnsupported(f"the host lacks {', '.join(survey.lacks)}", host=self.host.name)
        if not survey.complete:
            raise HostFailed("the probe did not get to its end", host=self.host.name)
        return survey

    async def follow(
        self, run_id: str, start: tuple[int, str, bytes] | None = None
    ) -> list[Pass]:
        """Attach to the run, starting a pass first if told to and nobody did yet."""
        nonce = new_nonce()
        script = launcher_script(self.host, nonce, run_id, start=start)
        journals = Journals(self.spec, self._step, self.expect)
        stream = records(
            self.transport, self.host, nonce, script, self.password, journals.over
        )
        ended = False
        async with contextlib.aclosing(stream):
            async for record in stream:
                journals.take(record, self.redact)
                ended = ended or record.kind in ("followed", "failed") or journals.over(record.words)
        if journals.error:
            raise HostFailed(journals.error, host=self.host.name)
        if not ended:
            raise ConnectionLost("the journal stopped coming", host=self.host.name)
        for one in journals.passes:
            if one.spec_digest and one.spec_digest != self.spec.digest:
                raise RunMismatch(
                    f"run {run_id} was started with other resources: take another run id",
                    host=self.host.name,
                )
        return journals.passes

    def expect(self, changes: Mapping[int, Change]) -> None:
        self._total = max(self._total, len(self._done | set(changes)))

    def _step(self, index: int, resource: str) -> None:
        if index in self._done:
            return  # told before: a stream begins anew with each pass
        self._done.add(index)
        self._total = max(self._total, len(self._done))
        if self.on_progress is not None:
            self.on_progress(Progress(len(self._done), self._total, resource))


async def _apply(work: _Work, run: str, wanted: Plan | None) -> Report:
    host, spec = work.host, work.spec
    first: dict[int, Change] = {}
    passes: list[Pass] = []
    attached = False
    for _ in range(MOST_RESTARTS + 1):
        survey = await work.survey(run)
        if survey.passes and survey.run != "none":
            passes = await work.follow(run)
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
            started = _start(work, run, number, found, changes, token)
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
    work: _Work, run: str, passes: list[Pass], first: dict[int, Change], attached: bool
) -> Report | tuple[tuple[State, ...], dict[int, Change]]:
    """After a pass: done, or what still differs and is worth another one."""
    last = passes[-1] if passes else None
    if last is not None and last.end == "aborted":
        raise Aborted(f"run {run} was stopped by abort", host=work.host.name)
    if last is None or last.end != "ok":
        return (), {}
    found = states(work.spec, last.bodies, work.context)
    remaining = compare(work.spec, found)
    progress = remaining != last.changes
    if remaining and progress and steps(work.spec, remaining) and _worked(passes) < MOST_PASSES:
        return found, remaining
    return settle(
        work.host.name, run, work.spec, passes, first, remaining, attached=attached
    )


def _start(
    work: _Work,
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
        work.context,
        run_id=run,
        number=number,
        nonce=nonce,
        token=token,
        holder=f"{_whoami()} on {socket.gethostname()}, process {os.getpid()}",
        lock_wait=work.lock_wait,
    )
    return number, nonce, script


def _whoami() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _still(wanted: Plan, fresh: Plan) -> None:
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


def _resolve(spec: Spec, secrets: Secrets | None) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for resource in spec.resources:
        for ref in resource.secrets():
            if ref not in values:
                values[ref] = _one(ref, resource.id, secrets)
    return values


def _one(ref: str, whose: str, secrets: Secrets | None) -> bytes:
    if secrets is None:
        raise SecretUnresolved(f"{whose}: {ref} needs the argument secrets= to be resolved")
    try:
        value = secrets(ref)
    except Exception as error:
        raise SecretUnresolved(f"{whose}: {ref}: {error}") from None
    if not isinstance(value, bytes):
        raise SecretUnresolved(f"{whose}: {ref}: secrets= gave {type(value).__name__}, not bytes")
    if len(value) > LIMIT:
        raise SecretUnresolved(f"{whose}: {ref} is larger than the limit of {LIMIT} bytes")
    return value
