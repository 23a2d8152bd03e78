"""Runs what the kinds of databases make of sh, as a backup and a drill do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import CompletedProcess

from converge.shell import quote
from lab import Lab, Machine

# Function and folders as a task on a host has them. As there, `set -e` is without effect where the
# function is called in a condition, and nothing is on standard input.
_RUN = """
S=/var/lib/trial T=/run/trial W=$S/saved X=$S/restored LC_ALL=C
export S LC_ALL
umask 077
mkdir -p "$T" "$W/proof" "$W/dump" "$X"
umask 022
{script}
part() {{ ( set -eu; "$1" ) 2>&1 </dev/null; }}
if ! part {function}; then failed=1; fi
{left}
exit ${{failed:-0}}
"""
# Looked at while all that it started is still there, if it did not end that: folders, and processes, by
# what they bear in their arguments.
_LEFT = """{
ls -A $T; ls -d $X/server
ps -eo args= | grep -E '(/run|/var/lib)/trial/|/mnt/|pg_dump|mariadb-dump|redis-cli' | grep -v grep
} >/run/trial-left 2>/dev/null
"""
_SERVICES = "postgresql@*.service mariadb.service redis-server.service"
_LISTENING = "ss -Hltnx | awk '{ print $1, $4, $5 }' | sort -u"


@dataclass
class Ran:
    """How a function ended, and all that it said."""

    ok: bool
    said: str

    @property
    def last(self) -> str:
        """Its last line."""
        return self.said.strip().splitlines()[-1] if self.said.strip() else ""


@dataclass
class Databases:
    """A server with databases. What is saved and restored there is of one trial at a time."""

    machine: Machine
    variables: dict[str, str] = field(default_factory=dict)

    def exec(self, command: str, input: str | None = None) -> CompletedProcess[str]:
        lab = Lab(self.machine.lab)
        return lab.exec(self.machine, ["sh", "-c", command], input=input, timeout=300)

    def says(self, command: str, input: str | None = None) -> str:
        """What a shell command prints there; it must end with 0."""
        done = self.exec(command, input)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run(self, function: str, script: str, before: str = "") -> Ran:
        """Calls dump_it, prove_it or load_it.

        `before`: sh that is run first, in a mount namespace that both have for themselves.
        """
        given = "".join(f"{name}={quote(value)}\n" for name, value in self.variables.items())
        text = f"{before}\n{given}{_RUN.format(script=script, function=function, left=_LEFT)}"
        done = self.exec("unshare --mount sh -s" if before else "sh -s", text)
        return Ran(done.returncode == 0, done.stdout + done.stderr)

    def wrap(self, program: str, dumping: str, after: str) -> str:
        """sh for `run`'s `before`: whoever runs `program` with the argument `dumping` (a pattern) runs
        `after` when it has ended, unnoticed."""
        real = f"/run/trial-{program.rpartition('/')[2]}"
        lines = [
            "#!/bin/sh",
            f'{real} "$@"; rc=$?',
            f'case " $* " in *" "{dumping}" "*) {{ {after}',
            "} >/dev/null 2>&1 ;; esac",
            'exit "$rc"',
            "",
        ]
        self.says(f"cat >{real}.sh; chmod 755 {real}.sh", "\n".join(lines))
        return f"program=$(ls {program}); cp $program {real}; mount --bind {real}.sh $program"

    @contextmanager
    def meanwhile(self, command: str) -> Iterator[None]:
        """Runs a shell command again and again as long as the block lasts."""
        self.says(
            f"systemd-run -q --unit=trial-meanwhile sh -c {quote(f'while :; do {command}; done')}"
        )
        try:
            yield
        finally:
            self.says("systemctl stop trial-meanwhile")

    def live(self) -> str:
        """The processes of the live servers, and every socket that something listens on."""
        return self.says(f"systemctl show -p Id,MainPID,NRestarts {_SERVICES}; {_LISTENING}")

    def clear(self) -> None:
        """As before the first one."""
        self.says("rm -rf /var/lib/trial /run/trial /run/trial-left")

    def dump(self, script: str) -> str:
        """A fresh dump that must go well; its fingerprint."""
        self.clear()
        ran = self.run("dump_it", script)
        assert ran.ok, ran.said
        return self.says("cat /var/lib/trial/saved/proof/fingerprint")

    def restore(self) -> None:
        """What was saved, as it comes back from a repository."""
        self.says("cd /var/lib/trial && rm -rf restored && cp -a saved restored")

    def prove(self, script: str) -> str:
        """A proof of what was restored; what it found."""
        ran = self.run("prove_it", script)
        assert ran.ok, ran.said
        return self.says("cat /var/lib/trial/restored/found")

    def left(self) -> str:
        """What the last call has left and should not have."""
        return self.says("cat /run/trial-left")


def lines(fingerprint: str, *kinds: str) -> list[list[str]]:
    """The fields of its lines of these kinds."""
    found = [line.split("\t") for line in fingerprint.splitlines()]
    return [line for line in found if line[0] in kinds]
