"""How a server bears its token at a cloud: pure, from what the driver takes to what it is given.

Where a driver takes tags, metadata or labels, the token is one of them and comes with the server in
one request. Elsewhere the end of the server's name is made of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from temporal.shared.errors import Permanent

TAG = "temporal-ops-token"
_TAGS = ("ex_labels", "ex_metadata")
"""Arguments of create_node that take a mapping. GCE has both; its metadata is for the guest."""
_CLIENT_TOKENS = ("ex_clienttoken",)
_KEY_PAIRS = ("ex_keyname", "ex_keypair")
_USER_DATA = ("ex_userdata", "ex_user_data")
_WHERE = ("tags", "metadata", "labels")
# Names that end with a dash and hex digits are common elsewhere: what is ours must not look alike.
_SUFFIX = re.compile(r"(?P<name>.+)-ops-(?P<digest>[0-9a-f]{12})")


def suffix(token: str) -> str:
    """What the name of a server ends with that cannot be tagged."""
    return f"-ops-{_digest(token)}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def marked(
    taken: Collection[str], name: str, token: str, tags: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """The name, and arguments of create_node, of which the driver has those in `taken`.

    Raises Permanent: `tags` are wanted, and the driver takes none.
    """
    given: dict[str, Any] = {first: token for first in _first(taken, _CLIENT_TOKENS)}
    for argument in _first(taken, _TAGS):
        return name, {**given, argument: {**tags, TAG: token}}
    if tags:
        raise Permanent("this driver takes no tags as a mapping: give them as `options`")
    return f"{name}{suffix(token)}", given


def extras(taken: Collection[str], key_pair: str | None, user_data: str | None) -> dict[str, Any]:
    """Arguments for a key pair and user data. Raises Permanent where the driver takes none."""
    given: dict[str, Any] = {}
    for what, value, names in (
        ("key_pair", key_pair, _KEY_PAIRS),
        ("user_data", user_data, _USER_DATA),
    ):
        if value is None:
            continue
        found = _first(taken, names)
        if not found:
            raise Permanent(f"this driver takes no {what}: see its create_node, and use `options`")
        given[found[0]] = value
    return given


def borne(taken: Collection[str], name: str, extra: Mapping[str, Any]) -> tuple[str, str]:
    """Name and token of a listed server; the token is empty if it bears none.

    Where it is part of the name only its digest is known.
    """
    for where in _WHERE:
        mapping = extra.get(where)
        if isinstance(mapping, Mapping) and mapping.get(TAG):
            return name, str(mapping[TAG])
    found = None if _first(taken, _TAGS) else _SUFFIX.fullmatch(name)
    return (found["name"], found["digest"]) if found else (name, "")


def same(wanted: str, found: str) -> bool:
    """Is `found`, a token or its digest, the one that is wanted? Nothing wanted fits all."""
    return not wanted or found in (wanted, _digest(wanted))


def _first(taken: Collection[str], names: Collection[str]) -> list[str]:
    return [name for name in names if name in taken][:1]
