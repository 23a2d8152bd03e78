"""The results for people: a table in markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.fleet.trial import Trial

EVENTS, BYTES = 51_200, 50 * 1024 * 1024
"""Where the server ends a run (Temporal's `limit.historyCount.error`, `limit.historySize.error`)."""
ACTIONS = 1.1
"""Temporal actions a host, at most; of small fleets the start of the workflow weighs more."""
FLAT = 1.5
"""Times the worker's memory with a tenth of the hosts, at most."""

_ABOUT = """\
`make bench-fleet`: `temporal-ops run ProvisionFleet` over addresses of the loopback network of one
lab server, all answered by its one sshd, each a host with a connection and a line in known_hosts of
its own. The spec (a package, a file) holds already, so each host is asked once and nothing is
changed. One worker and one Temporal server, the embedded one's program with its settings, both fresh
for each size; the rollout as it is by default: a canary, then waves of a quarter, 50 hosts at a
time. CPU is by process: that of the hosts is everything on the lab server, sshd's key exchange
for the most part. Seconds are by the clock, with the load that the machine had; a history is one run
of the chain in which a fleet goes on as new.
"""


def line(trial: Trial) -> str:
    """One trial in a line, for whoever waits."""
    return (
        f"{trial.hosts:>6} hosts: {trial.seconds:.1f} s, {len(trial.runs)} runs, longest history"
        f" {trial.longest} events, {trial.actions:.3f} actions a host, worker"
        f" {trial.peak['worker']:.0f} MiB, {trial.connections} connections"
    )


def markdown(trials: Sequence[Trial], about: str) -> str:
    """The section of docs/benchmarks.md."""
    rows = [
        ("hosts", [f"{trial.hosts:,}" for trial in trials]),
        ("runs in the chain", [str(len(trial.runs)) for trial in trials]),
        ("longest history, events", [f"{trial.longest:,}" for trial in trials]),
        ("largest history, KiB", [f"{trial.largest / 1024:,.0f}" for trial in trials]),
        ("Temporal actions a host", [f"{trial.actions:.3f}" for trial in trials]),
        ("worker, most MiB resident", [f"{trial.peak['worker']:.0f}" for trial in trials]),
        ("command, most MiB resident", [f"{trial.peak['command']:.0f}" for trial in trials]),
        ("Temporal server, most MiB", [f"{trial.peak['temporal']:.0f}" for trial in trials]),
        ("most ssh connections at a time", [str(trial.connections) for trial in trials]),
        ("worker's open files, most", [str(trial.files) for trial in trials]),
        ("CPU ms a host: worker", [_each(trial, "worker") for trial in trials]),
        ("CPU ms a host: Temporal server", [_each(trial, "temporal") for trial in trials]),
        ("CPU ms a host: command", [_each(trial, "command") for trial in trials]),
        ("CPU ms a host: the host", [_each(trial, "hosts") for trial in trials]),
        ("whole command, s", [f"{trial.seconds:.1f}" for trial in trials]),
        (
            "ms a host, by the clock",
            [f"{trial.seconds / trial.hosts * 1000:.0f}" for trial in trials],
        ),
        ("load before, after", ["{:.1f}, {:.1f}".format(*trial.load) for trial in trials]),
        ("measured", [trial.date for trial in trials]),
    ]
    (head, sizes), *body = rows
    lines = ["## Fleets", "", _ABOUT, f"Machine: {about}.", ""]
    lines += [f"| {head} | {' | '.join(sizes)} |", f"| --- |{' ---: |' * len(trials)}"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in body]
    return "\n".join([*lines, "", *(f"- {each}" for each in verdicts(trials)), ""])


def _each(trial: Trial, who: str) -> str:
    return f"{trial.cpu[who] / trial.hosts * 1000:.1f}"


def verdicts(trials: Sequence[Trial]) -> list[str]:
    """What has a bound, and whether it is kept."""
    largest = trials[-1]
    events = max(trial.longest for trial in trials)
    size = max(trial.largest for trial in trials)
    found = [
        f"longest history {events:,} events (limit {EVENTS:,}): {_kept(events < EVENTS)}",
        f"largest history {size / 2**20:.1f} MiB (limit 50): {_kept(size < BYTES)}",
        f"{largest.actions:.3f} Temporal actions a host with {largest.hosts:,} (at most {ACTIONS}): "
        + _kept(largest.actions <= ACTIONS),
    ]
    for less, more in pairwise(trials):
        if more.hosts >= 1000:
            ratio = more.peak["worker"] / less.peak["worker"]
            found.append(
                f"worker's memory with {more.hosts:,} hosts {ratio:.2f} times that with"
                f" {less.hosts:,} (at most {FLAT:g}): {_kept(ratio <= FLAT)}"
            )
    return found


def _kept(kept: bool) -> str:
    return "kept" if kept else "MISSED"
