"""Who is told, as a spec says it; and which parts of a target's URL are secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from temporal.activities.automation.notices import tokens
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.notices import MOST_BODY, Notice, Notify
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.reading import parse

SPEC = "hosts: [web1]\nresources:\n  - file: /etc/motd\n    content: x\n"
NOTIFY: TypeAdapter[Notify] = TypeAdapter(Notify)


def test_the_short_forms() -> None:
    one = NOTIFY.validate_python("env://OPS")
    assert one.targets == ("env://OPS",) and one.on == ("failed", "waiting", "recovered")
    assert NOTIFY.validate_python(["env://OPS"]) == one
    two = NOTIFY.validate_python({"targets": ["env://A", "file:///b"], "on": ["finished"]})
    assert two.targets == ("env://A", "file:///b")
    assert NOTIFY.validate_json(two.model_dump_json()) == two


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("notify: slack://hunter22/b/c", "fleet.yml:5: notify.*must be a secret reference"),
        ("notify: [env://A, hunter22]", "fleet.yml:5: notify.*must be a secret reference"),
        ("notify: {targets: [env://A, env://A]}", "fleet.yml:5: notify.targets: the same target"),
        ("notify: {targets: []}", "fleet.yml:5: notify.targets: .*at least 1"),
        ("notify: {targets: [env://A], on: [sometimes]}", r"notify.on\[0\]: .*'failed'"),
        ("notify: {targets: [env://A], when: failed}", "notify.when: there is no such field"),
    ],
)
def test_refused_at_reading(line: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as refused:
        parse(f"{SPEC}{line}\n", FleetSpec, "fleet.yml", folder=Path())
    assert "hunter22" not in str(refused.value)


def test_a_notice_is_one_line_and_no_novel() -> None:
    made = Notice(targets=("env://A",), title="a\nb\r\n c" + "x" * 300, body="y" * 5000)
    assert made.title.startswith("a b c") and len(made.title) == 200
    assert len(made.body) == MOST_BODY and made.body.endswith("…")


def test_nobody_is_told_what_they_did_not_ask_for() -> None:
    wanted = Notify(targets=("env://A",), on=("failed",))
    assert wanted.notice("recovered", "t", "b") is None
    made = wanted.notice("failed", "t", "b")
    assert made is not None and made.kind == "failure" and made.targets == ("env://A",)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl/#general", {"T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnl"}),
        ("mailtos://ops:hunter@mail.example.org:587/?to=a@example.org", {"hunter"}),
        ("json://ops:p%40ss@127.0.0.1:80/hook", {"p%40ss", "p@ss"}),
        ("json://example.org/services/hooks?+X-Key=abc&method=POST", {"abc"}),
        ("tgram://123456789:AbcDef_gh/12315544/", {"123456789", "AbcDef_gh", "12315544"}),
        ("json://127.0.0.1:8080/x", set()),
        ("nothing of a URL", set()),
    ],
)
def test_secret_parts(url: str, secret: set[str]) -> None:
    assert tokens(url) == secret


def test_on_is_a_field_in_yaml_too() -> None:
    spec = parse(f"{SPEC}notify:\n  targets: [env://A]\n  on: [failed]\n", FleetSpec, "fleet.yml")
    assert spec.notify is not None and spec.notify.on == ("failed",)
