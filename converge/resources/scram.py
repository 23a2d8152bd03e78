"""SCRAM-SHA-256 verifiers of PostgreSQL, made here, so that no password reaches the host.

RFC 5802 and 7677, RFC 4013 for the preparation, and PostgreSQL's form of it
(src/common/scram-common.c): SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import stringprep
import unicodedata

ITERATIONS = 4096
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepared(password: bytes) -> bytes:
    """SASLprep. What it refuses goes as it is: so PostgreSQL does on both sides."""
    try:
        text = password.decode()
    except UnicodeDecodeError:
        return password
    if text.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if (
        not normal
        or any(check(c) for c in normal for check in _PROHIBITED)
        or any(stringprep.in_table_a1(c) for c in normal)
    ):
        return password
    if any(stringprep.in_table_d1(c) for c in normal) and not (
        stringprep.in_table_d1(normal[0])
        and stringprep.in_table_d1(normal[-1])
        and not any(stringprep.in_table_d2(c) for c in normal)
    ):
        return password
    return normal.encode()


@functools.lru_cache(maxsize=1024)
def verifier(password: bytes, role: str) -> str:
    """What pg_authid.rolpassword shall hold for this role.

    The salt follows from password and role: so the wanted text is known beforehand, and whether the
    server has it is one comparison there, of which only yes or no comes back. To guess a password
    from such a salt costs as much as from the stored key: it is as many rounds of the same hash.
    """
    secret = prepared(password)
    salt = hashlib.pbkdf2_hmac("sha256", secret, b"salt of role " + role.encode(), ITERATIONS)[:16]
    return build(secret, salt, ITERATIONS)


def build(secret: bytes, salt: bytes, iterations: int) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"
