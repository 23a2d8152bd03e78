"""How backups are, as Prometheus metrics of the worker that looked last.

Times are absolute: whether a backup is overdue can be told from them long after anybody looked. Where
several workers look in turn, the one whose `inspected` is the newest is right.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from temporal.shared.metrics import REGISTRY
from temporal.shared.specs.backup.status import STATES, BackupStatus, RepositoryStatus, Row

PREFIX = "temporal_ops_backup_"
_ROW = ("backup", "host", "source")
_OF_ROWS = {
    "newest_timestamp_seconds": "When the newest snapshot was made",
    "oldest_timestamp_seconds": "When the oldest snapshot was made",
    "snapshots": "How many snapshots there are; 0: never backed up",
    "size_bytes": "Bytes in the newest snapshot",
    "rpo_seconds": "No newest snapshot should be older than this",
    "proof_target_seconds": "No last proof should be older than this",
    "proof_timestamp_seconds": "When a restore was last proved",
    "proof_duration_seconds": "How long that restore took: the real RTO",
    "proof_ok": "1: what was last restored was what had been backed up; 0: it was not",
    "protected": "1: recent enough, and proved recently enough; 0: not",
    "known": "1: somebody could look; 0: nobody could, and all else is as it was last seen",
}
_OF_BACKUPS = {
    "inspected_timestamp_seconds": "When it was last looked at",
    "unseen_repositories": "Repositories that nobody could look into",
}
_OF_REPOSITORIES = {
    "repository_check_ok": "1: no part was damaged when it was last checked; 0: some was",
    "repository_check_timestamp_seconds": "When part of it was last checked",
    "repository_size_bytes": "Bytes that it took when it was last pruned",
    "repository_stale_locks": "Locks that nobody works under and that are in the way",
}


@dataclass
class _Backup:
    """One backup: values by row, by repository, and of its own."""

    rows: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    repositories: dict[str, dict[str, float]] = field(default_factory=dict)
    own: dict[str, float] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)


class Metrics(Collector):
    """What is known of all backups in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._backups: dict[str, _Backup] = {}

    def publish(self, status: BackupStatus, rows: Iterable[Row]) -> None:
        """Takes the place of all that was known of that backup. Of a source that nobody could look
        at, what was known stays true."""
        with self._lock:
            before = self._backups.get(status.name, _Backup())
            self._backups[status.name] = _Backup(
                rows={
                    (row.host, row.source): _row(
                        row, status, before.rows.get((row.host, row.source))
                    )
                    for row in rows
                },
                repositories={
                    each.name: _repository(each, before.repositories.get(each.name))
                    for each in status.repositories
                },
                own={
                    "inspected_timestamp_seconds": status.at.timestamp(),
                    "unseen_repositories": sum(bool(each.because) for each in status.repositories),
                },
                states={state: status.counts.get(state, 0) for state in STATES},
            )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See base class."""
        with self._lock:
            backups = dict(self._backups)
        for name, help in _OF_ROWS.items():
            yield _family(
                *(name, help, _ROW),
                [
                    ((backup, *key), values[name])
                    for backup, one in backups.items()
                    for key, values in one.rows.items()
                    if name in values
                ],
            )
        for name, help in _OF_REPOSITORIES.items():
            yield _family(
                *(name, help, ("backup", "repository")),
                [
                    ((backup, url), values[name])
                    for backup, one in backups.items()
                    for url, values in one.repositories.items()
                    if name in values
                ],
            )
        for name, help in _OF_BACKUPS.items():
            of = [((backup,), one.own[name]) for backup, one in backups.items()]
            yield _family(name, help, ("backup",), of)
        yield _family(
            *("sources", "Sources by state", ("backup", "state")),
            [
                ((backup, state), float(count))
                for backup, one in backups.items()
                for state, count in one.states.items()
            ],
        )


def _family(
    name: str, help: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"{PREFIX}{name}", help, labels=labels)
    for values, number in samples:
        made.add_metric(values, number)
    return made


def _row(row: Row, status: BackupStatus, before: dict[str, float] | None) -> dict[str, float]:
    promised = {"rpo_seconds": status.rpo, "proof_target_seconds": status.proof}
    if row.state == "unknown":
        return {**(before or {}), **promised, "known": 0.0}
    found: dict[str, float | None] = {
        **promised,
        "known": 1.0,
        "snapshots": float(row.snapshots),
        "protected": float(row.state == "protected"),
        "newest_timestamp_seconds": _at(row.newest),
        "oldest_timestamp_seconds": _at(row.oldest),
        "size_bytes": row.size,
        "proof_timestamp_seconds": _at(row.proof),
        "proof_duration_seconds": row.took,
        "proof_ok": 0.0 if row.wrong else 1.0 if row.proof else None,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _repository(each: RepositoryStatus, before: dict[str, float] | None) -> dict[str, float]:
    if each.because:
        return before or {}
    found = {
        "repository_check_ok": None if each.checked is None else float(not each.damaged),
        "repository_check_timestamp_seconds": _at(each.checked),
        "repository_size_bytes": each.size,
        "repository_stale_locks": float(len(each.locks)),
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _at(when: datetime | None) -> float | None:
    return when.timestamp() if when else None


METRICS = Metrics()
REGISTRY.register(METRICS)
publish = METRICS.publish
