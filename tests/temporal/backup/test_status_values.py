"""What snapshots and notes mean, on values: states and metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from temporal.activities.backup import drilling, inspecting, judging
from temporal.activities.backup.listing import Listing
from temporal.activities.backup.metrics import Metrics
from temporal.shared.specs.backup.status import (
    BackupStatus,
    Lock,
    RepositoryStatus,
    Row,
    age,
    status_of,
    worst_first,
)
from tests.temporal.backup.noted import DAY, HOUR, NOW, check, id_of, plan, proof, snap, there


def row(found: Listing, hit: Iterable[str] = ()) -> Row:
    return judging.row(plan(), "web1", "up", found, tuple(hit), {}, NOW)


def test_a_source_without_a_snapshot_is_missing_and_late() -> None:
    found = row(there([snap(1, HOUR, host="web2"), snap(2, HOUR, source="db")]))
    assert (found.state, found.late, found.snapshots) == ("missing", True, 0)


def test_protected_is_only_what_is_recent_and_was_proved_recently() -> None:
    found = row(there([snap(1, HOUR), snap(2, 9 * DAY)], [proof(1, DAY, of=2)]))
    assert (found.state, found.late, found.because) == ("protected", False, "")
    assert (found.proof_of, found.took, found.snapshots) == (id_of(2), 12.5, 2)
    assert found.newest == NOW - HOUR and found.oldest == NOW - 9 * DAY


def test_overdue_is_told_with_its_age_and_what_was_promised() -> None:
    found = row(there([snap(1, 27 * HOUR)], [proof(1, HOUR, of=1)]))
    assert found.state == "overdue" and found.late
    assert "1d3h old" in found.because and "1d2h at most" in found.because


def test_a_new_source_is_unproved_and_nobody_is_told_until_it_is_late() -> None:
    new = row(there([snap(1, HOUR)]))
    old = row(there([snap(1, HOUR), snap(2, 8 * DAY)]))
    assert (new.state, new.late) == ("unproved", False)
    assert (old.state, old.late) == ("unproved", True)
    assert row(there([snap(1, HOUR)], [proof(1, 8 * DAY, of=1)])).state == "stale"


def test_a_drill_that_could_not_be_done_proves_nothing_and_takes_nothing_away() -> None:
    notes = [proof(1, DAY, of=1), proof(2, HOUR, of=1, result="failed")]
    found = row(there([snap(1, HOUR)], notes))
    assert (found.state, found.result, found.proof) == ("protected", "failed", NOW - DAY)


def test_wrong_until_something_newer_is_proved() -> None:
    notes = [proof(1, 2 * DAY, of=1), proof(2, DAY, of=1, result="wrong")]
    assert row(there([snap(1, HOUR)], notes)).state == "wrong"
    assert row(there([snap(1, HOUR)], [*notes, proof(3, HOUR, of=1)])).state == "protected"


def test_the_worst_is_the_state_and_all_of_it_is_told() -> None:
    notes = [proof(1, 30 * DAY, of=1), proof(2, 29 * DAY, of=1, result="wrong")]
    found = row(there([snap(1, 31 * DAY)], notes))
    assert found.state == "overdue" and found.wrong
    assert "not what had been backed up" in found.because and "last proved 30d ago" in found.because


def test_damage_to_the_newest_is_as_bad_as_a_wrong_restore() -> None:
    found = there([snap(1, HOUR), snap(2, DAY)], [proof(1, HOUR, of=1)])
    assert row(found, [id_of(1)[:8]]).state == "wrong"
    older = row(found, [id_of(2)[:8]])
    assert older.state == "protected" and id_of(2)[:8] in older.because


def looked(found: Listing) -> Row:
    """The row of the source, as a look into the whole repository gives it."""
    [up, _] = inspecting.judged(
        plan(), "web1", ["web1"], True, inspecting.Seen(found=found), NOW
    ).rows
    return up


def test_of_a_snapshot_after_damage_nobody_knows_whether_it_is_hit() -> None:
    snapshots = [snap(1, 3 * DAY), snap(2, HOUR)]
    damaged = check(2, 2 * DAY, "1/12", "damaged", hits="1", hit=id_of(1)[:8])
    notes = [proof(1, 2 * DAY + HOUR, of=1), damaged]
    assert looked(there(snapshots, notes[:1])).state == "protected"
    after = looked(there(snapshots, notes))
    assert after.state == "unproved" and after.late and "drill it" in after.because
    proved = [*notes, proof(3, HOUR / 2, of=2)]
    assert looked(there(snapshots, proved)).state == "protected"
    wrong = [*proved, proof(4, HOUR / 4, of=2, result="failed")]
    assert looked(there(snapshots, wrong)).state == "unproved"


def test_of_more_hits_than_are_named_nobody_knows_which() -> None:
    snapshots = [snap(1, 3 * HOUR), snap(2, 3 * DAY)]
    notes = [proof(1, 2 * HOUR, of=1)]
    few = check(2, HOUR, "1/12", "damaged", hits="1", hit=id_of(2)[:8])
    assert looked(there(snapshots, [*notes, few])).state == "protected", "it is another one"
    many = check(2, HOUR, "1/12", "damaged", hits="30", hit=id_of(2)[:8])
    assert looked(there(snapshots, [*notes, many])).state == "unproved"


def test_a_clock_that_was_ahead_neither_hides_damage_nor_renews_a_proof() -> None:
    snapshots = [snap(1, 10 * DAY), snap(2, HOUR)]
    ahead = check(1, -30 * DAY, "1/12", "ok")
    damaged = check(2, HOUR / 2, "1/12", "damaged", hits="1", hit=id_of(2)[:8])
    notes = [damaged, ahead]
    assert looked(there(snapshots, notes)).state == "wrong"
    place = judging.repository(
        plan(), "s3:x", "web1", there(snapshots, notes), ["web1"], "", [], NOW
    )
    assert any("damaged" in each for each in place.problems), place.problems
    # Drilled is what counts as the newest, and not what only seems to be.
    paths = ("/srv", "/var/lib/converge/backup/shop/up/proof")
    made = [
        replace(each, tags={**each.tags, "kind": "files"}, paths=paths)
        for each in (snap(3, -30 * DAY), *snapshots)
    ]
    [up] = drilling.chosen(plan(), "web1", there(made), NOW).chosen
    assert up.snapshot == id_of(2)


def test_of_thousands_that_nobody_reaches_the_result_stays_small() -> None:
    hosts = [f"web{n}" for n in range(1000)]
    seen = inspecting.Seen(because="x" * 2700)
    found = inspecting.judged(plan(), "web1", hosts, True, seen, NOW)
    assert len(found.rows) == 2000 and len(found.model_dump_json()) < 1_000_000
    assert found.repositories[0].because == "x" * 2700
    assert {each.because for each in found.rows} == {"x" * 200 + "..."}


def test_a_snapshot_from_the_future_does_not_make_a_backup_recent() -> None:
    found = there([snap(1, -2 * DAY), snap(2, 3 * DAY)])
    assert (row(found).state, row(found).newest) == ("overdue", NOW - 3 * DAY)
    assert row(there([snap(1, -HOUR / 2)])).state == "unproved", "clocks differ a little"
    place = judging.repository(plan(), "s3:x", "web1", found, ["web1"], "", [], NOW)
    assert id_of(1)[:8] in place.future[0] and "2d ahead" in place.future[0]


def test_what_is_declared_no_more_is_named() -> None:
    found = there(
        [snap(1, HOUR, host="web9"), snap(2, DAY, host="web9"), snap(3, HOUR, source="x")]
    )
    place = judging.repository(plan(), "s3:x", "web1", found, ["web1"], "", [], NOW)
    assert [str(each) for each in place.undeclared] == [
        "web1/x (1, newest 2026-11-25)",
        "web9/up (2, newest 2026-11-25)",
    ]


@pytest.mark.parametrize(
    "said",
    [
        "could not load snapshot 52407fb4: load <snapshot/52407fb45d>: invalid data returned",
        'Ignoring "52407fb4adfa59779cf3a2b8c6adde75ec732bb7da7364e1a01d1134ef6f16e0": failed to load',
    ],
)
def test_a_snapshot_that_cannot_be_read_is_a_problem(said: str) -> None:
    place = judging.repository(plan(), "s3:x", "web1", there(), ["web1"], said, [], NOW)
    assert [each[:8] for each in place.unreadable] == ["52407fb4"]
    assert "cannot be read: 52407fb4" in place.problems[0]


def test_a_lock_is_in_the_way_only_when_nobody_works_under_it() -> None:
    young = Lock(id=id_of(1), machine="web7", pid=7, time=NOW - HOUR / 4)
    old = Lock(id=id_of(2), machine="web7", pid=7, time=NOW - HOUR, exclusive=True)
    place = judging.repository(plan(), "s3:x", "w", there(), ["web1"], "", [young, old], NOW)
    assert len(place.locks) == 1 and "exclusive lock" in place.locks[0]
    assert "web7" in place.locks[0] and "`restic unlock`" in place.locks[0]
    assert "at work there" in young.said(NOW)


def test_rows_come_the_worst_first() -> None:
    states = ["protected", "stale", "missing", "unknown", "overdue", "unproved", "wrong"]
    rows = [Row.model_validate({"host": "h", "source": each, "state": each}) for each in states]
    assert [each.state for each in sorted(rows, key=worst_first)] == [
        *("missing", "overdue", "wrong", "unknown", "unproved", "stale", "protected")
    ]


def status(
    *rows: Row, places: Iterable[RepositoryStatus] = (), now: datetime = NOW
) -> BackupStatus:
    return status_of(plan(), rows, places, now)


def test_the_digest_is_of_what_is_wrong_and_not_of_how_long() -> None:
    late = Row(host="h", source="s", state="overdue", late=True, because="27h")
    older = late.model_copy(update={"because": "28h", "newest": NOW})
    assert status(late).digest == status(older, now=NOW + DAY).digest != ""
    assert status(Row(host="h", source="s", state="protected")).digest == ""
    assert status(Row(host="h", source="s", state="unproved")).digest == "", "not late yet"
    wrong = late.model_copy(update={"state": "wrong"})
    assert status(late).digest != status(wrong).digest
    hurt = RepositoryStatus(url="u", damaged=("3/12",), hit=(id_of(1),), hits=1)
    assert status(places=[hurt]).digest and not status(places=[hurt]).protected
    assert "damaged in 3/12" in status(places=[hurt]).render()


def test_a_long_report_says_how_much_more_there_is() -> None:
    rows = [Row(host=f"h{n}", source="s", state="missing", late=True) for n in range(700)]
    made = status(*rows)
    assert len(made.rows) == 500 and made.counts == {"missing": 700}
    assert "... and 200 more" in made.render() and made.summary == "shop: 700 sources: 700 missing"
    assert len(made.model_dump_json()) < 1_000_000


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """What a scrape would see: name without what all begin with, and the values of the labels."""
    registry = CollectorRegistry()
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (each.name.removeprefix("temporal_ops_backup_"), *each.labels.values()): each.value
        for family in families
        for each in family.samples
    }


def test_metrics_are_of_the_last_look_and_keep_what_nobody_can_see_now() -> None:
    metrics = Metrics()
    one = row(there([snap(1, HOUR)], [proof(1, DAY, of=1)]))
    two = Row(host="web2", source="up", state="missing", late=True)
    place = RepositoryStatus(url="s3:x", checked=NOW, result="ok")
    metrics.publish(status(one, two, places=[place]), [one, two])
    seen, of = samples(metrics), ("shop", "web1", "up")
    assert seen["newest_timestamp_seconds", *of] == (NOW - HOUR).timestamp()
    assert seen["protected", *of] == seen["proof_ok", *of] == seen["known", *of] == 1
    assert seen["proof_duration_seconds", *of] == 12.5 and seen["rpo_seconds", *of] == 26 * 3600
    assert seen["snapshots", "shop", "web2", "up"] == 0
    assert ("newest_timestamp_seconds", "shop", "web2", "up") not in seen
    assert seen["repository_check_ok", "shop", "s3:x"] == 1
    assert seen["sources", "shop", "missing"] == 1 and seen["sources", "shop", "stale"] == 0
    unseen = judging.unknown("web1", "up", "not reached")
    gone = RepositoryStatus(url="s3:x", because="not reached")
    metrics.publish(status(unseen, places=[gone], now=NOW + HOUR), [unseen])
    seen = samples(metrics)
    assert seen["newest_timestamp_seconds", *of] == (NOW - HOUR).timestamp()
    assert seen["known", *of] == 0 and seen["repository_check_ok", "shop", "s3:x"] == 1
    assert not [key for key in seen if "web2" in key], "it is declared no more"
    assert seen["inspected_timestamp_seconds", "shop"] == (NOW + HOUR).timestamp()
    assert seen["unseen_repositories", "shop"] == 1


def test_nothing_is_known_of_what_nobody_could_look_into() -> None:
    seen = inspecting.Seen(because="web1: nothing listens on port 22")
    found = inspecting.judged(plan(), "web1", ["web1", "web2"], True, seen, NOW)
    assert {(each.state, each.late) for each in found.rows} == {("unknown", True)}
    assert len(found.rows) == 4 and found.repositories[0].problems


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_an_age_is_short(value: timedelta) -> None:
    assert len(age(value)) <= 8 and age(-value).lstrip("-")
