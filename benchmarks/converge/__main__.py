"""`python -m benchmarks.converge`: converge against pyinfra and Ansible, on the same lab servers.

Prints as it goes; writes docs/bench/converge.json and .png and the section "converge" of
docs/benchmarks.md. What is not measured in a call (--hosts, --rtt) stays as it was measured before,
each part with its own date. Exit status 1 if a bound is missed, 2 if the comparison is void.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.converge import contest, peers, results, show, site
from benchmarks.converge.contest import ANSIBLE, CLI, EVERYBODY, LIBRARY, LIMIT, PYINFRA, Field
from benchmarks.converge.results import CHANGE, FIRST, NONE, PHASES, Cell, Sheet
from benchmarks.figures import machine
from benchmarks.page import into
from lab import Lab, Machine, gc
from temporal.places import default_state_dir


def say(text: str) -> None:
    print(text, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.converge", description=__doc__)

    def numbers(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    add = parser.add_argument
    add("--hosts", type=numbers, default=[1, 10, 48], help="how many, as in 1,10,48")
    add("--rtt", type=numbers, default=[0, 50], help="round trips in milliseconds, as in 0,50")
    add("--peers", type=words, default=[PYINFRA, ANSIBLE], help="of pyinfra,ansible")
    add("--phases", type=words, default=list(PHASES), help=f"of {','.join(PHASES)}")
    add("--turns", type=int, default=5, help="of a change and of none")
    add("--first-turns", type=int, default=3, help="of a first apply: each needs fresh servers")
    add("--budget", type=float, default=300, help="seconds after which a cell gets no more turns")
    add("--more", action="store_true", help="the turns join those that were measured before")
    add("--folder", type=Path, default=Path("docs/bench"))
    add("--page", type=Path, default=Path("docs/benchmarks.md"))
    return parser.parse_args()


def main() -> int:
    """Measure, show, judge."""
    chosen = arguments()
    known = {PYINFRA, ANSIBLE}
    if set(chosen.peers) - known or set(chosen.phases) - set(PHASES):
        raise SystemExit(f"--peers: of {sorted(known)}; --phases: of {list(PHASES)}")
    bin = peers.install(Path(default_state_dir()))
    gc()
    packages = site.IN_THE_IMAGE
    lab = Lab(f"bench-converge-{os.getpid()}", owner=os.getpid(), packages=packages)
    sheets = []
    try:
        _fill_the_cache(lab)
        for rtt in chosen.rtt:
            for hosts in chosen.hosts:
                sheets.append(_sheet(lab, bin, hosts, rtt / 1000, chosen))
    except contest.Void as problem:
        say(f"VOID: {problem}")
        return 2
    finally:
        lab.down()
    return _write(sheets, bin, chosen)


def _fill_the_cache(lab: Lab) -> None:
    """Every server finds the packages downloaded: the mirror's mood is not what is measured."""
    (one,) = lab.add(1)
    words = ["apt-get", "install", "-y", "-q", "--download-only", *site.PACKAGES]
    done = lab.exec(one, words, timeout=600)
    if done.returncode != 0:
        raise contest.Void(f"the packages cannot be downloaded: {done.stderr}{done.stdout}")
    lab.down([one.name])


@contextlib.contextmanager
def _servers(lab: Lab, bin: Path, hosts: int, rtt: float, value: str) -> Iterator[Field]:
    """Fresh servers, seen from `rtt` seconds away."""
    # Short: ssh's control sockets have to fit into 108 characters.
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    machines = lab.up(hosts)
    try:
        with contextlib.ExitStack() as stack:
            seen: Sequence[Machine] = machines
            if rtt:
                seen = stack.enter_context(lab.relay(machines, rtt=rtt))
            field = Field(lab, machines, folder, bin, seen=seen)
            field.write(value)
            yield field
    finally:
        peers.end_masters(folder)
        lab.down([one.name for one in machines])
        shutil.rmtree(folder, ignore_errors=True)


def _sheet(lab: Lab, bin: Path, hosts: int, rtt: float, chosen: argparse.Namespace) -> Sheet:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    sheet = Sheet(hosts, rtt, date, os.getloadavg()[0])
    say(f"== {hosts} hosts, {rtt * 1000:g} ms; load {sheet.load:.1f}")
    everybody = [who for who in EVERYBODY if who in (CLI, LIBRARY, *chosen.peers)]
    looks: dict[str, list[str]] = {}
    if FIRST in chosen.phases:
        for _ in range(chosen.first_turns):
            for who in everybody:
                cell = sheet.add(who, FIRST)
                if not _more(cell, chosen.first_turns, chosen.budget):
                    continue
                with _servers(lab, bin, hosts, rtt, "first") as field, _at_work(field, who, sheet):
                    _measure(field, cell)
                    looks[who] = field.look()
                    contest.alike(looks)
        say("   all servers are alike")
    if {CHANGE, NONE} & set(chosen.phases):
        _in_turn(lab, bin, sheet, everybody, chosen)
    sheet.load_after = os.getloadavg()[0]
    for line in results.verdicts(sheet):
        say(f"   {line}")
    return sheet


def _in_turn(
    lab: Lab, bin: Path, sheet: Sheet, everybody: list[str], chosen: argparse.Namespace
) -> None:
    """On the same servers, each in turn: a change, then none."""
    with _servers(lab, bin, sheet.hosts, sheet.rtt, "begin") as field:
        field.turn(LIBRARY)
        with _at_work(field, CLI, sheet):
            for who in everybody:
                field.turn(who)  # Python's caches there, and whatever else is made once
            for turn in range(chosen.turns):
                looks: dict[str, list[str]] = {}
                for who in everybody:
                    change, none = sheet.add(who, CHANGE), sheet.add(who, NONE)
                    value = f"turn {turn} of {who}"
                    if CHANGE in chosen.phases and _more(change, chosen.turns, chosen.budget):
                        field.write(value)
                        _measure(field, change)
                        if any(one.count(value) != 1 for one in field.look_at_change()):
                            raise contest.Void(f"{who} did not change every server")
                    if NONE in chosen.phases and _more(none, chosen.turns, chosen.budget):
                        _measure(field, none)
                    looks[who] = field.look()
                contest.alike(looks)
                if NONE in chosen.phases:
                    _measure(field, sheet.add(LIMIT, NONE))


@contextlib.contextmanager
def _at_work(field: Field, who: str, sheet: Sheet) -> Iterator[None]:
    """With a worker, if `who` needs one."""
    if who != CLI:
        yield
        return
    with contest.worker(field) as pid:
        yield
        sheet.memory = max(sheet.memory or 0.0, contest.peak_mib(pid))


def _more(cell: Cell, turns: int, budget: float) -> bool:
    return len(cell.seconds) < turns and (not cell.seconds or sum(cell.seconds) < budget)


def _measure(field: Field, cell: Cell) -> None:
    turn = field.turn(cell.who)
    cell.seconds.append(turn.seconds)
    cell.cpu_here.append(turn.cpu_here)
    cell.cpu_servers.append(turn.cpu_servers)
    say(f"   {cell.phase:12} {cell.who:14} {turn.seconds:8.2f} s")


def _write(new: list[Sheet], bin: Path, chosen: argparse.Namespace) -> int:
    file = chosen.folder / "converge.json"
    old = json.loads(file.read_text())["sheets"] if file.exists() else []
    sheets = results.merged(map(Sheet.of, old), new, more=chosen.more)
    about = f"{machine()}; {peers.versions(bin)}"
    value = {"machine": about, "resources": site.count(), "sheets": [asdict(s) for s in sheets]}
    chosen.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n")
    show.draw(sheets, about, chosen.folder / "converge.png")
    picture = os.path.relpath(chosen.folder / "converge.png", chosen.page.parent)
    into(chosen.page, "converge", show.markdown(sheets, _heading(about), picture))
    missed = [line for sheet in new for line in results.verdicts(sheet) if "MISSED" in line]
    return 1 if missed else 0


def _heading(about: str) -> list[str]:
    return [
        f"`make bench-converge`: {site.count()} resources, the baseline of a web server (packages,",
        "users with keys, files, services), the same for everybody, on the same lab servers in the",
        "same run. Each is a whole command by the clock. Ansible with pipelining, a fork a host, no",
        "fact gathering and ControlPersist (its connections of the command before are still open, as",
        "are those of our worker; pyinfra and our library connect anew each time). Packages are",
        "downloaded before, and Python is on the servers before, for everybody. With one host",
        "temporal-ops is `temporal-ops run ProvisionServer`; with more, `temporal-ops run",
        "ProvisionFleet` with all hosts in one wave; both beside a running `temporal-ops up`, which",
        "answers commands from a process that has loaded them. After each round every server is",
        "looked at, and the comparison is void unless all are alike.",
        "",
        f"Machine: {about}.",
    ]


if __name__ == "__main__":
    sys.exit(main())
