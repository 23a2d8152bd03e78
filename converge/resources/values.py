"""Kinds of values that several types share, and what a probe's lines say of each resource."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from converge.names import text

_SHA256 = re.compile(r"[0-9a-f]{64}")


def one_line(value: str) -> str:
    text(value)
    if "\n" in value or "\r" in value:
        raise ValueError(f"{value!r} is more than one line")
    return value


def pattern(value: str) -> str:
    one_line(value)
    if not value:
        raise ValueError("an empty pattern matches every line")
    return value


def url(value: str) -> str:
    """http, https or file. Goes into argument lists, so it may hold no password."""
    one_line(value)
    try:
        parts = urlsplit(value)
        told = parts.username is not None or parts.password is not None
    except ValueError as error:
        raise ValueError(f"{value!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https", "file") or not (parts.netloc or parts.path):
        raise ValueError(f"{value!r} is no URL: begin it with https://, http:// or file://")
    if told:
        raise ValueError("the URL holds a name or password, which everybody on the host could read")
    if any(not c.isprintable() or c in " \"'\\" for c in value):
        raise ValueError(f"{value!r} is no URL: it holds blanks, quotes or control characters")
    return value


def sha256(value: str) -> str:
    value = value.strip().lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(value):
        raise ValueError(f"{value!r} is no SHA-256: 64 hexadecimal digits, as sha256sum prints")
    return value


def artifact(value: str) -> str:
    """A path on the controller, relative to the spec's folder and inside it."""
    text(value)
    if not value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError(
            f"{value!r} is no path inside the spec's folder: write it relative, as files/motd"
        )
    return posixpath.normpath(value)


def command(value: str) -> str:
    text(value)
    if not value.strip():
        raise ValueError("the command is empty")
    return value


OneLine = Annotated[str, AfterValidator(one_line)]
Pattern = Annotated[str, AfterValidator(pattern)]
"""An extended regular expression, as `grep -E` on the host takes it."""
Url = Annotated[str, AfterValidator(url)]
Sha256 = Annotated[str, AfterValidator(sha256)]
Artifact = Annotated[str, AfterValidator(artifact)]
Command = Annotated[str, AfterValidator(command)]


def above(path: str) -> list[str]:
    """The directories above `path`, nearest first, without the root."""
    found: list[str] = []
    parent = posixpath.dirname(path)
    while parent != "/":
        found.append(parent)
        parent = posixpath.dirname(parent)
    return found


def place(path: str) -> set[str]:
    """Tokens of something that is at `path`: what is there, and what can be no file above it."""
    return {f"path:{path}", *(f"file-below:{parent}" for parent in above(path))}


def below(path: str) -> set[str]:
    """Tokens of the directories that `path` needs."""
    return {f"path:{parent}" for parent in above(path)}


def rivals(key: str, path: str) -> dict[str, str]:
    """Tokens of other types that would manage the same path."""
    kinds = {"file", "directory", "symlink", "archive", "git"} - {key}
    return {f"{kind}:{path}": f"both manage {path}" for kind in kinds}


def tag(value: str) -> str:
    """A short name for a file on the host that belongs to `value`."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def answers(output: bytes, count: int) -> list[dict[str, list[str]]]:
    """Lines "word index more..." of a probe -> for each index, word -> what followed it last."""
    found: list[dict[str, list[str]]] = [{} for _ in range(count)]
    for raw in output.split(b"\n"):
        parts = raw.decode(errors="replace").split(" ")
        if len(parts) >= 2 and parts[1].isdecimal() and int(parts[1]) < count:
            found[int(parts[1])][parts[0]] = parts[2:]
    return found


def decoded(words: Iterable[str]) -> bytes | None:
    try:
        return base64.b64decode("".join(words), validate=True)
    except (binascii.Error, ValueError):
        return None
