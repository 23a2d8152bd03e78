"""authorized_keys lines: what is one, which are the same, and how two sets become one file.

Source of the format: sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

_TYPE = re.compile(
    r"(?:^|\s)((?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
    r"(?:-cert-v01@openssh\.com)?)\s+([A-Za-z0-9+/]+=*)(?=\s|$)"
)


def key_line(value: str) -> str:
    value = value.strip()
    if "PRIVATE KEY" in value:
        raise ValueError("this is a private key; give the line of the .pub file")
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError("an authorized key is one line without control characters")
    parts = identity(value)
    if parts is None:
        raise ValueError(
            "not an authorized key: expected a type and base64, such as 'ssh-ed25519 AAAA... name'"
        )
    _, kind, blob = parts
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is cut off or damaged: its base64 cannot be read") from None
    # A certificate holds bare integers as well: only its name can be checked.
    fields = [kind.encode(), b""] if "-cert-" in kind else _fields(raw)
    if fields is None or len(fields) < 2 or fields[0] != kind.encode():
        raise ValueError(f"the key is cut off or damaged: it does not say that it is {kind}")
    return value


def _fields(raw: bytes) -> list[bytes] | None:
    """The strings of an ssh wire value (RFC 4251, 5), or None if they do not add up."""
    fields: list[bytes] = []
    while raw:
        size = int.from_bytes(raw[:4], "big")
        if len(raw) < 4 + size:
            return None
        fields.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return fields


AuthorizedKey = Annotated[str, AfterValidator(key_line)]


def identity(line: str) -> tuple[str, str, str] | None:
    """(options, type, base64) of a line, or None if it is no key. The comment is not part."""
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    match = _TYPE.search(line)
    if match is None:
        return None
    return line[: match.start(1)].strip(), match.group(1), match.group(2)


def merge(current: bytes, wanted: Sequence[str], *, exclusive: bool) -> bytes:
    """The file that holds what is wanted; equal to `current` if nothing is missing."""
    identities = [identity(line) for line in wanted]
    if exclusive:
        found = [identity(line) for line in current.decode(errors="replace").splitlines()]
        real = [key for key in found if key is not None]
        if sorted(set(real)) == sorted({key for key in identities if key is not None}):
            return current
        return "".join(f"{line}\n" for line in dict.fromkeys(wanted)).encode()
    # The same key with other options would grant other rights: it is replaced.
    blobs = {key[2]: key for key in identities if key is not None}
    kept: list[bytes] = []
    present: set[tuple[str, str, str]] = set()
    for raw in current.splitlines():
        key = identity(raw.decode(errors="replace"))
        if key is not None and key[2] in blobs and blobs[key[2]] != key:
            continue
        if key is not None:
            present.add(key)
        kept.append(raw)
    added = [line for line in dict.fromkeys(wanted) if identity(line) not in present]
    if not added and len(kept) == len(current.splitlines()):
        return current
    return b"".join(line + b"\n" for line in [*kept, *(line.encode() for line in added)])


def without(current: bytes, removed: Sequence[str]) -> bytes:
    """The file without these keys, whatever their options; equal to `current` if none is there."""
    blobs = {key[2] for line in removed if (key := identity(line)) is not None}
    lines = current.splitlines()
    kept = [
        raw
        for raw in lines
        if (key := identity(raw.decode(errors="replace"))) is None or key[2] not in blobs
    ]
    return current if len(kept) == len(lines) else b"".join(line + b"\n" for line in kept)
