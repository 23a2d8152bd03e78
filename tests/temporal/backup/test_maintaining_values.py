"""What goes, what is checked next, and what a host said of that, on values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from temporal.activities.backup import forgetting
from temporal.activities.backup.checking import Checks
from temporal.activities.backup.forgetting import KEPT_NOTES, Verdict
from temporal.activities.backup.listing import Listing, Snapshot
from temporal.activities.backup.maintained import amounts
from temporal.shared.specs.backup.maintaining import (
    MOST_FORGOTTEN,
    Checked,
    MaintainChoice,
    Maintained,
)
from tests.temporal.backup.noted import DAY, HOUR, NOW, check, id_of, note, plan, proof, snap, there


def test_the_part_that_is_longest_ago_is_next() -> None:
    notes = [check(1, 3 * DAY, "2/3", "ok"), check(2, 2 * DAY, "1/3", "ok")]
    assert Checks(notes, 3).due() == ("3/3",)
    assert Checks([*notes, check(3, DAY, "3/3", "ok")], 3).due() == ("2/3",)
    failed = check(4, HOUR, "2/3", "failed")
    assert Checks([*notes, check(3, DAY, "3/3", "ok"), failed], 3).due() == ("2/3",), "not done"
    assert Checks([], 0).due() == ("structure",)


def test_a_damaged_part_is_looked_at_again_and_stays_so_until_it_is_well() -> None:
    hurt = check(1, 3 * DAY, "2/3", "damaged", hit="aaaaaaaa+bbbbbbbb", hits="9", pack="cccccccc")
    found = Checks([hurt, check(2, DAY, "1/3", "ok")], 3)
    assert (found.damaged, found.hit, found.hits) == (("2/3",), ("aaaaaaaa", "bbbbbbbb"), 9)
    assert found.packs == ("cccccccc",) and found.due() == ("3/3", "2/3")
    well = Checks([hurt, check(2, DAY, "2/3", "ok")], 3)
    assert well.damaged == () and well.hits == 0
    unknown = Checks([check(1, DAY, "2/3", "damaged", hits="unknown")], 3)
    assert unknown.hits is None


def test_damage_of_another_division_is_over_when_all_of_this_one_is_well() -> None:
    hurt = check(1, 9 * DAY, "2/3", "damaged", hits="0")
    half = [hurt, check(2, DAY, "1/2", "ok")]
    assert Checks(half, 2).damaged == ("2/3",)
    assert Checks([*half, check(3, HOUR, "2/2", "ok")], 2).damaged == ()
    assert Checks(half, 0).damaged == ("2/3",), "the structure alone tells nothing of the content"


@given(st.integers(1, 12), st.lists(st.sampled_from(["ok", "failed", "damaged"]), max_size=40))
def test_every_part_has_its_turn(parts: int, results: list[str]) -> None:
    notes: list[Snapshot] = []
    for number, result in enumerate([*results, *["ok"] * parts]):
        for part in Checks(notes, parts).due():
            notes.append(check(len(notes), (100 - number) * HOUR, part, result))
    assert {each.tags["subset"] for each in notes[-2 * parts :]} == {
        f"{n}/{parts}" for n in range(1, parts + 1)
    }


def said(*keep: int, remove: Iterable[int] = ()) -> Verdict:
    return Verdict(frozenset(map(id_of, keep)), frozenset(map(id_of, remove)))


def chosen(found: Listing, verdicts: dict[str, Any], **more: Any) -> MaintainChoice:
    return forgetting.chosen(plan(**more), "web1", ["web1"], found, verdicts, NOW)


def test_what_was_proved_and_then_found_wrong_is_not_kept_for_its_proof() -> None:
    snapshots = [snap(n, n * DAY) for n in range(1, 6)]
    notes = [
        proof(1, 3 * HOUR, of=4),
        proof(2, 2 * HOUR, of=3),
        proof(3, HOUR, of=3, result="wrong"),
    ]
    choice = chosen(there(snapshots, notes), {"up": {"web1": said(1, 2, remove=(3, 4, 5))}})
    [group] = choice.groups
    assert group.proved == id_of(4) and [each.id for each in group.going] == [id_of(5), id_of(3)]
    assert (choice.going, choice.kept) == (2, 3)


def test_nothing_goes_that_the_rules_did_not_name_for_this_source() -> None:
    found = there([snap(1, HOUR), snap(2, DAY), snap(3, DAY, source="db")])
    wild = said(1, remove=(2, 3, 77))
    assert chosen(found, {"up": {"web1": wild, "web9": wild}}).ids == (id_of(2),)
    assert chosen(found, {}).ids == ()


def test_rules_that_leave_nothing_of_one_are_refused_for_all() -> None:
    found = there(
        [snap(1, HOUR), snap(2, DAY), snap(3, DAY, source="db"), snap(4, HOUR, source="db")]
    )
    verdicts = {"up": {"web1": said(1, remove=(2,))}, "db": {"web1": said(remove=(3, 4))}}
    choice = chosen(found, verdicts)
    assert choice.ids == () and "web1/db would stay" in choice.refused
    assert choice.would.ending == "failed"


def test_of_very_many_the_oldest_go_first_and_the_rest_is_counted() -> None:
    many = range(2, MOST_FORGOTTEN + 502)
    found = there([snap(1, HOUR), *(snap(n, n * HOUR) for n in many)])
    choice = chosen(found, {"up": {"web1": said(1, remove=many)}})
    assert (choice.going, choice.more, choice.kept) == (MOST_FORGOTTEN, 500, 1)
    [group] = choice.groups
    assert group.kept == 501 and group.going[0].id == id_of(MOST_FORGOTTEN + 501)
    assert len(choice.model_dump_json()) < 200_000


def test_old_notes_go_and_the_last_proof_stays_however_old() -> None:
    proofs = [proof(1, 900 * DAY, of=1)]
    proofs += [proof(n, (200 - n) * DAY, of=1, result="failed") for n in range(2, KEPT_NOTES + 20)]
    checks = [check(500, 900 * DAY, "1/12", "ok"), check(501, 899 * DAY, "2/12", "damaged")]
    checks += [check(600 + n, (300 - n) * DAY, "3/12", "ok") for n in range(KEPT_NOTES + 5)]
    strange = note(900, DAY, note="something else")
    gone = note(901, DAY, host="web9", note="proof", result="proved")
    going = forgetting.old_notes(plan(), there([], [*proofs, *checks, strange, gone]), ["web1"])
    kept = {each.id for each in (proofs[0], *proofs[-KEPT_NOTES:], *checks[:2])}
    assert not kept & set(going) and not {strange.id, gone.id} & set(going)
    assert len(going) == (len(proofs) - KEPT_NOTES - 1) + (len(checks) - KEPT_NOTES - 2)


def test_restics_words_for_an_empty_group_are_understood() -> None:
    text = (
        '{"message_type":"exit_error","code":1,"message":"refusing to delete last snapshot of snapshot '
        'group \\"host web1\\""}'
    )
    assert forgetting.refused_by_restic(text) == "web1"
    assert forgetting.refused_by_restic("Fatal: something else") is None
    assert forgetting.verdicts("") == {} and forgetting.verdicts("[]") == {}
    group = {"host": "web1", "keep": None, "remove": [{"id": "a"}]}
    assert forgetting.verdicts(json.dumps([group]))["web1"] == Verdict(frozenset(), frozenset("a"))


def test_amounts_of_both_releases() -> None:
    assert amounts(
        "total prune:          36 blobs / 28.617 MiB\nremaining:  2 blobs / 1.5 GiB"
    ) == {
        "total prune": 30007099,
        "remaining": 1610612736,
    }


def test_damage_and_problems_are_a_failure_and_what_was_left_alone_is_incomplete() -> None:
    nothing = MaintainChoice(host="web1")
    well = Maintained(host="web1", checks=(Checked(part="1/2", result="ok", noted=True),))
    assert well.outcome(nothing).ending == "done"
    hurt = Checked(part="1/2", result="damaged", packs=(id_of(1),), hit=(id_of(2),), hits=3)
    told = Maintained(host="web1", checks=(hurt,)).outcome(nothing)
    assert told.ending == "failed" and id_of(1)[:8] in told.because
    assert f"it hits snapshot {id_of(2)[:8]} and 2 more" in told.because
    assert Maintained(host="web1", problems=("no",)).outcome(nothing).ending == "failed"
    found = there([snap(1, -DAY), snap(2, DAY), snap(3, 2 * DAY)])
    left = chosen(found, {"up": {"web1": said(1, remove=(2, 3))}})
    assert left.ids == () and well.outcome(left).ending == "incomplete"
    assert "restic forget" in well.outcome(left).because
