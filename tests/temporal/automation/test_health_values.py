"""Health checks as a spec says them, and what the result of a query means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from temporal.activities.automation.health import Hopeless, judged
from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.health import (
    CheckHealth,
    CommandCheck,
    HttpCheck,
    PrometheusCheck,
)
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.reading import parse

HEAD = "hosts: [web1]\nresources:\n  - file: /etc/motd\n    content: x\nrollout:\n  checks:\n"
NAN = float("nan")


def checked(text: str) -> FleetSpec:
    return parse(f"{HEAD}{text}", FleetSpec, "fleet.yml", folder=Path())


def test_the_three_kinds_from_a_file() -> None:
    spec = checked(
        "    - http: https://shop.example.org/health\n      contains: ok\n"
        "    - command: [pg_isready, -q]\n      on: admin@db1\n"
        "    - command: 'test -e /tmp/x'\n      within: 5\n"
        "    - prometheus: http://prometheus:9090/\n      query: up\n      min: 1\n"
    )
    http, listed, text, query = spec.rollout.checks
    assert isinstance(http, HttpCheck) and http.contains == "ok" and http.within == 60
    assert isinstance(listed, CommandCheck) and listed.on is not None and listed.on.user == "admin"
    assert isinstance(text, CommandCheck) and text.on is None and text.within == 5
    assert isinstance(query, PrometheusCheck) and query.prometheus == "http://prometheus:9090"
    assert [str(each) for each in spec.rollout.checks] == [
        "https://shop.example.org/health",
        "`pg_isready -q` on db1",
        "`test -e /tmp/x`",
        "`up` at http://prometheus:9090",
    ]
    request = CheckHealth(checks=spec.rollout.checks)
    assert TypeAdapter(CheckHealth).validate_json(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{http: shop}", r"fleet.yml:7: rollout.checks\[0\].http: must be a whole http"),
        ("{http: 'http://'}", "must be a whole http"),
        ("{http: 'http://a:99999/'}", "must be a whole http"),
        ("{http: 'ftp://a/'}", "must be a whole http"),
        ("{http: 'http://u:hunter22@a/'}", "must not hold a password"),
        ("{http: 'http://a', token: hunter22}", "must be a secret reference"),
        ("{http: 'http://a', status: 42}", r"checks\[0\].status: .*greater than or equal to 100"),
        ("{http: 'http://a', state: 200}", r"state: there is no such field; did you mean .*status"),
        ("{http: 'http://a', within: 0}", r"checks\[0\].within: .*greater than 0"),
        ("{command: ''}", r"checks\[0\].command: must be a command"),
        ("{command: []}", r"checks\[0\].command: must be a command"),
        ("{command: x, on: '-o@x y'}", r"checks\[0\].on: "),
        ("{prometheus: 'http://p', query: up}", "say what is healthy: min, max or both"),
        ("{prometheus: 'http://p', query: up, min: 1, equals: 1}", "or equals alone"),
        ("{prometheus: 'http://p', query: up, min: 2, max: 1}", "min 2 is over max 1"),
        ("{prometheus: 'http://p', query: up, min: .nan}", "must be a finite number"),
        ("{prometheus: 'http://p', min: 1}", r"checks\[0\].query: is missing"),
        ("{prometheus: 'http://p/?query=up', query: up, min: 1}", "the server's URL alone"),
        ("{http: 'http://a', command: x}", r"checks\[0\]: must be a mapping with exactly one of"),
        ("{url: 'http://a'}", r"fleet.yml:7: rollout.checks\[0\]: must be a mapping with exactly"),
        ("http://a", "must be a mapping with exactly one of http, command and prometheus"),
    ],
)
def test_refused_at_reading(check: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as refused:
        checked(f"    - {check}\n")
    assert "hunter22" not in str(refused.value)


def prometheus(**condition: Any) -> PrometheusCheck:
    return PrometheusCheck(prometheus="http://p", query="up", **condition)


def vector(*values: str) -> list[dict[str, Any]]:
    return [
        {"metric": {"__name__": "up", "job": f"j{number}"}, "value": [1.0, value]}
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("condition", "values", "said"),
    [
        ({"min": 1}, ["1", "2"], ""),
        ({"min": 1}, ["1", "0"], 'up{job="j1"} is 0, under 1'),
        ({"max": 0.5}, ["0.75"], 'up{job="j0"} is 0.75, over 0.5'),
        ({"min": 1, "max": 2}, ["1", "2"], ""),
        ({"equals": 3}, ["3"], ""),
        ({"equals": 0}, ["3"], 'up{job="j0"} is 3, not 0'),
        ({"max": 1}, ["NaN"], 'up{job="j0"} is NaN'),
        ({"max": 1}, ["+Inf"], 'up{job="j0"} is inf, over 1'),
        ({"min": 1}, [], "the result is empty"),
        ({"max": 0, "empty": "healthy"}, [], ""),
        ({"min": 1}, ["0"] * 5, "and 2 more"),
    ],
)
def test_every_value_of_a_vector_counts(
    condition: dict[str, Any], values: list[str], said: str
) -> None:
    found = judged(prometheus(**condition), "vector", vector(*values))
    assert found == said or (said.startswith("and") and found.endswith(said))


def test_a_scalar_and_what_is_neither() -> None:
    assert judged(prometheus(min=1), "scalar", [1.0, "1"]) == ""
    assert judged(prometheus(min=1), "scalar", [1.0, "0"]) == "is 0, under 1"
    with pytest.raises(Hopeless, match="gives a matrix"):
        judged(prometheus(min=1), "matrix", [])
