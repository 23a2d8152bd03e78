"""The alert rules of the examples, by Prometheus's own promtool, over days in a moment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import Lab, Machine, gc, missing

pytestmark = [pytest.mark.lab]
RULES = Path(__file__).parents[3] / "examples" / "backups" / "alerts.yml"
ROW = 'backup="shop",host="web1",source="up",instance="a:1"'
HOUR = 3600


@pytest.fixture(scope="module")
def watcher() -> Iterator[Machine]:
    """A server with promtool."""
    if reasons := missing():
        pytest.skip("no lab on this machine: " + "; ".join(reasons))
    gc()
    name = f"test-alerts-{os.getpid()}-{secrets.token_hex(2)}"
    lab = Lab(name, owner=os.getpid(), packages=["prometheus"])
    try:
        yield lab.up(1)[0]
    finally:
        lab.down()


def series(name: str, values: str, labels: str = ROW) -> dict[str, str]:
    return {"series": f"temporal_ops_backup_{name}{{{labels}}}", "values": values}


OF_BACKUP = 'backup="shop",instance="a:1"'
LOOKED = series("inspected_timestamp_seconds", f"0+900x{4 * 24 * 14}", OF_BACKUP)
"""Every quarter of an hour, for two weeks."""
RPO = series("rpo_seconds", f"{26 * HOUR}x{4 * 24 * 14}")
TARGET = series("proof_target_seconds", f"{7 * 24 * HOUR}x{4 * 24 * 14}")


def case(name: str, given: list[dict[str, str]], alerts: dict[str, str]) -> dict[str, Any]:
    """`alerts`: at which time (`2d`) which alert fires (`BackupWrong`), or `-BackupWrong` does not."""
    asked = []
    for when, alert in alerts.items():
        wanted = alert.removeprefix("-")
        asked.append(
            {
                "expr": f'count(ALERTS{{alertname="{wanted}",alertstate="firing"}}) > 0 or vector(0)',
                "eval_time": when,
                "exp_samples": [{"labels": "{}", "value": 0 if alert.startswith("-") else 1}],
            }
        )
    return {"name": name, "interval": "15m", "input_series": given, "promql_expr_test": asked}


REPO = 'backup="shop",repository="s3:x",instance="a:1"'
CASES = [
    case(
        "a backup that stopped is overdue a day and two hours later, and stays so without a worker",
        [
            series("newest_timestamp_seconds", f"0x{4 * 24 * 14}"),
            RPO,
            LOOKED,
        ],
        {"25h45m": "-BackupOverdue", "26h30m": "BackupOverdue", "9d": "BackupOverdue"},
    ),
    case(
        "one that goes on is not",
        [series("newest_timestamp_seconds", "0+900x1000"), RPO, LOOKED],
        {"9d": "-BackupOverdue"},
    ),
    case(
        "of two workers the one that looked last is right",
        [
            series("newest_timestamp_seconds", "0x1000"),
            series("newest_timestamp_seconds", "0+900x1000", ROW.replace("a:1", "b:1")),
            series("proof_ok", "0x1000"),
            series("proof_ok", "1x1000", ROW.replace("a:1", "b:1")),
            series("snapshots", "0x1000"),
            series("snapshots", "3x1000", ROW.replace("a:1", "b:1")),
            series("inspected_timestamp_seconds", "0x1000", OF_BACKUP),
            series("inspected_timestamp_seconds", "0+900x1000", OF_BACKUP.replace("a:1", "b:1")),
            RPO,
        ],
        {"3d": "-BackupOverdue", "4d": "-BackupWrong", "5d": "-BackupNeverRan"},
    ),
    case(
        "what was never backed up",
        [series("snapshots", "0x1000"), RPO, LOOKED],
        {"15m": "-BackupNeverRan", "2h": "BackupNeverRan"},
    ),
    case(
        "a proof that is too old, or was never there",
        [
            series("proof_timestamp_seconds", "0x1000"),
            series("oldest_timestamp_seconds", "0x1000"),
            TARGET,
            LOOKED,
        ],
        {"6d": "-BackupUnproved", "8d": "BackupUnproved"},
    ),
    case(
        "a new source has time until its first proof",
        [series("oldest_timestamp_seconds", "0x1000"), TARGET, LOOKED],
        {"6d": "-BackupUnproved", "8d": "BackupUnproved"},
    ),
    case(
        "a restore that was wrong, a damaged repository, a lock of the dead",
        [
            series("proof_ok", "1x10 0x500"),
            series("repository_check_ok", "1x10 0x500", REPO),
            series("repository_stale_locks", "0x10 1x500", REPO),
            series("unseen_repositories", "0x10 1x500", OF_BACKUP),
            LOOKED,
        ],
        {
            "2h": "-BackupWrong",
            "2h15m": "-BackupRepositoryDamaged",
            "4h": "BackupWrong",
            "4h15m": "BackupRepositoryDamaged",
            "6h": "BackupRepositoryLocked",
            "6h15m": "BackupUnseen",
        },
    ),
    case(
        "nobody looks any more, though all was well",
        [series("inspected_timestamp_seconds", "0+900x8 _x900", OF_BACKUP)],
        {
            "2h": "-BackupInspectionSilent",
            "4h": "BackupInspectionSilent",
            "6d": "BackupInspectionSilent",
        },
    ),
    case(
        "nobody ever looked", [], {"30m": "-BackupInspectionSilent", "2h": "BackupInspectionSilent"}
    ),
]


def test_each_alert_speaks_when_it_should_and_only_then(watcher: Machine) -> None:
    lab = Lab(watcher.lab)
    tests = {"rule_files": ["alerts.yml"], "evaluation_interval": "15m", "tests": CASES}
    for name, text in (("alerts.yml", RULES.read_text()), ("tests.yml", yaml.safe_dump(tests))):
        lab.exec(watcher, ["sh", "-c", f"cat >/root/{name}"], input=text)
    done = lab.exec(
        watcher,
        [
            "sh",
            "-c",
            "cd /root && promtool check rules alerts.yml && promtool test rules tests.yml",
        ],
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "SUCCESS" in done.stdout
