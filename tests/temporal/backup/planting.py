"""Repositories with a past: snapshots, notes and locks of any age, encrypted as restic does it, so that
the real restic reads them. None of it could be had otherwise without waiting for months."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from lab import Machine
from tests.temporal.backup.plans import restic, says


class Planted:
    """A repository in a folder of a server, made anew, with one real snapshot of a few files.

    Attributes:
        url: its folder.
        data: the folder that its snapshots are of.
    """

    def __init__(self, server: Machine, name: str) -> None:
        self.server = server
        self.url = f"/srv/planted/{name}"
        self.data = f"/srv/planted/{name}.data"
        says(
            server,
            f"rm -rf {self.url} {self.data}; mkdir -p {self.data}/sub;"
            f" for n in 1 2 3; do head -c 1500000 /dev/urandom >{self.data}/$n; done;"
            f" head -c 900000 /dev/urandom >{self.data}/sub/four",
        )
        restic(server, self.url, "init -q")
        key = json.loads(restic(server, self.url, "cat masterkey"))
        self._mac = base64.b64decode(key["mac"]["k"])
        clamped = bytearray(base64.b64decode(key["mac"]["r"]))
        for place in (3, 7, 11, 15):
            clamped[place] &= 15
        for place in (4, 8, 12):
            clamped[place] &= 252
        self._r, self._aes = bytes(clamped), base64.b64decode(key["encrypt"])
        self._pending: list[tuple[str, str, bytes]] = []
        self.first = self.back_up("first")
        self.tree = self.listed()[self.first]["tree"]

    def back_up(self, tag: str) -> str:
        """A snapshot of the data as it is now, made by restic; its id."""
        before = set(self.listed())
        restic(self.server, self.url, f"backup -q --tag {tag} {self.data}")
        [made] = set(self.listed()) - before
        return made

    def listed(self) -> dict[str, dict[str, Any]]:
        """What restic lists, by id."""
        text = restic(self.server, self.url, "snapshots --json --no-lock")
        return {each["id"]: each for each in json.loads(text) or []}

    def snapshot(
        self,
        host: str,
        source: str,
        ago: timedelta,
        *tags: str,
        name: str = "trial",
        tree: str = "",
    ) -> str:
        """A snapshot of a source; its id. It is there after `grow`."""
        own = ["temporal-ops", f"backup:{name}", f"source:{source}", "kind:files", *tags]
        return self._snapshot(host, ago, own, tree or self.tree)

    def note(self, host: str, ago: timedelta, *tags: str, name: str = "trial") -> str:
        """A note; its id. It is there after `grow`."""
        return self._snapshot(host, ago, ["temporal-ops-note", f"backup:{name}", *tags], self.tree)

    def proof(self, host: str, source: str, ago: timedelta, of: str, result: str) -> str:
        """A note of a drill."""
        tags = (f"source:{source}", f"of:{of}", f"result:{result}", "took:12.5", "unproven:0")
        return self.note(host, ago, "note:proof", *tags)

    def _snapshot(self, host: str, ago: timedelta, tags: Sequence[str], tree: str) -> str:
        value = {
            "time": (datetime.now(UTC) - ago).isoformat().replace("+00:00", "Z"),
            "tree": tree,
            "paths": [self.data],
            "hostname": host,
            "username": "root",
            "tags": [*tags],
        }
        return self._add("snapshots", value)

    def lock(self, machine: str, pid: int, ago: timedelta, exclusive: bool = False) -> str:
        """A lock; its id. It is there after `grow`."""
        value = {
            "time": (datetime.now(UTC) - ago).isoformat().replace("+00:00", "Z"),
            "exclusive": exclusive,
            "hostname": machine,
            "username": "root",
            "pid": pid,
        }
        return self._add("locks", value)

    def _add(self, kind: str, value: dict[str, Any]) -> str:
        data = self._encrypted(json.dumps(value).encode())
        id = hashlib.sha256(data).hexdigest()
        self._pending.append((kind, id, data))
        return id

    def _encrypted(self, plain: bytes) -> bytes:
        nonce = os.urandom(16)
        stream = Cipher(algorithms.AES(self._aes), modes.CTR(nonce)).encryptor()
        text = stream.update(plain) + stream.finalize()
        block = Cipher(algorithms.AES(self._mac), modes.ECB()).encryptor()
        secret = block.update(nonce) + block.finalize()
        return nonce + text + Poly1305.generate_tag(self._r + secret, text)

    def grow(self) -> None:
        """Puts into the repository what was planted."""
        lines = [
            f"echo {base64.b64encode(data).decode()} | base64 -d >{self.url}/{kind}/{id}"
            for kind, id, data in self._pending
        ]
        self._pending = []
        for start in range(0, len(lines), 100):
            says(self.server, "\n".join(lines[start : start + 100]))

    def locks(self) -> list[str]:
        """Ids of all locks."""
        return says(self.server, f"ls {self.url}/locks").split()

    def packs(self) -> dict[str, int]:
        """Sizes of all packs, by id."""
        lines = says(self.server, f"cd {self.url}/data && find . -type f -printf '%f %s\\n'")
        return {id: int(size) for id, size in (line.split() for line in lines.splitlines())}

    def damage(self, pack: str, how: str) -> None:
        """Damages a pack: `flip` changes bytes in its middle, `header` at its end, `cut` cuts it,
        `gone` removes it."""
        file = f"{self.url}/data/{pack[:2]}/{pack}"
        flip = f"printf '\\377\\376\\375' | dd of={file} bs=1 conv=notrunc seek=$((%s)) 2>/dev/null"
        size = f"$(stat -c %s {file})"
        does = {
            "flip": flip % f"{size} / 2",
            "header": flip % f"{size} - 60",
            "cut": f"truncate -s $(({size} / 2)) {file}",
            "gone": f"rm {file}",
        }
        says(self.server, f"chmod u+w {file} && {does[how]}")
