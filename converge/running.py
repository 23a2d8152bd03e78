"""Running a command of one's own on a host, once: whatever breaks meanwhile, never a second time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets as randomness
from collections.abc import Callable, Mapping

from converge import names
from converge.errors import (
    Aborted,
    ConnectionLost,
    HostFailed,
    InvalidResources,
    RunMismatch,
    SecretUnresolved,
)
from converge.framing import Record, new_nonce
from converge.graph import digest
from converge.host import Host
from converge.journal import redactor
from converge.launcher import launcher_script
from converge.ran import Ending, Ran, Said
from converge.resources.command import LONGEST
from converge.running_sh import command_script
from converge.talk import records
from converge.transport import transport_for
from converge.work import Secrets, resolved

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


async def run(
    host: Host,
    text: str,
    *,
    run_id: str | None = None,
    user: str | None = None,
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
    secrets_environment: Mapping[str, str] | None = None,
    within: float = 3600.0,
    secrets: Secrets | None = None,
    reconnects: int = 5,
) -> Ran:
    """Run `text` by sh on the host, as a unit of its own, and hand back what it said.

    The host runs it by itself. If this call dies or is cancelled, it goes on; the same `run_id`
    attaches to it again, and hands back what came of one that has ended, for a day at least. It is
    begun at most once: one that the host stopped half way (see `Ran.ending`) is not begun again.
    `abort` ends it. That it fails is a result, not an error. It takes no lock, so it runs beside
    whatever else changes the host.

    Of each output 64 KiB are kept, and values of secrets are taken out. What it leaves behind in the
    background ends with it: let systemd-run start what is to stay.

    Args:
        user: run it as this user; default: as the login user, or root with the host's `sudo`.
        cwd: where; default: the home directory.
        environment: variables with their values.
        secrets_environment: variables with references such as env://TOKEN, for `secrets`. They
            reach the host on standard input, never in argv.
        within: seconds; then it is ended.
        reconnects: so often a lost connection is made anew.

    Raises InvalidResources and SecretUnresolved before connecting; ConnectError, SudoRefused,
    HostUnsupported, HostFailed, Aborted, RunMismatch.
    """
    _check(text, user, cwd, {**(environment or {}), **(secrets_environment or {})}, within)
    named = names.run_id(run_id if run_id is not None else randomness.token_hex(8))
    wanted = digest([text, user, cwd, dict(environment or {}), dict(secrets_environment or {})])
    values, password = await asyncio.to_thread(
        _resolve, host, dict(secrets_environment or {}), secrets
    )
    variables = dict(environment or {})
    for name, ref in (secrets_environment or {}).items():
        variables[name] = values[ref].decode(errors="surrogateescape")
    nonce = new_nonce()
    script = command_script(
        host,
        text,
        variables,
        run_id=named,
        nonce=nonce,
        digest=wanted,
        user=user,
        cwd=cwd,
        timeout=within,
    )
    lost = 0
    while True:
        try:
            # Safe to send again: the host knows the run, and begins nothing twice.
            heard = await _follow(host, named, (1, nonce, script), password)
            return _ran(host, named, wanted, heard, nonce, values)
        except ConnectionLost:
            if lost >= reconnects:
                raise
            lost += 1
            await asyncio.sleep(random.uniform(0.1, min(10.0, 0.5 * 2**lost)))


async def _follow(
    host: Host, run_id: str, start: tuple[int, str, bytes], password: bytes | None
) -> list[Record]:
    """The records of its journal, to their end."""
    nonce = new_nonce()
    script = launcher_script(host, nonce, run_id, start=start)
    heard: list[Record] = []

    def over(begun: tuple[str, ...]) -> bool:
        return begun[:1] == ("end",)

    stream = records(transport_for(host), host, nonce, script, password, over)
    async with contextlib.aclosing(stream):
        async for record in stream:
            if record.kind == "error":
                raise HostFailed(record.body.decode(errors="replace").strip(), host=host.name)
            heard.append(record)
    if not any(record.kind in ("followed", "end") for record in heard):
        raise ConnectionLost("the journal stopped coming", host=host.name)
    return heard


def _ran(
    host: Host,
    run_id: str,
    wanted: str,
    heard: list[Record],
    nonce: str,
    values: Mapping[str, bytes],
) -> Ran:
    """What the records say. Raises Aborted, HostFailed, RunMismatch."""
    redact = redactor(values)
    # Of a value that a cut went through, no part may be left; encoded it is up to three times as long.
    margin = max((3 * len(value) + 8 for value in values.values()), default=0)
    ending: Ending = "unknown"
    status, seconds = None, 0.0
    said = {"stdout": Said(), "stderr": Said()}
    attached = False
    for record in heard:
        match record.words:
            case ("journal", _, theirs, *_):
                attached = theirs != nonce
            case ("command", found) if found != wanted:
                raise RunMismatch(
                    f"run {run_id} was begun with another command: take another run id",
                    host=host.name,
                )
            case (("stdout" | "stderr") as name, total, first):
                said[name] = _said(record.body, int(total), int(first), margin, redact)
            case ("exit", code, began, ended, limit):
                status, seconds = int(code), round(float(ended) - float(began), 2)
                late = status in (124, 137, 143) and seconds >= float(limit) - 1
                ending = "timed out" if late else "exited"
            case ("end", "aborted"):
                raise Aborted(f"run {run_id} was stopped by abort", host=host.name)
            case ("end", "broken"):
                raise HostFailed("the command could not be begun there", host=host.name)
    return Ran(
        host=host.name,
        run_id=run_id,
        ending=ending,
        status=status,
        seconds=seconds,
        stdout=said["stdout"],
        stderr=said["stderr"],
        attached=attached,
    )


def _said(body: bytes, total: int, first: int, margin: int, redact: Callable[[str], str]) -> Said:
    if len(body) >= total:
        return Said(text=redact(body.decode(errors="replace")))
    begin, rest = body[: max(0, first - margin)], body[first + margin :]
    return Said(
        text=redact(begin.decode(errors="replace")),
        rest=redact(rest.decode(errors="replace")),
        cut=total - len(begin) - len(rest),
    )


def _check(
    text: str, user: str | None, cwd: str | None, variables: Mapping[str, str], within: float
) -> None:
    try:
        names.text(text)
        if user is not None:
            names.user_name(user)
        if cwd is not None and cwd != "/":
            names.path(cwd)
    except ValueError as error:
        raise InvalidResources(f"the command cannot be run: {error}") from None
    if not text.strip():
        raise InvalidResources("the command is empty")
    if len(text.encode()) > LONGEST:
        raise InvalidResources(f"a command has at most {LONGEST} bytes: make it a file")
    if within <= 0:
        raise InvalidResources(f"its time must be longer than zero, and is {within:g} s")
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise InvalidResources(f"{name!r} is no name of a variable")


def _resolve(
    host: Host, references: Mapping[str, str], secrets: Secrets | None
) -> tuple[dict[str, bytes], bytes | None]:
    values = {ref: resolved(ref, "the command", secrets) for ref in references.values()}
    for ref, value in values.items():
        if b"\0" in value:
            raise SecretUnresolved(f"{ref} holds a NUL byte, which no variable can")
    password = None
    if host.sudo and host.sudo_password is not None:
        password = resolved(host.sudo_password, f"host {host.name}", secrets)
    return values, password
