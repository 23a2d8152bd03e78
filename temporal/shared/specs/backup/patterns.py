"""What restic leaves out: its patterns, read as restic reads them (its filter.go, Go's path/filepath).

A pattern is compared with the whole path, part by part. One that does not begin with / may begin at any
part. Whatever is below what it fits is left out as well. One that begins with ! takes back what earlier
ones fit; but what is below a folder that is left out is not even looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ANY_RUNE: Final = ((0, 0x10FFFF),)
MOST_DOUBLE_STARS = 2


@dataclass(frozen=True)
class Star:
    """`*`: any part of one name."""


@dataclass(frozen=True)
class OneOf:
    """`?` or `[...]`: one character of these ranges of code points, first and last."""

    ranges: tuple[tuple[int, int], ...]

    def has(self, point: int) -> bool:
        """Whether it is one of them."""
        return any(first <= point <= last for first, last in self.ranges)


Token = str | Star | OneOf
Name = tuple[Token, ...]
"""What one part of a path has to look like."""


@dataclass(frozen=True)
class Pattern:
    """One pattern. None in `names` stands for `**`: any number of parts, none as well."""

    negated: bool
    absolute: bool
    names: tuple[Name | None, ...]


def parse(text: str) -> Pattern:
    """Reads it.

    Raises:
        ValueError: restic would refuse it, or it can never fit anything.
    """
    negated = text.startswith("!")
    path = _clean(text[1:] if negated else text)
    absolute = path.startswith("/")
    parts = path.split("/")[1 if absolute else 0 :]
    if not absolute and parts[0] in (".", ".."):
        raise ValueError(f"{text!r} never fits: patterns are compared with absolute paths")
    # restic takes an empty part, which only / itself has, for **.
    names = tuple(None if part in ("", "**") else _name(part, text) for part in parts)
    if names.count(None) > MOST_DOUBLE_STARS:
        raise ValueError(f"{text!r} has more than {MOST_DOUBLE_STARS} parts that are **")
    return Pattern(negated, absolute, names)


def _clean(path: str) -> str:
    """Go's filepath.Clean.

    >>> _clean("//a/./b/../c/"), _clean("../x"), _clean("")
    ('/a/c', '../x', '.')
    """
    absolute = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".." or not absolute:
            parts.append(part)
    return ("/" if absolute else "") + "/".join(parts) or "."


def _name(part: str, pattern: str) -> Name:
    tokens: list[Token] = []
    rest = part
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "*":
            if not tokens or tokens[-1] != Star():
                tokens.append(Star())
        elif char == "?":
            tokens.append(OneOf(ANY_RUNE))
        elif char == "[":
            ranges, rest = _ranges(rest, pattern)
            tokens.append(OneOf(ranges))
        else:
            if char == "\\":
                if not rest:
                    raise ValueError(
                        f"{pattern!r}: a backslash stands before a character it protects"
                    )
                char, rest = rest[0], rest[1:]
            if tokens and isinstance(tokens[-1], str):
                tokens[-1] += char
            else:
                tokens.append(char)
    return tuple(tokens)


def _ranges(rest: str, pattern: str) -> tuple[tuple[tuple[int, int], ...], str]:
    negated = rest.startswith("^")
    rest = rest[1:] if negated else rest
    found: list[tuple[int, int]] = []
    while not (found and rest.startswith("]")):
        first, rest = _member(rest, pattern)
        last = first
        if rest.startswith("-"):
            last, rest = _member(rest[1:], pattern)
        found.append((first, last))
    ranges = _merged(found)
    return (_others(ranges) if negated else ranges), rest[1:]


def _member(rest: str, pattern: str) -> tuple[int, str]:
    escaped = rest.startswith("\\")
    char, after = rest[escaped : escaped + 1], rest[escaped + 1 :]
    if not after or (not escaped and char in "-]"):
        raise ValueError(
            f"{pattern!r}: [ begins a set of characters, as in [a-z], and this is none"
        )
    return ord(char), after


def _merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(each for each in ranges if each[0] <= each[1]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _others(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    found = []
    begin = 0
    for first, last in ranges:
        if begin < first:
            found.append((begin, first - 1))
        begin = last + 1
    if begin <= ANY_RUNE[0][1]:
        found.append((begin, ANY_RUNE[0][1]))
    return tuple(found)
