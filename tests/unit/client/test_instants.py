"""Instants and moments to come: what is read, and what is refused (C4)."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from ipycron.client.instants import MAX_NOTE, check_note, read_moment
from ipycron.errors import InvalidOption
from ipycron.triggers.instants import read_instant

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 12, 1, 8, 59, tzinfo=BERLIN)
NINE = datetime(2026, 12, 1, 9, tzinfo=BERLIN)


def read(value, zone=BERLIN, now=NOW):
    """Return a moment to come."""
    instant = read_moment("until", value, zone, now.timestamp())
    return datetime.fromtimestamp(instant, zone)


@pytest.mark.parametrize(
    "value",
    [
        NINE,
        NINE.astimezone(UTC),
        NINE.replace(tzinfo=None),
        "2026-12-01 09:00",
        " 2026-12-01T09:00 ",
        "2026-12-01T08:00Z",
        60,
        60.0,
        timedelta(minutes=1),
        time(9),
        time(8, tzinfo=UTC),
        "09:00",
        "09:00:00",
        "9:00",
    ],
)
def test_moment_is_read_in_every_way_that_people_write_it(value):
    """What has no zone is in the task's."""
    assert read(value) == NINE


def test_time_of_day_that_has_passed_is_tomorrows():
    """Also the one that it is now."""
    assert read("08:59") == NOW + timedelta(days=1)
    assert read("08:58:59") == NOW + timedelta(days=1, seconds=-1)


def test_day_is_its_midnight():
    """As a date and as text."""
    midnight = datetime(2026, 12, 2, tzinfo=BERLIN)
    assert read(date(2026, 12, 2)) == read("2026-12-02") == read("20261202") == midnight


def test_time_of_day_in_a_gap_of_the_clock_is_read_as_the_clock_before_it():
    """02:30 does not exist: 03:30 is meant, as by Python's datetime."""
    eve = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    assert read("02:30", now=eve).isoformat() == "2026-03-29T03:30:00+02:00"


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, "", "soon", "25:00", "2026-13-01", [], {}, b"09:00", object),
        *("9", "2026", "-", "09:00 tomorrow"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(value):
    """The error names the option and shows how to write it."""
    expected = (
        "expected seconds from now or text such as '30m', a time of day, or an instant"
    )
    with pytest.raises(InvalidOption, match=expected) as caught:
        read(value)
    assert str(caught.value).startswith("until: got ")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), (" 1h30m ", 5400), ("1.5m", 90)]
)
def test_duration_as_text_counts_from_now(text, seconds):
    """With a unit: a number alone may be a year."""
    assert read(text) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", [0, NOW, "0s", "2026-11-30", "0001-01-01", NOW - timedelta(seconds=0.001)]
)
def test_past_is_refused_with_the_time_it_is(value):
    """The usual mistake is another zone: the error shows the task's time."""
    text = "expected an instant to come: it is 2026-12-01 08:59:00+01:00"
    with pytest.raises(InvalidOption, match=re.escape(text)):
        read(value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 10**400])
def test_number_that_is_no_duration_is_refused(value):
    """As by every option that takes seconds."""
    with pytest.raises(InvalidOption, match="expected seconds"):
        read(value)


@pytest.mark.parametrize(
    "value", [1e15, timedelta.max, date.max, "9999-12-31", "9999-12-31 23:59"]
)
def test_end_of_the_calendar_is_refused(value):
    """It has no date in some time zones, and no message could hold 1e300."""
    with pytest.raises(InvalidOption, match="a year before 9999"):
        read(value)


def test_instant_may_have_passed_and_is_no_number():
    """A number could be Unix seconds, or from now."""
    assert read_instant("start", "1969-07-20", UTC) == -14256000
    for value in (60, timedelta(1), "09:00", None):
        with pytest.raises(InvalidOption, match="expected an instant"):
            read_instant("start", value, UTC)
    with pytest.raises(InvalidOption, match="a year before 9999"):
        read_instant("start", date.max, UTC)


def test_note_is_a_short_text():
    """It is shown in one line, and sent to other processes."""
    assert check_note("") == ""
    assert check_note("x" * MAX_NOTE) == "x" * MAX_NOTE
    for note in (None, 1, b"x", "x" * (MAX_NOTE + 1)):
        with pytest.raises(InvalidOption, match="at most 500 characters"):
            check_note(note)
    with pytest.raises(InvalidOption, match="without lone surrogates"):
        check_note("\udcff")
