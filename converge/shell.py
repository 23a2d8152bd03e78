"""Words for POSIX sh. The one place where a value becomes part of a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def quote(value: str) -> str:
    """`value` as one word. Always quoted, so that no reader has to wonder; refuses NUL."""
    if "\0" in value:
        raise ValueError("a NUL character cannot be part of a shell word")
    return "'" + value.replace("'", "'\\''") + "'"


def words(values: Iterable[str]) -> str:
    return " ".join(quote(value) for value in values)


def encode(content: bytes) -> str:
    """base64, for `base64 -d` on the host. Safe in quotes and in here-documents."""
    return base64.b64encode(content).decode()


def supply(body: bytes, spooled: Mapping[str, str]) -> str:
    """sh that prints `body` as base64, from the host's spool if it is there."""
    path = spooled.get(hashlib.sha256(body).hexdigest()) if spooled else None
    return f"printf '%s' '{encode(body)}'" if path is None else f"base64 <{quote(path)}"


def complete(body: str, arguments: str = "") -> bytes:
    """A script that runs whole or not at all.

    All of it is one function, so a copy that was cut off on its way is a syntax error; and no
    child can read the rest of the script, since by then the shell has read all of it and
    standard input is /dev/null. What is no UTF-8 in it is there by surrogateescape, as in `os.fsdecode`.
    """
    call = f"main {arguments}".rstrip()
    return f"main() {{\n{body}\n}}\n{call} </dev/null\n".encode(errors="surrogateescape")


def chunks(items: Sequence[T], sizes: Sequence[int], limit: int = 65536) -> Iterator[list[T]]:
    """Runs of `items` whose sizes add up to at most `limit`: argv has an end (E2BIG)."""
    run: list[T] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if run and (total + size > limit or len(run) >= 500):
            yield run
            run, total = [], 0
        run.append(item)
        total += size
    if run:
        yield run
