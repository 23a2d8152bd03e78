"""Names of many hosts in few words, as ClusterShell's node sets are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_ADDRESS = re.compile(r"(?P<head>\d+\.\d+\.\d+\.)(?P<number>\d+)(?P<tail>)")
# The last number of a name's first label: web12.example.org, node3-a.
_NAME = re.compile(r"(?P<head>(?:[^.]*[^.\d])?)(?P<number>\d+)(?P<tail>[^.\d]*(?:\..*)?)")


def folded(names: Iterable[str]) -> str:
    """The names, those that differ in a number only as one; in the order in which they first come.

    >>> folded(["web1", "web2", "web3", "web7", "lone", "db01.example.org", "db02.example.org"])
    'web[1-3,7],lone,db[01-02].example.org'
    """
    parts: dict[tuple[str, str, str], list[str]] = {}
    padded: dict[tuple[str, str], set[int]] = {}
    split = [(name, _ADDRESS.fullmatch(name) or _NAME.fullmatch(name)) for name in names]
    for _, found in split:
        if found and found["number"].startswith("0") and len(found["number"]) > 1:
            padded.setdefault((found["head"], found["tail"]), set()).add(len(found["number"]))
    for name, found in split:
        if found is None:
            parts[(name, "", "whole")] = []
            continue
        place = (found["head"], found["tail"])
        width = len(found["number"])
        same = str(width) if width in padded.get(place, ()) else ""
        parts.setdefault((*place, same), []).append(found["number"])
    return ",".join(_word(*key, numbers) for key, numbers in parts.items())


def _word(head: str, tail: str, width: str, numbers: Sequence[str]) -> str:
    if width == "whole":
        return head
    if len(numbers) == 1:
        return f"{head}{numbers[0]}{tail}"
    size = int(width or 0)
    spans = [
        f"{first:0{size}d}" if first == last else f"{first:0{size}d}-{last:0{size}d}"
        for first, last in _spans(sorted({int(number) for number in numbers}))
    ]
    return f"{head}[{','.join(spans)}]{tail}"


def _spans(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
