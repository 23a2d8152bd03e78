"""What lynis, Debian's auditing tool, says of a server before and after the role `baseline`.

`make lynis` shows the report; the figures of docs/roles.md come from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import lab
from converge import apply, plan
from converge.roles import expand
from lab import Machine
from tests.converge.servers import host_of, on

pytestmark = [
    pytest.mark.lab,
    pytest.mark.soak,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]

from lab.testing import fresh_lab, machine  # noqa: E402, F401

SPEC = Path(__file__).parents[2] / "examples/servers/baseline.yml"
# As measured (73 and 74), less 3.
FLOOR = {"bookworm": 70, "trixie": 71}

# Each suggestion that may be left, and why baseline does not follow it. What is not here must go.
CONTAINER = "a lab server is a container: "
LEFT = {
    "KRNL-5788": CONTAINER + "it has no kernel of its own",
    "KRNL-6000": CONTAINER + "kernel parameters are the machine's; baseline sets them elsewhere",
    "NETW-3200": CONTAINER + "it cannot load modules; baseline blocks these elsewhere",
    "STRG-1846": CONTAINER + "it cannot load modules; baseline blocks these elsewhere",
    "BOOT-5180": CONTAINER + "it has no runlevel that lynis could read",
    "NAME-4028": CONTAINER + "it has no domain",
    "FILE-6310": "partitions are laid out at the installation",
    "USB-1000": "the root file system may be on USB; add usb_storage to blocked_modules",
    "LYNIS": "the age of Debian's lynis",
    "DEB-0280": "programs that share files in /tmp break with it",
    "DEB-0810": "it stops unattended updates, to ask",
    "DEB-0811": "somebody would have to read it at each update",
    "DEB-0880": "no password opens sshd, so guessing is in vain",
    "BOOT-5264": "each service's own matter; app_host hardens its unit",
    "AUTH-9262": "people log in by key",
    "AUTH-9284": "an account without a password counts as locked; it is used by key",
    "AUTH-9286": "passwords that expire get worse (NIST SP 800-63B); set by `login`",
    "PKGS-7370": "apt checks signatures; who is root can change the checksums as well",
    "PKGS-7394": "apt list --upgradable says the same",
    "SSH-7408 MaxSessions": "our own runs, like Ansible's, share one connection",
    "SSH-7408 Port": "another port hides nothing; set by ssh_port",
    "LOGG-2154": "where logs go is decided for a fleet, not by a server",
    "ACCT-9622": "a log of all processes has its price; a choice",
    "ACCT-9626": "monitoring measures",
    "ACCT-9628": "auditd is of no use without rules and a reader; a choice",
    "FINT-4350": "of no use without somebody who reads it; a choice",
    "TOOL-5002": "lynis does not know us",
    "FILE-7524": "Debian's own modes; nothing in those files is secret",
    "HRDN-7222": "needrestart needs binutils, whose assembler counts as a compiler",
    "HRDN-7230": "malware scanners look for what servers of ours are not given; a choice",
}


@dataclass(frozen=True)
class Audit:
    """/var/log/lynis-report.dat: its index, and the tests that warn or suggest."""

    index: int
    version: str
    warnings: tuple[str, ...]
    suggestions: tuple[str, ...]

    @staticmethod
    def of(text: str) -> Audit:
        values = [line.partition("=")[::2] for line in text.splitlines() if "=" in line]

        def said(kind: str) -> tuple[str, ...]:
            found = [value.split("|") for name, value in values if name == f"{kind}[]"]
            # One test for all of sshd's settings: which one is in the third part.
            return tuple(
                f"{parts[0]} {parts[2].split()[0]}" if parts[0] == "SSH-7408" else parts[0]
                for parts in found
            )

        known = dict(values)
        return Audit(
            int(known["hardening_index"]),
            known["lynis_version"],
            said("warning"),
            said("suggestion"),
        )


def audit(server: Machine) -> Audit:
    on(
        server,
        "rm -f /var/log/lynis-report.dat && lynis audit system --quick --no-colors",
    )
    return Audit.of(on(server, "cat /var/log/lynis-report.dat"))


def report(release: str, before: Audit, after: Audit) -> str:
    gone = sorted(set(before.suggestions) - set(after.suggestions))
    lines = [
        f"{release}, lynis {after.version}: hardening index {before.index} -> {after.index}",
        f"  warnings {len(before.warnings)} -> {len(after.warnings)}"
        f", suggestions {len(before.suggestions)} -> {len(after.suggestions)}",
        f"  gone: {', '.join(gone)}",
        *(f"  warning left: {name}" for name in after.warnings),
        *(f"  left: {n:22}{LEFT.get(n, '???')}" for n in sorted(set(after.suggestions))),
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
async def test_baseline_passes_lynis(release: str, machine) -> None:  # noqa: F811
    server = machine(release)
    on(
        server,
        "apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
        " apt-get install -y -qq --no-install-recommends lynis",
    )
    before = audit(server)

    wanted, _ = expand(yaml.safe_load(SPEC.read_text())["resources"], SPEC.parent)
    done = await apply(host_of(server), wanted)
    assert done.ok, done.render()
    left = await plan(host_of(server), wanted)
    assert left.empty, left.render()

    after = audit(server)
    shown = report(release, before, after)
    print(shown)
    assert after.warnings == (), shown
    assert after.index > before.index and after.index >= FLOOR[release], shown
    assert set(after.suggestions) <= set(LEFT), shown
    # What it promises, beside what lynis thinks of it.
    assert on(server, "stat -c %a /home/ann") == "700"
    assert on(server, "su -l ann -c umask") in ("0027", "0007")
    on(server, "useradd somebody && echo somebody:secret | chpasswd")
    assert on(server, "getent shadow somebody | cut -d: -f2").startswith("$y$")
    assert on(server, "su -l ann -c 'ulimit -Hc'") == "0"
