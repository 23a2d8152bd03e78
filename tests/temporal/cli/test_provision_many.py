"""Several servers from one command, and approval by command: this machine under several names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.temporal.cli.support import Shell, Terminal, until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="provisions this machine, as root does")
ROLE = """\
parameters: {folder: string, text: string}
resources:
  - file: "{{ folder }}/{{ vars.inventory_hostname }}"
    content: "{{ text }}\\n"
"""
GONE = "[down]\nthree ansible_host=127.0.0.1 ansible_port=1\n"


@pytest.fixture
def args(ops: Shell) -> list[str]:
    """The spec and the inventory, as the commands take them."""
    (ops.folder / "roles").mkdir()
    (ops.folder / "roles" / "own.yml").write_text(ROLE)
    (ops.folder / "hosts").write_text(
        "[web]\none ansible_connection=local\ntwo ansible_connection=local\n"
    )
    wanted(ops, "hello")
    return [str(ops.folder / "spec.yml"), "--inventory", str(ops.folder / "hosts")]


def wanted(ops: Shell, text: str) -> None:
    (ops.folder / "spec.yml").write_text(
        f"resources:\n  - role: own\n    with: {{folder: {ops.folder}, text: {text}}}\n"
    )


def found(ops: Shell) -> list[str]:
    places = [ops.folder / name for name in ("one", "two")]
    return [place.read_text().strip() if place.exists() else "nothing" for place in places]


def started(ops: Shell) -> list[str]:
    """The workflows that this shell has started."""
    rows = ops("runs", "list", "--by", ops.env["TEMPORAL_STARTED_BY"], "--json").json
    return sorted(str(row["workflow"]) for row in rows)


def test_planned_and_applied_by_one_run_each(ops: Shell, args: list[str]) -> None:
    plan = ops("provision", "plan", *args, "--detailed-exitcode")
    assert plan.status == 2, plan.err
    assert "2 servers differ, 0 are as declared, 0 could not be looked at." in plan.out
    assert found(ops) == ["nothing", "nothing"]
    done = ops("provision", "apply", *args, "--yes")
    assert done.status == 0, done.err
    assert "+hello" in done.out and "2 hosts: 2 changed" in done.out
    assert found(ops) == ["hello", "hello"]
    again = ops("provision", "apply", *args, "--yes", "--json")
    assert again.status == 0 and again.json["report"]["state"]["counts"] == {"unchanged": 2}
    same = ops("provision", "plan", *args, "--detailed-exitcode")
    assert same.status == 0 and "2 hosts: one, two" in same.out, "with the same to say they are one"
    until(
        lambda: started(ops) == ["PlanFleet"] * 2 + ["ProvisionFleet"] * 2,
        lambda: str(started(ops)),
    )


def test_one_that_is_not_reached_keeps_no_other_from_it(ops: Shell, args: list[str]) -> None:
    with (ops.folder / "hosts").open("a") as inventory:
        inventory.write(GONE)
    plan = ops("provision", "plan", *args, "--json")
    assert plan.status == 1 and plan.json["drift"] is True
    assert [server["host"] for server in plan.json["servers"]] == ["one", "two", "three"]
    assert "127.0.0.1" in plan.json["servers"][2]["failure"]
    done = ops("provision", "apply", *args, "--yes", "--json")
    assert done.status == 1, done.err
    assert done.json["report"]["state"]["counts"] == {"unreachable": 1, "changed": 2}
    assert sorted(each["host"] for each in done.json["applied"]) == ["one", "two"]
    assert found(ops) == ["hello", "hello"]


def test_who_says_no_changes_nothing(ops: Shell, args: list[str]) -> None:
    terminal = Terminal(ops, "provision", "apply", *args)
    terminal.shows("Bring these 2 servers to what is declared\\?")
    terminal.press("no\n")
    assert terminal.ends() == 1
    assert "nothing was changed" in terminal.text and found(ops) == ["nothing", "nothing"]


def test_what_changes_while_somebody_thinks_is_asked_again(ops: Shell, args: list[str]) -> None:
    terminal = Terminal(ops, "provision", "apply", *args)
    asked = terminal.shows("Bring these 2 servers to what is declared\\?")
    (ops.folder / "two").write_text("somebody\n")
    terminal.press("yes\n")
    asked = terminal.shows("had changed meanwhile", asked)
    asked = terminal.shows("-somebody", asked)
    terminal.shows("Bring these 1 servers to what is declared\\?", asked)
    assert found(ops) == ["hello", "somebody"]
    terminal.press("yes\n")
    assert terminal.ends() == 0, terminal.text
    assert found(ops) == ["hello", "hello"]


def waiting(ops: Shell, folder: Path) -> str:
    """A run that waits for approval."""
    (folder / "fleet.yml").write_text(
        "inventory: hosts\nlimit: one\nrollout: {approve: plan}\n"
        f"resources:\n  - role: own\n    with: {{folder: {folder}, text: hello}}\n"
    )
    done = ops("run", "ProvisionFleet", "-f", str(folder / "fleet.yml"), "--no-wait", "--json")
    assert done.status == 0, done.err
    run = str(done.json["id"])
    until(
        lambda: ops("runs", "plan", run).status == 0,
        lambda: str(ops("runs", "plan", run)),
    )
    return run


@pytest.mark.usefixtures("args")
def test_approved_by_command(ops: Shell) -> None:
    run = waiting(ops, ops.folder)
    shown = ops("runs", "plan", run, "--json").json
    digest = shown["waiting"]["plan"]
    assert [group["hosts"] for group in shown["groups"]] == [["one"]] and len(digest) == 64
    text = ops("runs", "plan", run).out
    assert "+hello" in text and f"approval of plan {digest[:12]}" in text
    for given, said in (
        ([], "give --plan DIGEST"),
        (["--plan", "abc"], "first 12 hex digits at least"),
        (["--plan", "0123456789ab"], "0123456789ab is gone"),
    ):
        refused = ops("runs", "approve", run, *given)
        assert refused.status == 2 and said in refused.err, refused.err
    assert found(ops) == ["nothing", "nothing"]
    done = ops("runs", "approve", run, "--plan", digest[:12], "--why", "seen", "--json")
    assert done.status == 0 and done.json["by"] == ops.env["TEMPORAL_STARTED_BY"]
    until(lambda: found(ops) == ["hello", "nothing"], lambda: str(found(ops)))
    until(
        lambda: "approved by" in ops("runs", "show", run).out, lambda: ops("runs", "show", run).out
    )
    late = ops("runs", "approve", run, "--plan", digest)
    assert late.status == 2 and "no run" in late.err


@pytest.mark.usefixtures("args")
def test_approved_at_a_terminal(ops: Shell) -> None:
    run = waiting(ops, ops.folder)
    terminal = Terminal(ops, "runs", "approve", run)
    terminal.shows("Approve it\\?")
    terminal.press("no\n")
    assert terminal.ends() == 1 and found(ops) == ["nothing", "nothing"]
    terminal = Terminal(ops, "runs", "approve", run)
    terminal.shows("Approve it\\?")
    terminal.press("yes\n")
    assert terminal.ends() == 0
    until(lambda: found(ops) == ["hello", "nothing"], lambda: str(found(ops)))
