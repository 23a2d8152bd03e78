"""restic's patterns as an expression of find: so that a list has what the backup has. Pure.

find compares bytes (LC_ALL=C), restic characters of UTF-8; a byte that is none is a character by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from converge.shell import quote
from temporal.shared.specs.backup.patterns import Name, OneOf, Pattern, Token, parse

LARGEST = 60_000
"""Bytes of one regular expression: a word of a command line has 128 KiB at most."""

MOST_EXACT = 3
"""Of so many characters in a row that may be any, those that are no UTF-8 are told as restic does."""

_REPLACEMENT = 0xFFFD  # what Go takes a byte for that is no UTF-8
# Code points of one, two, three and four bytes; those between the two threes are no characters.
_LENGTHS = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
_PART = b"/[^/]+"
_BELOW = b"(/.*)?"


def expression(patterns: Iterable[str]) -> str | None:
    """sh words: what find, with `-regextype posix-extended`, is to prune; None if it is nothing.

    Raises:
        ValueError: a pattern that restic would refuse.
    """
    found: str | None = None
    for negated, group in groupby(map(parse, patterns), key=lambda each: each.negated):
        if negated and found is None:
            continue  # there is nothing yet that could be taken back
        tests = " -o ".join(f"-regex {_word(each)}" for each in _joined(map(regex, group)))
        if found is None:
            found = tests
        elif negated:
            found = rf"\( {found} \) ! \( {tests} \)"
        else:
            found = rf"\( {found} \) -o {tests}"
    return found


def _joined(regexes: Iterable[bytes]) -> Iterator[bytes]:
    run: list[bytes] = []
    size = 0
    for each in regexes:
        if run and size + len(each) > LARGEST:
            yield b"|".join(run)
            run, size = [], 0
        run.append(each)
        size += len(each) + 1
    yield b"|".join(run)


def regex(pattern: Pattern) -> bytes:
    """A POSIX extended regular expression that fits the absolute paths that restic's pattern fits."""
    if not pattern.absolute:
        return b"(" + _PART + b")*" + _path(pattern.names) + _BELOW
    if pattern.names.count(None) < 2:
        return _path(pattern.names) + _BELOW
    # restic tries no more parts for the first ** than leave one for the second. So either the second
    # stands for some, or there are some below what fits.
    second = max(index for index, name in enumerate(pattern.names) if name is None)
    before, after = _path(pattern.names[:second]), _path(pattern.names[second + 1 :])
    return before + b"((" + _PART + b")+" + after + _BELOW + b"|" + after + b"/.*)"


def _path(names: Sequence[Name | None]) -> bytes:
    parts = (b"(" + _PART + b")*" if name is None else b"/" + _name(name) for name in names)
    return b"".join(parts)


def _name(name: Name) -> bytes:
    found = b""
    for literal, group in groupby(name, key=lambda token: isinstance(token, str)):
        tokens = [*group]
        if literal:
            found += b"".join(_literal(byte) for token in tokens for byte in str(token).encode())
        else:
            exact = sum(isinstance(token, OneOf) for token in tokens) <= MOST_EXACT
            found += _wild(tokens, exact)
    return found


def _wild(tokens: Sequence[Token], exact: bool, apart: bool = False) -> bytes:
    """What stands between literals, which never begin with a byte that goes on with a character.

    Args:
        exact: whether a byte that begins a character may be one by itself before others.
        apart: that was so: what follows must not go on with it.
    """
    if not tokens:
        return b""
    first, rest = tokens[0], tokens[1:]
    usual = _wild(rest, exact)
    if isinstance(first, OneOf):
        choices = _one_of(first.ranges, apart) + usual
        if not first.has(_REPLACEMENT) or (rest and not exact):
            return choices
        return b"(" + choices + b"|[\xc2-\xf4]" + _wild(rest, exact, apart=True) + b")"
    if not apart:
        return b"[^/]*" + usual
    return b"(" + _wild(rest, exact, apart=True) + b"|[^/\x80-\xbf][^/]*" + usual + b")"


def _literal(byte: int) -> bytes:
    return b"\\%c" % byte if byte in b"\\.[]{}()*+?^$|" else b"%c" % byte


def _one_of(ranges: Iterable[tuple[int, int]], apart: bool) -> bytes:
    single: set[int] = set()
    longer: list[bytes] = []
    for first, last in ranges:
        for run in _byte_runs(first, last):
            if len(run) == 1:
                single.update(range(run[0][0], run[0][1] + 1))
            else:
                longer.append(b"".join(_bracket(range(low, high + 1)) for low, high in run))
        if first <= _REPLACEMENT <= last:
            single.update([*range(0xC0 if apart else 0x80, 0xC2), *range(0xF5, 0x100)])
    bracket = _bracket(single - {0, ord("/")})
    choices = [bracket] if bracket else []
    # A slash, which no name holds, stands for nothing at all.
    return b"(" + b"|".join(choices + longer or [b"/"]) + b")"


def _byte_runs(first: int, last: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """The code points first to last in UTF-8, as sequences of ranges of bytes.

    >>> [*_byte_runs(0x70, 0x801)][2:]
    [((224, 224), (160, 160), (128, 129))]
    """
    for low, high in _LENGTHS:
        low, high = max(low, first), min(high, last)
        if low <= high:
            yield from _encoded(chr(low).encode(), chr(high).encode())


def _encoded(low: bytes, high: bytes) -> Iterator[tuple[tuple[int, int], ...]]:
    first, last = low[0], high[0]
    if len(low) == 1:
        yield ((first, last),)
        return
    rest = len(low) - 1
    lowest, highest = b"\x80" * rest, b"\xbf" * rest
    if first == last:
        for more in _encoded(low[1:], high[1:]):
            yield ((first, first), *more)
        return
    if low[1:] != lowest:
        for more in _encoded(low[1:], highest):
            yield ((first, first), *more)
        first += 1
    if high[1:] != highest:
        for more in _encoded(lowest, high[1:]):
            yield ((last, last), *more)
        last -= 1
    if first <= last:
        yield ((first, last), *(((0x80, 0xBF),) * rest))


def _bracket(members: Iterable[int]) -> bytes:
    """A bracket expression for these bytes; what has a meaning there stands where it has none."""
    left = set(members)
    special = {byte for byte in b"]-[^" if byte in left}
    body = b"]" if ord("]") in special else b""
    for low, high in _runs(sorted(left - special)):
        body += b"%c" % low if low == high else b"%c-%c" % (low, high)
    if ord("[") in special:
        body += b"["
    if ord("^") in special:
        if not body and ord("-") in special:
            return b"[-^]"
        if not body:
            return rb"\^"
        body += b"^"
    if ord("-") in special:
        body += b"-"
    return b"[" + body + b"]" if body else b""


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield run[0], run[-1]


def _word(regular: bytes) -> str:
    """As one word of sh. Bytes that are no text are made by printf on the host."""
    try:
        return quote(regular.decode())
    except UnicodeDecodeError:
        safe = "".join(
            chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else rf"\{byte:03o}"
            for byte in regular
        )
        return f"\"$(printf '{safe}')\""
