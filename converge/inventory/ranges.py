"""Host patterns: web[01:10].example.org, db-[a:f], web[1:9:2], and host:port."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RANGE = re.compile(
    r"\[(?P<first>[0-9]+|[A-Za-z]):(?P<last>[0-9]+|[A-Za-z])(?::(?P<step>[0-9]+))?\]"
)
_PORT = re.compile(r"(?P<host>(?:\[[^\]]*\]|[^:\[\]])+):(?P<port>[0-9]{1,5})")
MOST = 65536
_MEANT = re.compile(r"\[[^\]]*:[^\]]*\]")


def expand(pattern: str) -> list[str]:
    """All names of a pattern, in order. Raises ValueError for a range that is none."""
    found = list(_expand(pattern))
    if not found:
        raise ValueError(f"{pattern!r} stands for no host")
    return found


def _expand(pattern: str) -> Iterator[str]:
    match = _RANGE.search(pattern)
    if match is None:
        # [2001:db8::1] is an address; what else stands in brackets was meant as a range.
        meant = _MEANT.search(pattern)
        if meant and not re.fullmatch(r"\[[0-9A-Fa-f:.%]+\]", pattern):
            raise ValueError(f"{meant.group()} in {pattern!r} is no range such as [01:10] or [a:f]")
        yield pattern
        return
    head, tail = pattern[: match.start()], pattern[match.end() :]
    for value in _values(match["first"], match["last"], int(match["step"] or 1), pattern):
        for rest in _expand(tail) if tail else [""]:
            yield f"{head}{value}{rest}"


def _values(first: str, last: str, step: int, pattern: str) -> list[str]:
    if step < 1:
        raise ValueError(f"{pattern!r}: the step of a range is at least 1")
    if first.isdecimal() != last.isdecimal():
        raise ValueError(f"{pattern!r}: a range goes from number to number or letter to letter")
    if not first.isdecimal():
        low, high = ord(first), ord(last)
        if low > high or first.islower() != last.islower():
            raise ValueError(f"{pattern!r}: the range from {first} to {last} holds nothing")
        return [chr(code) for code in range(low, high + 1, step)]
    width = len(first) if first.startswith("0") and len(first) > 1 else 0
    if width and len(last) != width:
        raise ValueError(f"{pattern!r}: both ends of a range with leading zeros are as long")
    low, high = int(first), int(last)
    if low > high:
        raise ValueError(f"{pattern!r}: the range from {first} to {last} holds nothing")
    if (high - low) // step >= MOST:
        raise ValueError(f"{pattern!r} stands for more than {MOST} hosts")
    return [str(number).zfill(width) for number in range(low, high + 1, step)]


def split_port(name: str) -> tuple[str, int | None]:
    """A name and the port behind it, if one is there."""
    found = _PORT.fullmatch(name)
    if found is None:
        return name.strip("[]") if _address(name) else name, None
    return found["host"].strip("[]") if _address(found["host"]) else found["host"], int(
        found["port"]
    )


def _address(name: str) -> bool:
    return bool(re.fullmatch(r"\[[0-9A-Fa-f.%]*:[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*\]", name))
