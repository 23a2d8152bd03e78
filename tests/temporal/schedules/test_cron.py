"""Cron texts as ranges."""

from __future__ import annotations

import pytest

from temporal.shared.specs.cron import Range, calendar_of


def test_fields_of_all_kinds() -> None:
    found = calendar_of("*/20 1-5,22 ? JAN,mar-May Mon-5")
    assert found["minute"] == (Range(0, 59, 20),)
    assert found["hour"] == (Range(1, 5), Range(22, 22))
    assert found["day_of_month"] == (Range(1, 31),)
    assert found["month"] == (Range(1, 1), Range(3, 5))
    assert found["day_of_week"] == (Range(1, 5),)


def test_a_start_with_a_step_goes_to_the_end() -> None:
    assert calendar_of("5/15 * * * *")["minute"] == (Range(5, 59, 15),)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("* * * * *", [(0, 6)]),
        ("* * * * 7", [(0, 0)]),
        ("* * * * 5-7", [(0, 0), (5, 5), (6, 6)]),
        ("* * * * 0,7", [(0, 0)]),
        ("* * * * */2", [(0, 0), (2, 2), (4, 4), (6, 6)]),
    ],
)
def test_sunday_is_one_day(text: str, days: list[tuple[int, int]]) -> None:
    assert calendar_of(text)["day_of_week"] == tuple(Range(*each) for each in days)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 3 * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("61 * * * *", "minute '61' is not within 0 to 59"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * foo *", "month 'foo'"),
        ("5-1 * * * *", "ends before it begins"),
        ("*/0 * * * *", "steps by nothing"),
        ("1,, * * * *", "is not \\*"),
        ("* * L * *", "day of month 'L'"),
        ("@every 5m", "say `every: 1h`"),
        ("0 0 1 * mon", "Say it in two lines"),
    ],
)
def test_what_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        calendar_of(text)
