"""Recurrence rules against python-dateutil, and through the changes of the clock."""

from __future__ import annotations

import datetime as dt
import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import dateutil.rrule
import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from ipycron import rrule
from tests.support.lengths import choose

EXAMPLES = choose(80, 5000)
STARTS = st.datetimes(datetime(2019, 1, 1), datetime(2032, 1, 1))  # noqa: DTZ001 - local
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
FIRES = 30
YEARS = 3


def numbers(least, most, *, is_signed=False):
    """Return lists of numbers as a rule writes them."""
    one = st.integers(least, most)
    if is_signed:
        one |= st.integers(-most, -least)
    return st.lists(one, min_size=1, max_size=3, unique=True).map(
        lambda found: ",".join(map(str, found))
    )


def days(frequency):
    """Return BYDAY, all of it with numbers or nothing: dateutil mixes them wrongly."""
    plain = st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"])
    found = st.lists(plain, min_size=1, max_size=3, unique=True)
    if frequency in ("YEARLY", "MONTHLY"):
        nth = st.sampled_from(["1", "2", "-1", "-2", "5", "+3"])
        one = st.tuples(nth, plain).map("".join)
        found |= st.lists(one, min_size=1, max_size=3, unique=True)
    return found.map(",".join)


@st.composite
def rules(draw, frequencies=FREQUENCIES, names=(), most=40):
    """Return the text of a rule; with parts of some names, or of any."""
    frequency = draw(st.sampled_from(frequencies))
    parts = {"FREQ": frequency}
    if draw(st.booleans()):
        parts["INTERVAL"] = str(draw(st.integers(1, most)))
    choices = {
        "BYMONTH": numbers(1, 12),
        "BYYEARDAY": numbers(1, 366, is_signed=True),
        "BYMONTHDAY": numbers(1, 31, is_signed=True),
        "BYDAY": days(frequency),
        "BYHOUR": numbers(0, 23),
        "BYMINUTE": numbers(0, 59),
        "BYSECOND": numbers(0, 59),
    }
    if frequency == "YEARLY":
        choices["BYWEEKNO"] = numbers(1, 53, is_signed=True)
    known = sorted(names or choices)
    given = draw(st.lists(st.sampled_from(known), max_size=3, unique=True))
    for name in given:
        parts[name] = draw(choices[name])
    if given and not names and draw(st.booleans()):
        parts["BYSETPOS"] = draw(numbers(1, 4, is_signed=True))
    if draw(st.booleans()):
        parts["WKST"] = draw(st.sampled_from(["MO", "SU", "TH"]))
    return ";".join(f"{name}={value}" for name, value in parts.items())


class _Calendar(SimpleNamespace):
    """The module `datetime` as dateutil sees it, with an end that is near.

    Without one, dateutil looks for the next fire up to the year 9999.
    """


def ask_dateutil(text, start):
    """Return what the library says of the next years."""
    near = _Calendar(**vars(dt))
    near.MAXYEAR = start.year + YEARS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dateutil.rrule, "datetime", near)
        return list(itertools.islice(rrulestr(text, dtstart=start), FIRES))


@settings(max_examples=EXAMPLES, deadline=None)
@given(rules(("YEARLY", "MONTHLY", "WEEKLY", "DAILY")), STARTS)
def test_rule_fires_as_in_dateutil(text, start):
    """Where no clock changes."""
    start = start.replace(microsecond=0)
    expected = ask_dateutil(text, start)
    trigger = rrule(text, start, timezone="UTC")
    since, is_all = start, len(expected) < FIRES
    if "WEEKLY" in text and "BYSETPOS" in text:
        # The set of dateutil's first week has only its days from the start on.
        since = start + timedelta(days=7)
        expected = [moment for moment in expected if moment >= since]
    before = since.replace(tzinfo=UTC) - timedelta(seconds=1)
    found = [t.replace(tzinfo=None) for t in trigger.upcoming(FIRES, before)]
    assert found[: len(expected)] == expected
    later = found[len(expected) :]
    assert not is_all or all(t.year > start.year + YEARS for t in later)


def read_numbers(parts, name):
    """Return the numbers of a part, or an empty set."""
    return {int(n) for n in parts.get(name, "").split(",") if n}


def walk_seconds(text, start, end):
    """Return the fires of a rule within a day, found second by second."""
    parts = dict(part.split("=") for part in text.split(";"))
    unit = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}[parts["FREQ"]]
    interval = int(parts.get("INTERVAL", 1))
    hours, minutes, seconds = (
        read_numbers(parts, name) for name in ("BYHOUR", "BYMINUTE", "BYSECOND")
    )
    if unit > 1:
        seconds = seconds or {start.second}
    if unit > 60:
        minutes = minutes or {start.minute}
    base = int((start - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 - local
    found = []
    for passed in range(int((end - start).total_seconds())):
        now = start + timedelta(seconds=passed)
        if (
            ((base + passed) // unit - base // unit) % interval == 0
            and (not hours or now.hour in hours)
            and (not minutes or now.minute in minutes)
            and (not seconds or now.second in seconds)
        ):
            found.append(now)
    return found


@settings(max_examples=choose(25, 1000), deadline=None)
@given(
    rules(
        ("HOURLY", "MINUTELY", "SECONDLY"), ("BYHOUR", "BYMINUTE", "BYSECOND"), most=200
    ),
    STARTS,
)
def test_rule_within_a_day_fires_as_a_walk_finds(text, start):
    """At every second of a day and a half."""
    start = start.replace(microsecond=0)
    expected = walk_seconds(text, start, start + timedelta(hours=36))[:FIRES]
    trigger = rrule(text, start, timezone="UTC")
    before = start.replace(tzinfo=UTC) - timedelta(seconds=1)
    found = [t.replace(tzinfo=None) for t in trigger.upcoming(FIRES, before)]
    assert found[: len(expected)] == expected
    assert all(t >= start + timedelta(hours=36) for t in found[len(expected) :])


@settings(max_examples=EXAMPLES, deadline=None)
@given(rules(), STARTS, st.sampled_from(["UTC", "Europe/Berlin", "America/Havana"]))
def test_rule_is_the_same_backwards(text, start, zone):
    """`previous` undoes `next`, through the changes of the clock, too."""
    trigger = rrule(text, start.replace(microsecond=0), timezone=zone)
    found = trigger.upcoming(6, start.replace(tzinfo=ZoneInfo(zone)))
    for one, other in itertools.pairwise(found):
        assert trigger.previous(other).timestamp() == one.timestamp()
        assert trigger.matches(one)
        assert one.timestamp() < other.timestamp()


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    rules(),
    st.integers(1, 5),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.sampled_from([datetime(2026, 3, 28), datetime(2026, 10, 24)]),  # noqa: DTZ001
)
def test_count_counts_the_fires(text, count, zone, start):
    """Neither a repeated nor a skipped hour adds or takes one."""
    plain = rrule(text, start, timezone=zone)
    counted = rrule(f"{text};COUNT={count}", start, timezone=zone)
    before = datetime(2026, 1, 1, tzinfo=UTC)
    assert counted.upcoming(99, before) == plain.upcoming(count, before)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_rule_that_never_fires_is_found_out_soon(frequency):
    """Dateutil looks through eight thousand years."""
    text = f"FREQ={frequency};BYMONTH=2;BYMONTHDAY=30"
    assert rrule(text, timezone="UTC").next(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert (
        rrule(text, timezone="UTC").previous(datetime(2026, 1, 1, tzinfo=UTC)) is None
    )
