"""`every`: elapsed time from an anchor, whatever the clock does.

Berlin's clocks: 2026-03-29 02:00 +01:00 becomes 03:00 +02:00, and 2026-10-25 03:00
+02:00 becomes 02:00 +01:00.
"""

import itertools
import pickle
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ipycron import every
from ipycron.errors import InvalidOption

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 28, 23, tzinfo=BERLIN)
AUTUMN = datetime(2026, 10, 24, 23, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5m", 90),
        (5, 5),
        (5.0, 5),
        (timedelta(days=1, minutes=1), 86_460),
        ("90", 90),
    ],
)
def test_interval_is_read_in_every_form(given, seconds):
    """Text with units, seconds, a timedelta."""
    assert every(given).seconds == seconds


def test_interval_is_the_sum_of_its_parts():
    """As with a timedelta."""
    parts = {"weeks": 1, "days": 1, "hours": 1, "minutes": 1, "seconds": 1}
    assert every(**parts).seconds == 604_800 + 86_400 + 3600 + 60 + 1
    assert every(minutes=0.5) == every("30s")


@pytest.mark.parametrize(
    "given",
    [
        *(0, -1, 0.5, 1.5, True, float("nan"), float("inf"), 10**400, "0s", "-5m"),
        *("soon", "", "nan", "inf", "1e9", "99999999w", None, b"5m", [], {}),
        timedelta(0),
        timedelta(milliseconds=1500),
        timedelta.max,
    ],
)
def test_interval_that_is_none_is_refused_in_one_line(given):
    """What was given, and what is expected."""
    with pytest.raises(InvalidOption, match=r"^every: got .*, expected whole seconds"):
        every(given)


def test_parts_that_are_none_are_refused():
    """By their names."""
    with pytest.raises(InvalidOption, match="minutes: got '5', expected a number"):
        every(minutes="5")
    with pytest.raises(InvalidOption, match=r"every: got 'hours=nan'"):
        every(hours=float("nan"))
    with pytest.raises(InvalidOption, match=r"weeks: got .*, expected a number"):
        every(weeks=timedelta(seconds=5))
    with pytest.raises(InvalidOption, match="expected none beside the interval '5m'"):
        every("5m", hours=1)
    for nothing in ({}, {"minutes": 0}, {"minutes": 0.0, "hours": 0}):
        with pytest.raises(InvalidOption, match="every: got 0, expected whole seconds"):
            every(**nothing)


def test_interval_with_words_is_answered_with_a_suggestion():
    """People write minutes out."""
    with pytest.raises(InvalidOption, match=r"Did you mean '5m'\?"):
        every("5 minutes")


def test_anchor_after_finish_is_refused():
    """The end of a run is the anchor."""
    with pytest.raises(InvalidOption, match="anchor: got"):
        every("5m", anchor=SPRING, after_finish=True)
    with pytest.raises(InvalidOption, match="after_finish: got 1"):
        every("5m", after_finish=1)
    with pytest.raises(InvalidOption, match="anchor: got 'soon'"):
        every("5m", anchor="soon")


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_day_is_24_hours_through_a_clock_change(start):
    """APScheduler's users expect the same local time, or 24 hours: here it is these."""
    found = every(days=1, anchor=start, timezone=BERLIN).upcoming(2, start)
    assert [t.timestamp() - start.timestamp() for t in found] == [86_400, 172_800]
    assert [t.hour for t in found] == ([0, 0] if start is SPRING else [22, 22])


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_hours_fire_once_an_hour_through_a_clock_change(start):
    """Neither a skipped nor a repeated hour leaves a gap or a second fire."""
    found = every(hours=1, anchor=start).upcoming(6, start)
    pairs = itertools.pairwise([start, *found])
    assert all(b.timestamp() - a.timestamp() == 3600 for a, b in pairs)


def test_anchor_counts_in_both_directions_and_with_its_seconds():
    """An anchor to come is a phase, no start."""
    anchor = datetime(2026, 11, 27, 9, 0, 17, 900_000, tzinfo=UTC)
    trigger = every("40s", anchor=anchor)
    noon = datetime(2026, 11, 27, 8, 59, 0, tzinfo=UTC)
    assert [t.second for t in trigger.upcoming(4, noon)] == [37, 17, 57, 37]
    assert trigger.previous(noon).second == 57
    assert trigger.matches(anchor.replace(microsecond=0))
    assert not trigger.matches(anchor)


def test_interval_counts_from_where_it_begins():
    """The first slot is one interval later; then it drifts by nothing."""
    begun = every("90s").begin(1000.7)
    assert [begun.find_next(t) for t in (1000.7, 1090, 1089.9)] == [1090, 1180, 1090]
    assert begun.find_previous(1090) == 1000
    assert begun.find_previous(1090.5) == 1090
    assert every("90s", anchor="1970-01-01").begin(1000.7, UTC).find_next(1000) == 1080


def test_interval_that_has_not_begun_counts_from_the_question():
    """Two questions need not agree; `begin` settles it."""
    assert every("90s").find_next(1000.7) == 1090
    assert every("90s").find_previous(1000.7) == 911


def test_after_finish_has_one_slot():
    """The next one is known when a run has ended."""
    begun = every("90s", after_finish=True).begin(1000.25)
    assert begun.find_next(1000.25) == 1091
    assert begun.find_next(1091) is None
    assert begun.count_from(2000).find_next(1091) == 2090
    assert begun.find_previous(1092) == 1091
    assert begun.find_previous(1091) is None


def test_zone_of_the_task_reads_an_anchor_without_one():
    """Unless the trigger was given its own."""
    anchor = "2026-11-27 09:00:10"
    assert every("1h", anchor=anchor).begin(0, "Asia/Tokyo").anchor == 1795737610
    own = every("1h", anchor=anchor, timezone=UTC).begin(0, "Asia/Tokyo")
    assert own.anchor == 1795770010


@pytest.mark.parametrize(
    ("trigger", "words", "text"),
    [
        (every("90s"), "Every 90 seconds", "@every 90s"),
        (every(1), "Every second", "@every 1s"),
        (every("1m"), "Every minute", "@every 1m"),
        (every("1d"), "Every day", "@every 1d"),
        (every("26h"), "Every 1 day 2 hours", "@every 1d2h"),
        (
            every("5m", after_finish=True),
            "5 minutes after the end of each run",
            "@every 5m after finish",
        ),
        (
            every("1h", after_finish=True),
            "1 hour after the end of each run",
            "@every 1h after finish",
        ),
        (
            every("1h", anchor="2026-01-01", timezone=UTC),
            "Every hour, counted from 2026-01-01 00:00:00+00:00",
            "@every 1h from 2026-01-01T00:00:00+00:00",
        ),
    ],
)
def test_interval_has_words_and_a_text(trigger, words, text):
    """Both are for people; the text is also read."""
    assert (trigger.describe(), trigger.text) == (words, text)
    assert trigger.describe("de") == words
    with pytest.raises(InvalidOption, match="locale"):
        trigger.describe("tlh")


def test_intervals_are_values():
    """Equal, hashable, and the same in another process."""
    one = every("90s", anchor="2026-01-01", timezone="Europe/Berlin")
    assert one == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(pickle.loads(pickle.dumps(one)))
    others = [every("90s"), every("91s"), every("90s", after_finish=True), one]
    assert len({*others, *others}) == 4
    assert one != "@every 90s"
