"""`limit` in the file of a fleet: the same words, and never more hosts than were meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from temporal.shared.errors import SpecError
from temporal.shared.specs import reading
from temporal.shared.specs.automation.command import CommandSpec

HOSTS = """\
groups:
  web: {hosts: ["web[1:3]"], tags: [tls]}
  db: {hosts: [db1]}
"""


def read(folder: Path, text: str) -> CommandSpec:
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "spec.yml").write_text(text)
    return reading.read(folder / "spec.yml", CommandSpec)


def names(spec: CommandSpec) -> list[str]:
    return [member.host.name for member in spec.members(0, spec.total)]


def test_the_words_of_a_limit(tmp_path: Path) -> None:
    head = "inventory: hosts.yml\ncommand: 'true'\n"
    assert names(read(tmp_path, head)) == ["web1", "web2", "web3", "db1"]
    assert names(read(tmp_path, f"{head}limit: tag:tls,!web2\n")) == ["web1", "web3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inventory: hosts.yml\nlimit:\n", r"spec.yml:2: limit: says nothing"),
        ("inventory: hosts.yml\nlimit: ''\n", r"spec.yml:2: limit: .*is empty"),
        ("inventory: hosts.yml\nlimit: 3\n", r"spec.yml:2: limit: .*must be a text"),
        ("inventory: hosts.yml\nlimit: wbe\n", r"spec.yml:2: limit: .*did you mean web"),
        ("hosts: [a, b]\nlimit: a\n", r"spec.yml:2: limit: chooses hosts of an inventory"),
        ("hosts: [a, root@a]\n", r"the same host stands there twice"),
    ],
)
def test_a_limit_that_would_be_a_surprise_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read(tmp_path, f"{text}command: 'true'\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("argv: [a]\ncommand: b\n", "exactly one of command and argv"),
        ("{}", "exactly one of command and argv"),
        ("command: ' '\n", "the command is empty"),
        ("command: a\nsecrets_environment: {A: hunter2}\n", "must be a secret reference"),
        ("command: a\nenvironment: {A-B: x}\n", "'A-B' is no name of a variable"),
        ("command: a\ntimeout: 90000\n", "timeout: .*43200"),
        ("command: a\nenvironment: {A: x}\nsecrets_environment: {A: env://A}\n", "A is in env"),
    ],
)
def test_commands_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as error:
        read(tmp_path, "hosts: [a]\n" + ("" if text == "{}" else text))
    assert "hunter2" not in str(error.value)


def test_all_at_once_and_on_all_of_them_unless_told_otherwise(tmp_path: Path) -> None:
    spec = read(tmp_path, "hosts: [a, b, c]\nargv: [echo, 'a b']\n")
    assert spec.rollout.waves(3) == [(0, 3)] and spec.each.text == "echo 'a b'"
    spec = read(tmp_path, "hosts: [a, b, c]\ncommand: x\nrollout: {canary: 1}\n")
    assert spec.rollout.waves(3) == [(0, 1), (1, 3)] and spec.rollout.max_failures == "100%"
