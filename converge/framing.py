"""Records in a byte stream, told from everything else by a nonce that no child can know.

    \\n<nonce> <word> <word>...\\n
    any bytes, the body, until the next such line

A body may be anything. Bytes before the first record (a chatty shell profile) are dropped.
A record is handed out when the next one begins, so what was cut off is never mistaken for whole.
A record "journal <pass> <nonce> ..." says that records with that nonce follow.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

NONCE_LENGTH = 32


def new_nonce() -> str:
    return secrets.token_hex(NONCE_LENGTH // 2)


@dataclass(frozen=True)
class Record:
    nonce: str
    words: tuple[str, ...]
    body: bytes

    @property
    def kind(self) -> str:
        return self.words[0] if self.words else ""


class Reader:
    """Feed it bytes as they come; it gives back whole records."""

    def __init__(self, *nonces: str) -> None:
        self._nonces = {nonce.encode() for nonce in nonces}
        self._rest = b""
        self._head: tuple[str, tuple[str, ...]] | None = None
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Record]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            head = self._header(line)
            if head is None:
                if self._head is not None:
                    self._body.append(line)
                continue
            record = self._close()
            self._head = head
            if head[1][:1] == ("journal",) and len(head[1]) > 2:
                self._nonces.add(head[1][2].encode())  # what follows was written under that one
            if record is not None:
                yield record

    def finish(self) -> Record | None:
        """The last record, which nothing follows. Its body may be cut off."""
        if self._rest and self._head is not None:
            self._body.append(self._rest)
        self._rest = b""
        return self._close()

    @property
    def open(self) -> tuple[str, ...] | None:
        """The words of the record that has begun and not ended."""
        return None if self._head is None else self._head[1]

    def _header(self, line: bytes) -> tuple[str, tuple[str, ...]] | None:
        nonce, space, rest = line.partition(b" ")
        if not space or nonce not in self._nonces:
            return None
        return nonce.decode(), tuple(rest.decode(errors="replace").split())

    def _close(self) -> Record | None:
        if self._head is None:
            return None
        # The newline that a header begins with is the one that ends the body's last line here.
        record = Record(*self._head, b"\n".join(self._body))
        self._head, self._body = None, []
        return record
