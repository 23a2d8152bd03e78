"""The pure parts of the command line, on values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from temporalio.api.failure.v1 import Failure

from temporal.cli.showing import as_text, as_yaml
from temporal.cli.tables import lines
from temporal.cli.views import rows
from temporal.cli.words import brief, took
from temporal.runs import PendingActivity, Run, failure_text
from temporal.runs.asking import _quoted
from temporal.runs.history import gist
from temporal.shared.progress import Progress
from temporal.shared.specs import reading
from temporal.shared.specs.automation import Answered, ServerSpec

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (59.94, "59.9s"),
        (59.96, "1m0s"),
        (3599.7, "1h0m"),
        (7300, "2h1m"),
        (47 * 3600, "47h0m"),
        (49 * 3600, "2d1h"),
    ],
)
def test_took(seconds: float, text: str) -> None:
    assert took(seconds) == text


@given(st.floats(0, 1e9))
def test_took_is_short_and_never_shows_sixty(seconds: float) -> None:
    text = took(seconds)
    assert len(text) <= 9
    assert "m60s" not in text and "h60m" not in text


def test_brief_has_the_date_when_it_is_not_today() -> None:
    assert len(brief(NOW)) == 8
    assert len(brief(NOW - timedelta(days=3))) == 16


def chain(*messages: tuple[str, str]) -> Failure:
    """A failure with causes, each of a type and with a message."""
    made: Failure | None = None
    for kind, message in reversed(messages):
        outer = Failure(message=message)
        if kind == "activity":
            outer.activity_failure_info.activity_type.name = "x"
        else:
            outer.application_failure_info.type = kind
        if made is not None:
            outer.cause.CopyFrom(made)
        made = outer
    assert made
    return made


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (chain(("Permanent", "no such host")), "no such host"),
        (chain(("HostFailed", "web1: 1 failed")), "web1: 1 failed"),
        (chain(("KeyError", "'x'")), "KeyError: 'x'"),
        (chain(("KeyError", "KeyError: 'x'")), "KeyError: 'x'"),
        (chain(("activity", "Activity task failed"), ("ValueError", "a")), "ValueError: a"),
        (chain(("A", "a"), ("B", "b")), "A: a\ncaused by B: b"),
        (chain(("Permanent", "web1: no route"), ("Permanent", "no route")), "web1: no route"),
        (chain(("Retryable", "web1: down"), ("Refused", "web1: down")), "web1: down"),
        (
            chain(("A", ""), ("B", "")),
            "A: application_failure_info\ncaused by B: application_failure_info",
        ),
        (Failure(), "failed"),
    ],
)
def test_failure_text(failure: Failure, text: str) -> None:
    failure.stack_trace = 'File "x.py", line 1'
    assert failure_text(failure) == text


class Pair(BaseModel):
    """A model with a default."""

    name: str
    size: int = 3
    parts: list[int] = []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a\n  b", "a b"),
        ([None], ""),
        (Answered(url="http://a/", status=200, body="x" * 500), "http://a/ answers 200"),
        (Pair(name="n", parts=[1, 2]), "name n, size 3, parts (2)"),
        (list(range(22)), "; ".join(map(str, range(20))) + "; and 2 more"),
        (7, "7"),
    ],
)
def test_gist(value: Any, text: str) -> None:
    assert gist(value) == text


@given(
    st.recursive(st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_gist_is_one_line_within_its_limit(value: Any) -> None:
    line = gist(value, 40)
    assert len(line) <= 40 and len(line.splitlines()) <= 1


def test_a_value_as_yaml_leaves_out_defaults_and_keeps_blocks() -> None:
    assert as_yaml(Pair(name="a")) == "name: a\n"
    assert as_yaml({"content": "a\nb\n"}) == "content: |\n  a\n  b\n"
    assert as_yaml("text") == "text\n"
    assert as_text({"a": [1]}) == "a:\n- 1"
    assert as_text(None) == ""


def test_a_spec_as_yaml_is_the_spec_again() -> None:
    text = "host: root@web1:2222\nresources:\n- package: nginx\n- file: /a\n  content: |\n    b\n"
    spec = reading.parse(text, ServerSpec, "a")
    assert reading.parse(as_yaml(spec), ServerSpec, "again") == spec


@given(
    st.lists(
        st.tuples(st.text("ab[/]c界", min_size=1), st.text("xyz \n", max_size=300)), min_size=1
    ),
    st.integers(20, 200),
)
def test_only_the_last_column_is_cut(cells: list[tuple[str, str]], width: int) -> None:
    shown = lines(["name", "what"], cells, width)
    assert len(shown) == len(cells) + 1
    for (name, _), line in zip(cells, shown[1:], strict=True):
        assert line.plain.startswith(name), "what is to be copied stands whole, markup or not"
    widest = max(4, *(line.cell_len for line in shown))
    names = max(sum(2 if c == "界" else 1 for c in name) for name, _ in cells)
    assert widest <= max(width, names + 2 + 10, 4 + 2 + 10)


def a_run(*activities: PendingActivity, **more: Any) -> Run:
    return Run(
        id="a",
        run_id="b",
        workflow="W",
        status="running",
        queue="q",
        started=NOW,
        activities=list(activities),
        **more,
    )


def an_activity(**more: Any) -> PendingActivity:
    base = {"name": "converge_host", "id": "1", "state": "running", "attempt": 1, "attempts": 12}
    return PendingActivity(**{**base, **more})


@pytest.mark.parametrize(
    ("activity", "text"),
    [
        (an_activity(), ["  converge_host"]),
        (an_activity(state="waiting"), ["  converge_host waiting for a worker"]),
        (
            an_activity(progress=Progress(done=2, total=5, what="package:nginx", host="web1")),
            ["  converge_host web1 2/5 package:nginx"],
        ),
        (
            an_activity(state="cancelling", progress=Progress(host="web1")),
            ["  converge_host web1 cancelling"],
        ),
        (
            an_activity(attempt=2, last_failure="web1: unreachable\nmore"),
            ["  converge_host (try 2 of 12)", "    the try before failed: web1: unreachable"],
        ),
        (
            an_activity(
                state="waiting",
                attempt=3,
                attempts=0,
                due=NOW + timedelta(hours=1),
                progress=Progress(what="of the try before"),
            ),
            ["  converge_host try 3 in 1h0m"],
        ),
        (
            an_activity(progress=Progress(host="web1"), heard=NOW - timedelta(hours=5)),
            ["  converge_host web1 silent for 5h0m"],
        ),
    ],
)
def test_rows_of_the_live_view(activity: PendingActivity, text: list[str]) -> None:
    shown = [row.plain for row in rows(a_run(activity), ticking=True, now=NOW)]
    assert shown == text


def test_rows_never_outgrow_the_terminal() -> None:
    many = [an_activity(id=str(n), last_failure="x") for n in range(200)]
    shown = [row.plain for row in rows(a_run(*many), ticking=True, most=10)]
    assert len(shown) == 10 and shown[-1] == "  ... and 391 more lines"


def test_rows_say_that_it_is_stuck() -> None:
    shown = [
        row.plain for row in rows(a_run(stuck="ZeroDivisionError: x\ncaused by y"), ticking=False)
    ]
    assert shown[1:] == ["    ZeroDivisionError: x", "    caused by y"]


@given(st.text())
def test_quoted_text_is_one_literal(text: str) -> None:
    quoted = _quoted(text)
    inner = quoted[1:-1].replace("\\\\", "").replace('\\"', "")
    assert quoted[0] == quoted[-1] == '"' and '"' not in inner and "\\" not in inner
