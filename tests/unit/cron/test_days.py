"""Which days are chosen: tokens of the day fields, and their combination (E4, E5).

November 2025 begins on a Saturday and ends on a Sunday; February 2026 begins on a
Sunday and has 28 days; May 2026 ends on a Sunday, 1 August 2026 is a Saturday.
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta

import pytest

from ipycron.cron import parse
from ipycron.cron.days import Days

EPOCH = date(1970, 1, 1)


def list_days(text: str, month: str, *, day_or: bool = True) -> list[int]:
    """Return the days of one month (as "2026-02") on which an expression runs."""
    days = Days(parse(f"0 0 {text}"), day_or=day_or)
    year, number = map(int, month.split("-"))
    first = (date(year, number, 1) - EPOCH).days
    last = first + calendar.monthrange(year, number)[1] - 1
    found, day = [], days.find_next(first, last)
    while day is not None:
        found.append(day - first + 1)
        day = days.find_next(day + 1, last) if day < last else None
    return found


@pytest.mark.parametrize(
    ("text", "month", "days"),
    [
        ("31 * *", "2026-01", [31]),
        ("31 * *", "2026-04", []),
        ("29 * *", "2026-02", []),
        ("29 * *", "2028-02", [29]),
        ("29 * *", "2100-02", []),
        ("29 * *", "2000-02", [29]),
        ("L * *", "2026-02", [28]),
        ("L * *", "2028-02", [29]),
        ("L * *", "2026-12", [31]),
        ("L-3 * *", "2026-02", [25]),
        ("L-27 * *", "2026-02", [1]),
        ("L-28 * *", "2026-02", []),
        ("L-30 * *", "2026-01", [1]),
        ("L-30 * *", "2026-04", []),
        ("15W * *", "2026-01", [15]),  # a Thursday
        ("15W * *", "2025-11", [14]),  # a Saturday: the Friday before
        ("15W * *", "2026-02", [16]),  # a Sunday: the Monday after
        ("1W * *", "2025-11", [3]),  # Saturday the 1st: not in October
        ("1W * *", "2026-02", [2]),
        ("30W * *", "2025-11", [28]),  # Sunday the 30th: not in December
        ("31W * *", "2026-05", [29]),
        ("31W * *", "2025-11", []),
        ("30W * *", "2026-02", []),
        ("LW * *", "2025-11", [28]),
        ("LW * *", "2026-01", [30]),  # Saturday the 31st
        ("LW * *", "2026-03", [31]),
        ("1W,15,L-1,L * *", "2025-11", [3, 15, 29, 30]),
        ("14,15W * *", "2025-11", [14]),
        ("* * sun#1", "2026-02", [1]),
        ("* * sun#5", "2026-02", []),
        ("* * sun#5", "2025-11", [30]),
        ("* * sat#1,sat#5", "2025-11", [1, 29]),
        ("* * 5L", "2025-11", [28]),
        ("* * sunL", "2025-11", [30]),
        ("* * satL", "2026-02", [28]),
        ("* * mon,fri#2", "2026-02", [2, 9, 13, 16, 23]),
        ("? * 3#2", "2026-02", [11]),
        ("* feb *", "2026-03", []),
    ],
)
def test_token_chooses_its_days(text, month, days):
    """Each token stands for these days of the month."""
    assert list_days(text, month) == days


@pytest.mark.parametrize(
    ("text", "day_or", "days"),
    [
        # February 2026: Mondays are 2, 9, 16, 23.
        ("15 * mon", True, [2, 9, 15, 16, 23]),
        ("15 * mon", False, []),
        ("16 * mon", False, [16]),
        ("*/7 * mon", True, []),  # 1, 8, 15, 22: Sundays
        ("*/15 * mon", True, [16]),
        ("*/15 * mon", False, [16]),
        ("2-9 * */5", True, [6, 8]),  # Sundays and Fridays
        ("2-9 * 0,5", True, [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15, 20, 22, 27]),
        ("? * mon", True, [2, 9, 16, 23]),
        ("15 * ?", True, [15]),
        ("1-31 * mon", True, list(range(1, 29))),
        ("1-31 * mon", False, [2, 9, 16, 23]),
        ("15 * 0-6", True, list(range(1, 29))),
        ("15 * 0-6", False, [15]),
        ("15,* * mon", True, list(range(1, 29))),  # begins with no star
        ("L * 6L", True, [28]),
        ("1W * 1#1", False, [2]),
    ],
)
def test_day_fields_combine_as_cron_or_as_node_cron(text, day_or, days):
    """Either field is enough, unless one begins with a star or day_or is False."""
    assert list_days(text, "2026-02", day_or=day_or) == days


@pytest.mark.parametrize(
    ("text", "day_or", "are_all"),
    [
        ("* * *", True, True),
        ("* * *", False, True),
        ("1-31 * mon", True, True),
        ("1-31 * mon", False, False),
        ("* 1-11 *", True, False),
        ("* * mon", True, False),
    ],
)
def test_schedule_of_all_days_is_known(text, day_or, are_all):
    """A schedule that runs every day needs no search for its days."""
    assert Days(parse(f"0 0 {text}"), day_or=day_or).are_all is are_all


@pytest.mark.parametrize("text", ["L * *", "15W 2,11 *", "29 2 *", "* * 5#5", "31 * 1"])
def test_search_backwards_finds_the_same_days(text):
    """`find_previous` returns the days of `find_next` in reverse order."""
    days = Days(parse(f"0 0 {text}"), day_or=True)
    first = (date(2023, 12, 30) - EPOCH).days
    last = (date(2032, 3, 2) - EPOCH).days
    forwards, day = [], days.find_next(first, last)
    while day is not None:
        forwards.append(day)
        day = days.find_next(day + 1, last)
    backwards, day = [], days.find_previous(last, first)
    while day is not None:
        backwards.append(day)
        day = days.find_previous(day - 1, first)
    assert forwards
    assert backwards == forwards[::-1]


def test_search_ends_at_its_limits():
    """A day after the last, or before the first, is not found."""
    days = Days(parse("0 0 15 * *"), day_or=True)
    start = (date(2026, 1, 1) - EPOCH).days
    assert days.find_next(start, start + 13) is None
    assert days.find_next(start, start + 14) == start + 14
    assert days.find_next(start + 14, start + 14) == start + 14
    assert days.find_previous(start + 20, start + 15) is None
    assert days.find_previous(start + 20, start + 14) == start + 14
    assert EPOCH + timedelta(days=start + 14) == date(2026, 1, 15)
