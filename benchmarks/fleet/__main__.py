"""`python -m benchmarks.fleet`: what a fleet costs as it grows. As root: it needs a lab server.

Writes fleet.json, and its part of the page. Exit status 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import machine
from benchmarks.fleet import show
from benchmarks.fleet.place import place
from benchmarks.fleet.trial import Trial, measure
from benchmarks.page import into


def main() -> int:
    """Measure, one size after the other, the smallest first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--hosts", default="100,1000,10000", help="default: 100,1000,10000")
    parser.add_argument(
        "--ask-anew",
        type=int,
        default=0,
        metavar="EVENTS",
        help="the server asks a run to go on as new after so many; default: its own",
    )
    parser.add_argument("--folder", type=Path, default=Path("docs/bench"))
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--json", action="store_true", help="print JSON and write nothing")
    chosen = parser.parse_args()
    trials = []
    with place() as there:
        for hosts in sorted(int(each) for each in chosen.hosts.split(",")):
            trial = measure(there, hosts, chosen.ask_anew)
            trials.append(trial)
            print(show.line(trial), file=sys.stderr, flush=True)
            if not chosen.json:
                trials = write(chosen.folder / "fleet.json", chosen.page, trials)
    if chosen.json:
        print(json.dumps([asdict(trial) for trial in trials]))
    return 1 if any("MISSED" in line for line in show.verdicts(trials)) else 0


def write(file: Path, page: Path, new: list[Trial]) -> list[Trial]:
    """Keeps the trials of other sizes that stand there."""
    old = (
        [Trial(**each) for each in json.loads(file.read_text())["trials"]] if file.exists() else []
    )
    by_size = {trial.hosts: trial for trial in [*old, *new]}
    trials = [by_size[hosts] for hosts in sorted(by_size)]
    about = machine()
    file.parent.mkdir(parents=True, exist_ok=True)
    value = {"machine": about, "trials": [asdict(trial) for trial in trials]}
    file.write_text(json.dumps(value, indent=1) + "\n")
    into(page, "fleet", show.markdown(trials, about))
    return trials


if __name__ == "__main__":
    sys.exit(main())
