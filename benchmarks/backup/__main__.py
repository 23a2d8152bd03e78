"""`python -m benchmarks.backup`: a backup through Temporal against restic alone, in turn, on one server.

Writes docs/bench/backup.json and the section "Backup" of docs/benchmarks.md. Exit status 1 if a bound is
missed. As root: it needs a lab server.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.backup.place import Place, Took, place
from benchmarks.figures import Figure, document
from benchmarks.page import into

FOLDERS, FILES, SIZE = 100, 100, 107_375
"""1 GiB in 10,000 files."""
ALONE, OURS, PLAIN = "/srv/alone", "/srv/ours", "/srv/plain"
FLAT = 1.05
"""Times the worker's memory with one file, at most."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backup", description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--sizes", default="1,10000,100000", help="files, for the worker's memory")
    parser.add_argument("--folder", type=Path, default=Path("docs/bench"))
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    with place(chosen.release) as there:
        figures = speed(there, chosen.turns)
        figures += memory(there, [int(each) for each in chosen.sizes.split(",") if each])
    value = document(figures) | {"release": chosen.release, "load_before": load}
    chosen.folder.mkdir(parents=True, exist_ok=True)
    (chosen.folder / "backup.json").write_text(json.dumps(value, indent=1) + "\n")
    into(chosen.page, "backup", markdown(figures, str(value["machine"]), chosen.release, load))
    for figure in figures:
        print("  ".join(each for each in figure.row() if each))
    return 0 if all(figure.kept for figure in figures) else 1


def speed(there: Place, turns: int) -> list[Figure]:
    """First and unchanged backups, each in turn."""
    there.fill(FOLDERS, FILES, SIZE)
    took: dict[tuple[str, str], list[Took]] = {}
    with there.up():
        there.fresh(OURS)
        there.ours(OURS)  # what is loaded or made once
        there.fresh(ALONE)
        there.bare(ALONE)
        for turn in range(turns):
            for who, repository in (("alone", ALONE), ("ours", OURS), ("plain", PLAIN)):
                there.fresh(repository)
                for phase in ("first", "unchanged"):
                    if who == "alone":
                        found = there.bare(repository)
                    else:
                        found = there.ours(repository, manifest=who == "ours")
                    took.setdefault((phase, who), []).append(found)
                    say(f"turn {turn + 1}, {phase:9} {who:6} {found.command:.3f} {found.run:.3f} s")
    return _figures(took)


def _figures(took: dict[tuple[str, str], list[Took]]) -> list[Figure]:
    figures = []
    for phase in ("first", "unchanged"):
        alone, ours, plain = (took[phase, who] for who in ("alone", "ours", "plain"))
        figures += [
            Figure(f"{phase}: restic alone", "s", tuple(each.command for each in alone)),
            Figure(f"{phase}: whole command", "s", tuple(each.command for each in ours)),
            Figure(f"{phase}: run", "s", tuple(each.run for each in ours)),
            Figure(f"{phase}: run without manifest", "s", tuple(each.run for each in plain)),
            Figure(
                f"{phase}: run / restic alone",
                "",
                tuple(a.run / b.command for a, b in zip(ours, alone, strict=True)),
                bound=1.05,
            ),
            Figure(
                f"{phase}: run without manifest / restic alone",
                "",
                tuple(a.run / b.command for a, b in zip(plain, alone, strict=True)),
                bound=1.05,
            ),
            Figure(
                f"{phase}: run / run without manifest",
                "",
                tuple(a.run / b.run for a, b in zip(ours, plain, strict=True)),
                bound=1.1,
            ),
        ]
    return figures


def memory(there: Place, sizes: list[int]) -> list[Figure]:
    """The worker's memory by the number of files."""
    figures: list[Figure] = []
    for size in sizes:
        folders = max(1, size // 1000)
        there.fill(folders, size // folders, 64)
        there.fresh(OURS)
        with there.up():
            there.ours(OURS)
            there.ours(OURS)
            most = there.worker_peak()
        say(f"{size:>7} files: worker {most:.0f} MiB")
        bound = round(figures[0].value * FLAT, 1) if figures else None
        name = f"worker, {size:,} file{'' if size == 1 else 's'}"
        figures.append(Figure(name, "MiB", (most,), bound=bound))
    return figures


_ABOUT = """\
`make bench-backup`: 1 GiB in 10,000 files on one lab server ({release}), each turn with fresh
repositories on that server, restic alone and ours in turn. restic alone is `restic backup` there, by the
server's clock; ours is `temporal-ops run BackUp` from this machine beside a running `temporal-ops up`:
the whole command by the clock, and the run from its start to its end as Temporal has them, with
`nice: false`, as restic alone runs. Memory is the most that the worker had resident, in a worker of
its own for each number of files, over a first and an unchanged backup.
"""


def markdown(figures: list[Figure], machine: str, release: str, load: float) -> str:
    """The section of docs/benchmarks.md."""
    date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    lines = ["## Backup", "", _ABOUT.format(release=release).rstrip(), ""]
    lines += [f"Machine: {machine}; {date}, load {load:.1f} before it began.", ""]
    lines += ["| figure | median (spread) | bound | |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(figure.row())} |" for figure in figures]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
