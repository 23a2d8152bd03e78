"""`temporal-ops schedule` as a person runs it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.temporal.cli.support import Shell


@pytest.fixture
def name(ops: Shell) -> Iterator[str]:
    """A schedule's name; at the end there is none of it."""
    made = f"cli-{uuid.uuid4().hex[:6]}"
    yield made
    (ops.folder / "schedules.yml").write_text(f"owner: {made}\nschedules: {{}}\n")
    assert ops("schedule", "apply", "--yes").status == 0


def declare(ops: Shell, name: str, greeting: str = "World") -> None:
    (ops.folder / "schedules.yml").write_text(
        f"owner: {name}\nschedules:\n  {name}:\n    workflow: TestWorkflow\n"
        f"    input: {greeting}\n    cron: 0 3 * * *\n"
    )


def test_planned_applied_and_listed(ops: Shell, name: str) -> None:
    declare(ops, name)
    planned = ops("schedule", "plan", "--detailed-exitcode")
    assert planned.status == 2 and f"  + {name}\n" in planned.out
    assert "Plan: 1 to create, 0 to change, 0 to remove" in planned.out
    refused = ops("schedule", "apply")
    assert refused.status == 2 and "give --yes" in refused.err
    done = ops("schedule", "apply", "--yes", "--json")
    assert done.status == 0
    assert done.json["applied"] == [{"name": name, "kind": "create", "failure": ""}]
    again = ops("schedule", "plan", "--detailed-exitcode", "--json")
    assert again.status == 0 and not again.json["changes"]
    declare(ops, name, "Moon")
    changed = ops("schedule", "plan")
    assert changed.status == 0, "without --detailed-exitcode a difference is no failure"
    assert f"  ~ {name}\n" in changed.out
    assert "      -- World\n      +- Moon\n" in changed.out


def test_paused_triggered_and_unpaused(ops: Shell, name: str) -> None:
    declare(ops, name)
    assert ops("schedule", "apply", "--yes").status == 0
    paused = ops("schedule", "pause", name, "--why", "lunch")
    assert paused.status == 0 and f"{name} is paused, by " in paused.err
    [listed] = [each for each in ops("schedule", "list", "--json").json if each["name"] == name]
    assert listed["paused"] and listed["note"].endswith(": lunch") and listed["owner"] == name
    assert ops("schedule", "unpause", name).status == 0
    assert name in ops("schedule", "list").out
    triggered = ops("schedule", "trigger", name)
    assert triggered.status == 0 and f"runs list --by schedule:{name}" in triggered.err


def test_what_is_wrong_is_said_before_anything_starts(ops: Shell, name: str) -> None:
    declare(ops, name)
    file = ops.folder / "schedules.yml"
    file.write_text(file.read_text().replace("TestWorkflow", "TestWorkflov"))
    said = ops("schedule", "apply", "--yes")
    assert said.status == 2
    assert "schedules.yml:4: " in said.err and "Did you mean TestWorkflow" in said.err
    assert ops("schedule", "plan", "--detailed-exitcode").status == 1
    gone = ops("schedule", "trigger", "nobody")
    assert gone.status == 2 and "no schedule 'nobody'" in gone.err


def test_one_of_somebody_else_is_not_taken(ops: Shell, name: str) -> None:
    declare(ops, name)
    assert ops("schedule", "apply", "--yes").status == 0
    file = ops.folder / "other.yml"
    text = (ops.folder / "schedules.yml").read_text()
    file.write_text(text.replace(f"owner: {name}", "owner: somebody"))
    refused = ops("schedule", "apply", "other.yml", "--yes")
    assert refused.status == 2 and "nothing was changed" in refused.err
    assert f"{name}'s; --adopt takes it over" in refused.out
