"""Files on a lab server that are backed up, restored and compared, with the sh that hosts run."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from converge.framing import Reader, Record
from converge.shell import quote, words
from lab import Lab, Machine
from temporal.activities.backup import manifest_sh
from temporal.shared.specs.backup.sources import FilesSource

NONCE = "0123456789abcdef"


def octal(name: bytes) -> str:
    """One sh word for any bytes; printf makes them on the host."""
    return "\"$(printf '" + "".join(rf"\{byte:03o}" for byte in name) + "')\""


@dataclass
class Filing:
    """A place of a test's own on a server: a root, a repository, a state folder, a place to restore."""

    lab: Lab
    server: Machine
    folder: str = field(default_factory=lambda: f"/srv/{secrets.token_hex(4)}")
    prelude: str = ""
    """sh before everything that is run."""

    @property
    def root(self) -> str:
        """What is backed up."""
        return f"{self.folder}/root"

    @property
    def base(self) -> str:
        """$W."""
        return f"{self.folder}/state/backup/shop/files"

    def source(self, **more: object) -> FilesSource:
        return FilesSource.model_validate({"files": self.root, **more})

    def script(self, body: str) -> str:
        return f"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin RESTIC_PASSWORD=x RESTIC_REPOSITORY={self.folder}/repository
export RESTIC_CACHE_DIR={self.folder}/restic
S={self.folder}/state T={self.folder}/memory W={self.base} X={self.folder}/restored
rec() {{ printf '\\n%s %s\\n' {NONCE} "$*"; }}
mkdir -p {self.root} "$W/proof" "$T"
{manifest_sh.LIBRARY}{manifest_sh.COMPARING}
{self.prelude}
{body}
"""

    def run(self, body: str, status: int = 0) -> bytes:
        """Runs sh there; what it printed."""
        done = self.lab.exec(self.server, ["sh", "-c", 'cat >"$0"; sh "$0"', f"{self.folder}.sh"],
                             input=self.script(body), timeout=120)  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout.encode(errors="surrogateescape")

    def all_of(self, command: str) -> bytes:
        """What a command prints, to the byte: to others a line may end in several ways."""
        return base64.b64decode(self.run(f"{command} | base64"))

    def says(self, body: str) -> str:
        return self.run(body).decode(errors="surrogateescape").strip()

    def fails(self, body: str) -> str:
        """What it says when it fails, where the shell ignores set -e, as it does in a condition."""
        return self.says(
            f"if ! ( set -eu\n{body}\n) 2>&1 </dev/null; then :; else echo '(it went well)'; fi"
        )

    def clean(self) -> None:
        self.run(f"cd /; rm -rf -- {self.folder} {self.folder}.sh")

    # ------------------------------------------------------------------ steps

    def make(self, source: FilesSource) -> str:
        """sh that makes the manifest."""
        return f"( set -eu\n{manifest_sh.make_call(source)}\n) </dev/null || exit\n"

    def back_up(self, source: FilesSource) -> str:
        """sh that backs it up, as a backup does."""
        arguments = words([*manifest_sh.restic_arguments(source), "--", *source.files])
        return f"""
[ -e "$RESTIC_REPOSITORY" ] || restic init -q || exit
keep_proof && restic backup -q --exclude-file "$T/keep" {arguments} "$W/proof" || exit
"""

    def restore(self) -> str:
        return (
            'rm -rf -- "$X"; restic restore -q latest --target "$X" >"$T/restored" 2>&1 || exit\n'
        )

    def compare(self, source: FilesSource, owners: bool = True, touched: bool = True) -> str:
        calls = [f"( set -eu\n{manifest_sh.compare_call(source, owners)}\n) </dev/null || exit"]
        if touched:
            calls.insert(0, 'restic ls --json latest >"$T/ls" || exit')
            calls.insert(1, f'( set -eu\n{manifest_sh.touched_call()}\n) <"$T/ls" || exit')
        calls.append('restic ls latest >"$T/ls" || exit')
        calls.append(f'( set -eu\n{manifest_sh.lost_call()}\n) <"$T/ls" || exit')
        return "\n".join(calls)

    # ---------------------------------------------------------------- results

    def manifest(self) -> list[bytes]:
        return self.all_of('cat "$W/proof/manifest"').split(b"\0")[:-1]

    def listed(self) -> list[bytes]:
        """The paths in the manifest, as lines, in order."""
        return lines(record.split(b" ", 7)[7].split(b"//")[0] for record in self.manifest())

    def taken(self, roots: Sequence[str]) -> list[bytes]:
        """The paths at and below the roots that restic has in its newest snapshot, as lines."""
        found = self.all_of("restic ls latest").split(b"\n")
        above = {
            b"/".join(path.encode().split(b"/")[:depth])
            for path in (*roots, f"{self.base}/proof")
            for depth in range(path.count("/") + 1)
        }
        proof = f"{self.base}/proof".encode()
        return sorted(
            line
            for line in found
            if line and not line.startswith((b"snapshot ", proof)) and line not in above
        )


def lines(paths: Iterable[bytes]) -> list[bytes]:
    """As `restic ls` prints them, which does not tell a line end in a name from others."""
    return sorted(line for path in paths for line in path.split(b"\n") if line)


def records(output: bytes) -> dict[str, tuple[list[int], list[str]]]:
    """Of each record its numbers and the lines of its body."""
    reader = Reader(NONCE)
    found: list[Record] = list(reader.feed(output))
    last = reader.finish()
    value = {}
    for record in [*found, *([last] if last else [])]:
        name = " ".join(word for word in record.words if not word.isdigit())
        numbers = [int(word) for word in record.words if word.isdigit()]
        body = record.body.decode(errors="surrogateescape")
        value[name] = (numbers, [line for line in body.split("\n") if line])
    return value


__all__ = ["NONCE", "Filing", "lines", "octal", "quote", "records"]
