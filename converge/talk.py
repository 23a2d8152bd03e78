"""Runs one script on a host: finds the shell, gets past sudo, hands back records."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from converge.errors import HostFailed, HostUnsupported, SudoRefused
from converge.framing import Reader, Record
from converge.host import Host
from converge.shell import quote
from converge.transport import Exit, Process, Transport


def command(host: Host, nonce: str, *, password: bool) -> str:
    """What the host's login shell is asked to run; the script itself goes to standard input."""
    if not host.sudo:
        return "exec sh -s"
    if not password:
        return "exec env LC_ALL=C sudo -n -- sh -s"
    # sudo reads a password only if it wants one: asked first, or the password would become the
    # first line of the script. -k: no ticket of an earlier call may decide it.
    # Its prompt is the sign: the second one means that the first password was wrong. It comes on
    # standard error, which is read as output here.
    # What it says on standard error must not land in the middle of a record: it comes at the end.
    ready = (
        f"printf '%s ready\\n' {nonce};"
        " { said=$(sh -s 2>&1 >&3 3>&-); status=$?; } 3>&1;"
        f' printf \'\\n%s wrapper %s\\n%s\' {nonce} "$status" "$said"'
    )
    script = (
        "LC_ALL=C; export LC_ALL; if sudo -k -n -- true 2>/dev/null; then "
        f"printf '%s ready\\n' {nonce}; exec sudo -n -- sh -s; "
        f"else exec sudo -k -S -p {quote(f'{nonce} ask')} -- sh -c {quote(ready)} 2>&1; fi"
    )
    return f"exec sh -c {quote(script)}"


async def records(
    transport: Transport,
    host: Host,
    nonce: str,
    script: bytes,
    password: bytes | None,
    over: Callable[[tuple[str, ...]], bool] = lambda words: False,
) -> AsyncGenerator[Record, None]:
    """Runs `script` and yields its records until it says `rec .`, or begins one that is `over`.

    Raises SudoRefused, HostUnsupported or HostFailed if it does not get to speak.
    """
    async with transport.run(command(host, nonce, password=password is not None)) as process:
        reader = Reader(nonce)
        heard = False
        if not (host.sudo and password is not None):
            await process.send(script, eof=True)
            chunks = process.chunks()
        else:
            chunks = process.chunks()
            await _handshake(process, chunks, host, nonce, script, password)
        async for data in chunks:
            for record in reader.feed(data):
                heard = True
                yield record
            # The last word needs no successor: its body is empty.
            if reader.open is not None and (reader.open == (".",) or over(reader.open)):
                last = reader.finish()
                if last is not None:
                    yield last
                return
        last = reader.finish()
        if last is not None and last.kind != "wrapper":
            heard = True
            yield last
        if not heard:
            exit = await process.wait()
            if last is not None:
                exit = Exit(_status(last), last.body)
            _explain(host, exit)


def _status(wrapper: Record) -> int | None:
    """What the shell behind sudo ended with."""
    word = wrapper.words[1] if len(wrapper.words) > 1 else ""
    return int(word) if word.isdecimal() else None


async def _handshake(
    process: Process,
    chunks: AsyncIterator[bytes],
    host: Host,
    nonce: str,
    script: bytes,
    password: bytes,
) -> None:
    ask, ready = f"{nonce} ask".encode(), f"{nonce} ready\n".encode()
    seen = b""
    sent = 0
    async for data in chunks:
        seen += data
        if ready in seen:
            await process.send(script, eof=True)
            return
        if seen.count(ask) > sent:
            sent = seen.count(ask)
            # Never a second time: that would count as another attack, and lock accounts out.
            await process.send(password + b"\n" if sent == 1 else b"", eof=sent > 1)
    exit = await process.wait()
    _explain(host, Exit(exit.status, seen.replace(ask, b"") + exit.stderr))


def _explain(host: Host, exit: Exit) -> None:
    """Raises for a script that never spoke."""
    said = exit.stderr.decode(errors="replace").strip()
    if host.sudo and ("sudo:" in said or "sudo" in said.partition("\n")[0]):
        if "password is required" in said or "a terminal is required" in said:
            raise SudoRefused(
                "sudo asks for a password: give Host(sudo_password=<secret reference>), or allow"
                " this user NOPASSWD in sudoers",
                host=host.name,
            )
        if "incorrect password" in said or "try again" in said or "no password" in said:
            raise SudoRefused("sudo refuses the password given", host=host.name)
        if "not found" in said:
            raise HostUnsupported("the host has no sudo", host=host.name)
        raise SudoRefused(f"sudo refuses: {said.splitlines()[-1]}", host=host.name)
    if exit.status in (126, 127):
        raise HostUnsupported(f"no shell: {said or exit.status}", host=host.name)
    raise HostFailed(
        f"the script did not speak (exit {exit.status}): {said[-500:] or 'no output'}",
        host=host.name,
    )


async def collect(
    transport: Transport, host: Host, nonce: str, script: bytes, password: bytes | None
) -> list[Record]:
    stream = records(transport, host, nonce, script, password)
    async with contextlib.aclosing(stream):
        return [record async for record in stream]
