"""Files of schedules: what they declare, and what is wrong with them, by line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from temporal import config, registry
from temporal.registry import Registry
from temporal.schedules import read
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.drift import DriftSpec


@pytest.fixture(scope="module")
def known() -> Registry:
    return registry.load(config.load({}))


def write(folder: Path, text: str) -> Path:
    file = folder / "schedules.yml"
    file.write_text(text)
    return file


def told(file: Path, known: Registry) -> str:
    with pytest.raises(SpecError) as caught:
        read(file, known)
    return str(caught.value).replace(f"{file.parent}/", "")


def test_inputs_are_what_the_workflows_take(tmp_path: Path, known: Registry) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "motd").write_text("hello {{ inventory_hostname }}\n")
    (tmp_path / "fleet" / "hosts.yml").write_text("hosts: {web1: {address: 192.0.2.1}}\n")
    (tmp_path / "fleet" / "drift.yml").write_text(
        "inventory: hosts.yml\nresources:\n- file: /etc/motd\n  template: motd\n"
    )
    file = write(
        tmp_path,
        """
owner: team-a
schedules:
  nightly:
    workflow: DetectDrift
    file: fleet/drift.yml
    cron: 0 3 * * *
    timezone: Europe/Berlin
  often:
    workflow: TestWorkflow
    input: World
    every: 1h30m
    offset: 5m
    overlap: buffer_one
""",
    )
    found = read(file, known)
    drift, often = found.schedules
    assert found.owner == "team-a"
    assert isinstance(drift.values[0], DriftSpec) and drift.values[0].total == 1
    assert list(drift.values[0].material) == ["motd"], "files beside the spec go with it"
    assert often.values == ["World"] and often.entry.every == timedelta(minutes=90)


HEAD = "owner: team-a\nschedules:\n  one:\n    "


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("schedules: {}\n", "schedules.yml:1: owner: is missing"),
        (
            HEAD + "workflow: TestWorkflov\n    every: 1h\n    input: x\n",
            ":4: schedules.one.workflow",
        ),
        (HEAD + "workflow: TestWorkflow\n    input: x\n", "exactly one of cron and every"),
        (
            HEAD + "workflow: TestWorkflow\n    input: x\n    every: 1h\n    cron: '@daily'\n",
            "exactly one of cron and every",
        ),
        (HEAD + "workflow: TestWorkflow\n    every: 1h\n", ":3: schedules.one: "),
        (HEAD + "workflow: TestWorkflow\n    input: 5\n    every: 1h\n", "schedules.yml:5: "),
        (
            HEAD + "workflow: TestWorkflow\n    input: x\n    cron: 0 25 * * *\n",
            "schedules.yml:6: schedules.one.cron: hour '25' is not within 0 to 23",
        ),
        (
            HEAD + "workflow: TestWorkflow\n    input: x\n    every: 90\n",
            "schedules.yml:6: schedules.one.every: must be a duration with its units",
        ),
        (
            HEAD
            + "workflow: TestWorkflow\n    input: x\n    cron: '@daily'\n    timezone: Mars/X\n",
            "schedules.yml:7: schedules.one.timezone: is no time zone",
        ),
        (
            HEAD + "workflow: TestWorkflow\n    input: x\n    every: 1h\n    jitters: 5m\n",
            "there is no such field; did you mean jitter?",
        ),
        (
            HEAD + "workflow: DetectDrift\n    file: gone.yml\n    every: 1h\n",
            "schedules.yml:5: schedules.one.file: gone.yml: No such file",
        ),
        (
            HEAD + "workflow: PlanServer\n    every: 1h\n    input:\n      host: web1\n"
            "      resources:\n      - package: nginx\n      - packagee: x\n",
            "schedules.yml:10: resources[1]",
        ),
        (HEAD + "workflow: TestWorkflow\n    input: x\n    file: y\n    every: 1h\n", "not both"),
        (HEAD + "workflow: TestWorkflow\n    input: x\n    every: 1h\n    catchup: 1s\n", "10s"),
        (HEAD + "workflow: TestWorkflow\n    input: x\n    every: 1h\n    offset: 2h\n", "shorter"),
        ("owner: a b\nschedules: {}\n", "schedules.yml:1: owner"),
    ],
)
def test_what_is_wrong_is_told_by_line(
    tmp_path: Path, known: Registry, text: str, why: str
) -> None:
    assert why in told(write(tmp_path, text), known)


def test_what_is_wrong_in_a_file_beside_it_is_told_there(tmp_path: Path, known: Registry) -> None:
    (tmp_path / "drift.yml").write_text("hosts: [web1]\nresources:\n- file: /etc/x\n  mod: '1'\n")
    text = HEAD + "workflow: DetectDrift\n    file: drift.yml\n    every: 1h\n"
    assert "drift.yml:4: " in told(write(tmp_path, text), known)


def test_every_finding_is_told(tmp_path: Path, known: Registry) -> None:
    two = "  two:\n    workflow: Nothing\n    every: 1h\n"
    text = HEAD + "workflow: TestWorkflow\n    input: 5\n    every: 1h\n" + two
    said = told(write(tmp_path, text), known)
    assert "schedules.yml:5: " in said and "schedules.yml:8: schedules.two.workflow" in said


def test_a_secret_in_the_place_of_its_reference_is_not_repeated(
    tmp_path: Path, known: Registry
) -> None:
    text = HEAD + (
        "workflow: DetectDrift\n    every: 1h\n    input:\n      hosts: [web1]\n"
        "      resources: [{package: nginx}]\n      notify: slack://hunter2hunter2\n"
    )
    said = told(write(tmp_path, text), known)
    assert "schedules.yml:9: " in said and "hunter2" not in said
