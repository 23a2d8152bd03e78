"""What a fleet looks like on a terminal and in a log, as a function of values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from temporal.cli.fleet_lines import told
from temporal.cli.fleet_view import FleetView, placed
from temporal.runs import PendingActivity, Run
from temporal.runs.fleets import Failure, FleetNow, endings
from temporal.shared.progress import Progress

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = tuple(f"web{number}" for number in range(300))


def run_of(*activities: PendingActivity, **more: Any) -> Run:
    return Run(
        id="fleet-1",
        run_id="r",
        workflow="ProvisionFleet",
        status="running",
        queue="q",
        started=NOW - timedelta(seconds=75),
        closed=NOW,
        activities=list(activities),
        **more,
    )


def doing(host: str, done: int = 1, what: str = "package:nginx", **more: Any) -> PendingActivity:
    values = {"state": "running", "attempt": 1, "attempts": 4, **more}
    beat = Progress(done=done, total=3, what=what, host=host) if host else None
    return PendingActivity(name="converge_member", id=host, progress=beat, **values)


def fleet_of(total: int = 300, **more: Any) -> FleetNow:
    return FleetNow(**{"total": total, "wave": 2, "waves": 4, **more})


def bad(host: str, because: str = "connection refused", ending: str = "failed") -> Failure:
    return Failure(host=host, ending=ending, because=because)


def shown(
    fleet: FleetNow,
    run: Run | None = None,
    *,
    width: int = 80,
    height: int = 24,
    ended: dict[str, str] | None = None,
) -> list[str]:
    drawn = FleetView().lines(
        run or run_of(), fleet, ended or {}, width=width, height=height, now=NOW
    )
    return [line.plain.rstrip() for line in drawn]


def test_three_hosts_are_all_listed_with_their_state() -> None:
    fleet = fleet_of(
        3,
        next=3,
        counts={"changed": 1, "failed": 1},
        running=("web2",),
        failures=(bad("web1", "web1: 1 of 2 failed\nmore"),),
        names=NAMES[:3],
    )
    lines = shown(fleet, run_of(doing("web2")), ended={"web0": "changed"})
    assert lines[0] == "ProvisionFleet  wave 2 of 4  2 of 3 done  1m15s   Ctrl-C asks"
    assert lines[-3:] == [
        "  web0      changed",
        "! web1      failed: 1 of 2 failed",
        "  web2      1/3 package:nginx",
    ]


def test_of_many_hosts_it_says_how_many_are_not_shown() -> None:
    running = NAMES[100:150]
    fleet = fleet_of(
        next=150,
        counts={"changed": 60, "failed": 40},
        running=running,
        failures=tuple(bad(name) for name in NAMES[:40]),
    )
    lines = shown(fleet, run_of(*(doing(name) for name in running)))
    assert len(lines) == 24
    assert "60 changed   40 failed   50 running   150 waiting" in lines[2]
    failed = [line for line in lines if line.startswith("! ")]
    assert failed == ["! web0      and 39 more failed: connection refused"]
    assert lines[-1] == "  ... and 31 more"


def test_each_kind_of_failure_is_seen_however_many_there_are_of_another() -> None:
    many = [
        bad(name, f"Retryable: {name}: 10.0.0.{n}: refused") for n, name in enumerate(NAMES[:80])
    ]
    failures = (*many[:70], bad("sick", "the disk is full"), *many[70:])
    fleet = fleet_of(counts={"failed": 90}, failures=failures, running=NAMES[100:150])
    lines = shown(fleet, height=12)
    assert "! web0      and 79 more failed: 10.0.0.0: refused" in lines
    assert "! sick      failed: the disk is full" in lines
    few = shown(fleet_of(counts={"failed": 2}, failures=tuple(many[:2])))
    assert few[-1] == "! web1      failed: 10.0.0.1: refused", "both fit, so both are named"


def test_who_has_a_line_keeps_it() -> None:
    view, size = FleetView(), {"width": 80, "height": 9, "now": NOW}
    first = view.lines(run_of(), fleet_of(running=NAMES[:20]), {}, **size)
    gone = tuple(name for name in NAMES[:20] if name != "web1")
    second = view.lines(run_of(), fleet_of(running=gone), {}, **size)
    names = [[line.plain.split()[0] for line in drawn[2:-1]] for drawn in (first, second)]
    assert names[0] == ["web0", "web1", "web2", "web3", "web4", "web5"]
    assert names[1] == ["web0", "web6", "web2", "web3", "web4", "web5"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"paused": "ann: lunch"}, ["paused by ann: lunch", "runs resume fleet-1"]),
        (
            {"waiting": {"at": "plan", "plan": "a" * 64, "hosts": 9, "changing": 4}},
            ["approval of plan aaaaaaaaaaaa, which changes 4 of 9", "runs approve fleet-1"],
        ),
        ({"waiting": {"at": "canary", "plan": "b" * 64, "hosts": 9}}, ["canary bbbbbbbbbbbb"]),
        (
            {"aborted": "bob: wrong one", "running": ("web1",)},
            ["aborted by bob", "1 host still runs"],
        ),
        ({"unhealthy": "unhealthy after wave 1 of 4: 503"}, ["unhealthy after wave 1"]),
        ({"next": 75, "counts": {"changed": 75}}, ["rests before wave 3 of 4"]),
        ({"planning": True, "next": 20, "running": ("web1",)}, ["19 of 300 planned"]),
    ],
)
def test_what_it_waits_for_is_said(more: dict[str, Any], expected: list[str]) -> None:
    lines = "\n".join(shown(fleet_of(**more)))
    assert all(text in lines for text in expected), lines


def test_a_host_that_is_tried_again_says_why() -> None:
    again = doing("web1", state="waiting", attempt=2, last_failure="web1: no route\n  at x")
    fleet = fleet_of(running=("web1", "web2"))
    lines = shown(fleet, run_of(again, doing("", state="waiting")))
    assert "  web1      try 2 of 4: no route" in lines
    lines = shown(fleet, run_of(again), width=20)
    assert max(map(len, lines)) <= 20


def test_a_host_that_failed_before_its_first_heartbeat_is_known_by_its_failure() -> None:
    again = doing("", state="waiting", attempt=3, last_failure="web1: no route")
    lines = shown(fleet_of(running=("web1",)), run_of(again))
    assert lines[-1] == "  web1      try 3 of 4: no route"


def test_nothing_of_a_host_moves_the_cursor() -> None:
    evil = "\x1b[2Jx\ty\r"
    fleet = fleet_of(
        counts={"failed": 1}, failures=(bad(evil, evil),), running=(evil + "2",), paused=evil
    )
    text = "".join(shown(fleet, run_of(doing(evil + "2", what=evil))))
    assert text.isprintable()


_WORD = st.text(max_size=40)
_COUNTS = st.dictionaries(
    st.sampled_from(["changed", "unchanged", "failed", "unreachable", "odd"]),
    st.integers(0, 9999),
    max_size=5,
)
_FLEETS = st.builds(
    FleetNow,
    total=st.integers(1, 10_000),
    wave=st.integers(0, 9),
    waves=st.integers(0, 9),
    running=st.lists(_WORD, max_size=60, unique=True).map(tuple),
    next=st.integers(0, 10_000),
    counts=_COUNTS,
    failures=st.lists(st.builds(Failure, host=_WORD, because=_WORD), max_size=30).map(tuple),
    paused=_WORD,
    aborted=_WORD,
    planning=st.booleans(),
    names=st.lists(_WORD, max_size=20, unique=True).map(tuple),
)
_ACTIVITIES = st.lists(
    st.builds(
        doing,
        _WORD,
        what=_WORD,
        state=st.sampled_from(["running", "waiting", "cancelling"]),
        attempt=st.integers(1, 4),
        last_failure=st.none() | st.text(min_size=1, max_size=50),
        due=st.none() | st.just(NOW + timedelta(seconds=9)),
        heard=st.none() | st.just(NOW - timedelta(seconds=30)),
    ),
    max_size=30,
)


@given(_FLEETS, _FLEETS, _ACTIVITIES, st.integers(1, 140), st.integers(1, 50))
def test_it_fits_whatever_there_is_to_show(
    first: FleetNow, then: FleetNow, acts: list[PendingActivity], width: int, height: int
) -> None:
    view = FleetView()
    for fleet in (first, then):
        drawn = view.lines(run_of(*acts), fleet, {}, width=width, height=height, now=NOW)
        assert 1 <= len(drawn) <= height
        for line in drawn:
            assert cell_len(line.plain) <= width and "\n" not in line.plain


@given(_FLEETS, _ACTIVITIES, st.integers(2, 50))
def test_a_failure_is_always_seen(
    fleet: FleetNow, acts: list[PendingActivity], height: int
) -> None:
    failed = fleet.model_copy(
        update={
            "failures": (bad("sick"), *fleet.failures),
            "counts": {"failed": 1 + len(fleet.failures)},
            "running": tuple(name for name in fleet.running if name != "sick"),
            "names": ("sick", *fleet.names) if fleet.names else (),
        }
    )
    lines = shown(failed, run_of(*acts), height=height)
    assert any(line.startswith("! sick ") for line in lines), lines


@given(
    st.lists(st.sampled_from(NAMES[:30]), unique=True),
    st.lists(st.sampled_from(NAMES[:30]), unique=True),
    st.integers(0, 20),
)
def test_lines_are_full_and_keep_their_hosts(
    before: list[str], running: list[str], room: int
) -> None:
    now = placed(before, running, room)
    assert len(now) == len(set(now)) == min(room, len(running))
    assert set(now) <= set(running)
    if len(running) >= room:
        for place, name in enumerate(before[:room]):
            assert name not in running or now[place] == name


def test_how_named_hosts_ended_is_told_only_where_it_is_known() -> None:
    first = fleet_of(4, names=NAMES[:4], next=1, counts={"changed": 1})
    known = endings({}, None, first)
    assert known == {"web0": "changed"}
    both = fleet_of(
        4,
        names=NAMES[:4],
        next=4,
        counts={"changed": 2, "unchanged": 1, "failed": 1},
        failures=(bad("web2"),),
    )
    assert endings(known, first, both) == {
        "web0": "changed",
        "web1": "ended",
        "web2": "failed",
        "web3": "ended",
    }
    other = both.model_copy(update={"counts": {"changed": 1}, "failures": ()})
    assert endings(known, first, other) == known, "another order: nobody knows"


def test_answers_of_older_and_newer_workers_are_read() -> None:
    state = {"next": 1, "counts": {"shiny": 1}, "failures": [], "later": {"x": 1}}
    now = FleetNow.read(
        {"total": 3, "state": state, "running": ["a"], "wave": 1, "waves": 2, "n": 1}
    )
    assert now and now.done == 1 and now.running == ("a",) and now.left == 1
    assert "1 shiny" in "\n".join(shown(now))
    assert FleetNow.read({"state": {}}) is None and FleetNow.read("half") is None


def test_a_log_has_a_line_for_what_is_of_note_and_none_for_a_host() -> None:
    start = fleet_of(wave=0, sizes=(75,) * 4)
    one = fleet_of(wave=1, next=50, running=NAMES[:50], sizes=(75,) * 4)
    half = fleet_of(wave=1, next=75, counts={"changed": 40}, running=NAMES[40:75])
    two = fleet_of(
        next=100, counts={"changed": 73, "failed": 2}, failures=(bad("web7"), bad("web9"))
    )
    assert told("fleet-1", None, start) == ["300 hosts, 4 waves"]
    assert told("fleet-1", start, one) == ["wave 1 of 4 begins: 75 hosts"]
    assert told("fleet-1", one, half) == []
    assert told("fleet-1", half, two) == [
        "! web7: failed: connection refused",
        "! web9: failed: connection refused",
        "wave 1 is over; 75 of 300 done: 73 changed   2 failed   0 running   225 waiting",
        "wave 2 of 4 begins",
    ]
    paused = two.model_copy(update={"paused": "ann: lunch"})
    assert told("fleet-1", two, paused) == [
        "paused by ann: lunch: temporal-ops runs resume fleet-1"
    ]
    assert told("fleet-1", paused, two) == ["resumed"]


def test_a_log_is_not_flooded_by_failures() -> None:
    many = fleet_of(
        wave=1, next=300, counts={"failed": 250}, failures=tuple(bad(n) for n in NAMES[:100])
    )
    lines = told("fleet-1", fleet_of(wave=1, next=50), many)
    assert len(lines) == 21 and lines[-1] == "! ... and 230 more failed"
