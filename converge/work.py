"""One call on one host: what it looks up, follows and confirms there, with its secrets in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from converge.armed import CONFIRM_WITHIN, LONGEST, confirm_script
from converge.changes import Change
from converge.errors import (
    ConnectError,
    ConnectionLost,
    ConvergeError,
    HostFailed,
    HostUnsupported,
    PermissionDenied,
    RunMismatch,
    SecretUnresolved,
    SudoRefused,
)
from converge.framing import Record, new_nonce
from converge.graph import Spec
from converge.host import Host
from converge.journal import Journals, Pass, redactor
from converge.launcher import launcher_script
from converge.material import Loader, compose
from converge.resource import Context
from converge.survey import Survey, read_survey, survey_script
from converge.talk import collect, records
from converge.transport import Transport, transport_for
from converge.transport.uploads import Upload

Secrets = Callable[[str], bytes]
"""Turns a reference such as env://NAME into a value. Called in a thread: it may take its time."""

INLINE = 512 * 1024
"""Bytes of a body that travels in a script; larger ones go before it, by SFTP."""
SECRET = 1024 * 1024
"""Bytes of the longest secret."""
GRACE = 60.0
"""Seconds that a host may need to take a change back, and to be heard of again."""
REFUSALS = 3
"""So often a login is tried that is refused: more would count as an attack."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` resources that are to change are dealt with.

    `resource` is the last of them, or, while `working`, the one that is begun now (if they are
    settled together, the first of them and how many more).
    """

    done: int
    total: int
    resource: str
    working: bool = False


@dataclass(frozen=True)
class Gathered:
    """What comes from this side before the host is asked anything."""

    spec: Spec
    context: Context
    password: bytes | None


class Work:
    """Made by `open`; settings are plain attributes."""

    def __init__(self, host: Host, gathered: Gathered) -> None:
        self.host = host
        self.spec = gathered.spec
        self.context = gathered.context
        self.password = gathered.password
        self.redact = redactor(gathered.context.secrets)
        self.transport: Transport = transport_for(host)
        self.on_progress: Callable[[Progress], None] | None = None
        self.lock_wait = 30.0
        self.confirm_within: float = CONFIRM_WITHIN
        self._done: set[int] = set()
        self._total = 0
        self._armed_until = 0.0
        self._answered: set[tuple[str, int, str]] = set()
        self._cut_off = ""

    @classmethod
    async def open(
        cls,
        host: Host,
        spec: Spec,
        secrets: Secrets | None,
        *,
        load: Loader | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Self:
        """Resolves secrets, reads files and renders templates, in a thread.

        Raises SecretUnresolved, MaterialMissing.
        """
        gathered = await asyncio.to_thread(_gather, host, spec, secrets, load, variables)
        return cls(host, gathered)

    @property
    def armed(self) -> bool:
        """Is a change being made, or waiting to be confirmed, that may be what cuts us off?"""
        return asyncio.get_running_loop().time() < self._armed_until

    async def spool(self, changes: Mapping[int, Change]) -> Context:
        """The context of a pass, with bodies brought to the host that are too large for a script.

        Without SFTP they travel in it all the same, as secrets always do: not on a disk.
        """
        changed = [self.spec.resources[index] for index in changes]
        bodies = [
            self.context.bodies[resource.id]
            for resource in changed
            if resource.id in self.context.bodies and not resource.secrets()
        ]
        large = [Upload.of(body) for body in bodies if len(body) > INLINE]
        if not large:
            return self.context
        try:
            return replace(self.context, spooled=await self.transport.upload(large))
        except HostUnsupported:
            return self.context

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
        self,
        run_id: str,
        start: tuple[int, str, bytes] | None = None,
        *,
        over: bool = False,
    ) -> list[Pass]:
        """Attach to the run, starting a pass first if told to and nobody did yet.

        Confirms what the run asks to have confirmed, unless it is `over`.
        """
        while True:
            journals, asked = await self._listen(run_id, start, over)
            if asked is None:
                break
            await self._confirm(run_id, *asked)
        for one in journals.passes:
            if one.spec_digest and one.spec_digest != self.spec.digest:
                raise RunMismatch(
                    f"run {run_id} was started with other resources: take another run id",
                    host=self.host.name,
                )
            if one.reverted and self._cut_off:
                one.reverted = {i: _with(why, self._cut_off) for i, why in one.reverted.items()}
        return journals.passes

    async def _listen(
        self, run_id: str, start: tuple[int, str, bytes] | None, over: bool
    ) -> tuple[Journals, tuple[int, str, float] | None]:
        """The journals to their end, or to a question: (pass, window, seconds)."""
        nonce = new_nonce()
        script = launcher_script(self.host, nonce, run_id, start=start)
        journals = Journals(self.spec, self._step, self.expect, self._start)
        stream = records(self.transport, self.host, nonce, script, self.password, journals.over)
        ended = False
        async with contextlib.aclosing(stream):
            async for record in stream:
                journals.take(record, self.redact)
                ended = (
                    ended or record.kind in ("followed", "failed") or journals.over(record.words)
                )
                asked = None if over else self._asked(run_id, journals, record)
                if asked is not None:
                    return journals, asked
        if journals.error:
            raise HostFailed(journals.error, host=self.host.name)
        if not ended:
            raise ConnectionLost("the journal stopped coming", host=self.host.name)
        return journals, None

    def _asked(
        self, run_id: str, journals: Journals, record: Record
    ) -> tuple[int, str, float] | None:
        now = asyncio.get_running_loop().time()
        match record.words:
            case ("armed", _, seconds) if seconds.isdecimal():
                self._armed_until = now + LONGEST + int(seconds) + GRACE
            case ("confirmed" | "reverted" | "end", *_):
                self._armed_until = 0.0
            case ("confirm", window, seconds) if seconds.isdecimal() and journals.last is not None:
                self._armed_until = now + int(seconds) + GRACE
                asked = (run_id, journals.last.number, window)
                if asked not in self._answered:
                    self._answered.add(asked)
                    return journals.last.number, window, float(seconds)
        return None

    async def _confirm(self, run_id: str, number: int, window: str, seconds: float) -> None:
        """Says over a connection made for it that we can still get in. Says nothing if we cannot."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        refusals, pause = 0, 0.5
        while refusals < REFUSALS and loop.time() < deadline:
            nonce = new_nonce()
            script = confirm_script(self.host, nonce, run_id, number, int(window))
            try:
                async with asyncio.timeout_at(deadline):
                    await self.transport.renew()
                    heard = await collect(self.transport, self.host, nonce, script, self.password)
                if any(record.kind in ("confirmed", "late") for record in heard):
                    self._cut_off = ""
                    return
            except TimeoutError:
                self._cut_off = self._cut_off or "no answer"
                break
            except ConvergeError as error:
                self._cut_off = str(error).removeprefix(f"{self.host.name}: ")
                refusals += isinstance(error, PermissionDenied | SudoRefused)
                if not isinstance(error, ConnectError | SudoRefused | HostFailed):
                    break
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def expect(self, changes: Mapping[int, Change]) -> None:
        self._total = max(self._total, len(self._done | set(changes)))

    def _start(self, indices: Sequence[int]) -> None:
        if self.on_progress is None or set(indices) <= self._done:
            return
        name = self.spec.resources[indices[0]].id
        more = f" and {len(indices) - 1} more" if len(indices) > 1 else ""
        self.on_progress(Progress(len(self._done), self._total, name + more, working=True))

    def _step(self, index: int, resource: str) -> None:
        if index in self._done:
            return  # told before: a stream begins anew with each pass
        self._done.add(index)
        self._total = max(self._total, len(self._done))
        if self.on_progress is not None:
            self.on_progress(Progress(len(self._done), self._total, resource))


def _with(why: str, because: str) -> str:
    first, newline, rest = why.partition("\n")
    return f"{first} ({because}){newline}{rest}"


def _gather(
    host: Host,
    spec: Spec,
    secrets: Secrets | None,
    load: Loader | None,
    variables: Mapping[str, Any] | None,
) -> Gathered:
    values = _resolve(spec, secrets)
    composed, bodies = compose(spec, load, variables, values)
    password = None
    if host.sudo and host.sudo_password is not None:
        password = resolved(host.sudo_password, f"host {host.name}", secrets)
    context = Context(secrets=values, bodies=bodies, provided=spec.provided)
    return Gathered(composed, context, password)


def _resolve(spec: Spec, secrets: Secrets | None) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for resource in spec.resources:
        for ref in resource.secrets():
            if ref not in values:
                values[ref] = resolved(ref, resource.id, secrets)
    return values


def resolved(ref: str, whose: str, secrets: Secrets | None) -> bytes:
    """The value of a reference, for `whose`. Raises SecretUnresolved."""
    if secrets is None:
        raise SecretUnresolved(f"{whose}: {ref} needs the argument secrets= to be resolved")
    try:
        value = secrets(ref)
    except Exception as error:
        raise SecretUnresolved(f"{whose}: {ref}: {error}") from None
    if not isinstance(value, bytes):
        raise SecretUnresolved(f"{whose}: {ref}: secrets= gave {type(value).__name__}, not bytes")
    if len(value) > SECRET:
        raise SecretUnresolved(f"{whose}: {ref} is larger than the limit of {SECRET} bytes")
    return value
