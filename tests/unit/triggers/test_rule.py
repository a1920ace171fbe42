"""`rrule`: recurrence rules. They are compared with python-dateutil in `property`."""

import pickle
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ipycron import rrule
from ipycron.errors import CronSyntaxError, InvalidOption
from ipycron.process.wire.triggers import describe_trigger, make_trigger
from ipycron.triggers.union import read_trigger, split_trigger

BERLIN = ZoneInfo("Europe/Berlin")
NOV = datetime(2026, 11, 27, 12, 30, 15, tzinfo=BERLIN)


def fires(trigger, count=3, after=NOV):
    """Return the next fires as local times."""
    return [f"{t:%m-%d %H:%M:%S}" for t in trigger.upcoming(count, after)]


def test_rule_without_a_start_counts_from_midnight():
    """A rule without a time of day fires at midnight, like @daily."""
    last_friday = rrule("FREQ=MONTHLY;BYDAY=-1FR", timezone=BERLIN)
    assert fires(last_friday, 2) == ["12-25 00:00:00", "01-29 00:00:00"]
    hourly = rrule("FREQ=HOURLY;INTERVAL=6", timezone=BERLIN).begin(NOV.timestamp())
    assert fires(hourly, 2) == ["11-27 18:00:00", "11-28 00:00:00"]


def test_start_says_what_the_rule_leaves_open():
    """The day, the time, and where intervals count from."""
    start = datetime(2026, 11, 25, 9, 5, 30)  # noqa: DTZ001 - in the rule's zone
    assert fires(rrule("FREQ=WEEKLY;INTERVAL=2", start, BERLIN), 2) == [
        "12-09 09:05:30",
        "12-23 09:05:30",
    ]
    text = "DTSTART;TZID=Europe/Berlin:20261125T090530 RRULE:FREQ=WEEKLY;INTERVAL=2"
    assert rrule(text) == rrule("FREQ=WEEKLY;INTERVAL=2", start, BERLIN)
    assert rrule(text.replace(" ", "\n")) == rrule(text)
    assert fires(rrule("FREQ=YEARLY", "2024-02-29", BERLIN), 1) == ["02-29 00:00:00"]


def test_count_counts_from_the_start_of_the_task():
    """Slots of the day before that are none of them."""
    trigger = rrule("FREQ=HOURLY;COUNT=2", timezone=BERLIN).begin(NOV.timestamp())
    assert fires(trigger, 5) == ["11-27 13:00:00", "11-27 14:00:00"]
    assert trigger.is_finite
    assert trigger.previous(NOV) is None


def test_until_includes_its_instant():
    """In local time, in UTC, or as the end of a day."""
    daily = "FREQ=DAILY;BYHOUR=9;UNTIL="
    for until, last in (
        ("20261129T090000", "11-29 09:00:00"),
        ("20261129T085959", "11-28 09:00:00"),
        ("20261129T080000Z", "11-29 09:00:00"),
        ("20261129T075959Z", "11-28 09:00:00"),
        ("20261129", "11-29 09:00:00"),
    ):
        trigger = rrule(daily + until, timezone=BERLIN).begin(NOV.timestamp())
        assert fires(trigger, 9)[-1] == last
        assert f"{trigger.previous(NOV + timedelta(days=99)):%m-%d %H:%M:%S}" == last
        assert trigger.is_finite


def test_position_picks_from_a_set():
    """The last working day, the second and third time of each hour."""
    last = rrule("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYHOUR=9", None, BERLIN)
    assert fires(last) == ["11-30 09:00:00", "12-31 09:00:00", "01-29 09:00:00"]
    some = rrule("FREQ=HOURLY;BYMINUTE=5,10,15;BYSETPOS=2,3", None, BERLIN)
    assert fires(some) == ["11-27 13:10:00", "11-27 13:15:00", "11-27 14:10:00"]


def test_time_of_day_comes_once_through_a_clock_change():
    """A skipped one right after the gap, a repeated one the first time; as cron's."""
    daily = rrule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", None, BERLIN)
    spring = daily.upcoming(3, datetime(2026, 3, 28, tzinfo=BERLIN))
    assert [f"{t:%d %H:%M}" for t in spring] == ["28 02:30", "29 03:00", "30 02:30"]
    autumn = daily.upcoming(3, datetime(2026, 10, 24, tzinfo=BERLIN))
    assert [f"{t:%d %H:%M %Z}" for t in autumn] == [
        "24 02:30 CEST",
        "25 02:30 CEST",
        "26 02:30 CET",
    ]


def test_hours_follow_the_clock_through_a_change():
    """A repeated hour has two fires, a skipped one none."""
    hourly = rrule("FREQ=HOURLY", None, BERLIN)
    autumn = hourly.upcoming(4, datetime(2026, 10, 25, 0, 30, tzinfo=BERLIN))
    assert [f"{t:%H %Z}" for t in autumn] == ["01 CEST", "02 CEST", "02 CET", "03 CET"]
    spring = hourly.upcoming(3, datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN))
    assert [f"{t:%H}" for t in spring] == ["01", "03", "04"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FREQ=FORTNIGHTLY", "got 'FREQ=FORTNIGHTLY', expected one of YEARLY"),
        ("FREQ=MONTLY", "Did you mean 'MONTHLY'?"),
        ("INTERVAL=2", "expected FREQ= with one of"),
        ("FREQ=DAILY;BYDAYS=MO", "Did you mean 'BYDAY'?"),
        ("FREQ=DAILY;FREQ=DAILY", "each part once"),
        ("FREQ=DAILY;INTERVAL=0", "expected a number from 1 to 100,000"),
        ("FREQ=DAILY;INTERVAL=-1", "expected a number from 1 to 100,000"),
        ("FREQ=DAILY;COUNT=0", "expected a number from 1 to 10,000"),
        ("FREQ=DAILY;COUNT=99999999999", "expected a number from 1 to 10,000"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101", "expected one of them"),
        ("FREQ=DAILY;UNTIL=tomorrow", "expected a date such as 20261231"),
        ("FREQ=DAILY;UNTIL=20261350", "expected a date such as 20261231"),
        ("FREQ=DAILY;BYHOUR=24", "expected numbers from 0 to 23"),
        ("FREQ=DAILY;BYHOUR=9,", "expected numbers from 0 to 23"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "expected numbers from 1 to 31, or from -31"),
        ("FREQ=MONTHLY;BYDAY=FRI", "expected weekdays such as MO, 1MO or -1FR"),
        ("FREQ=MONTHLY;BYDAY=0FR", "expected weekdays such as MO, 1MO or -1FR"),
        ("FREQ=WEEKLY;BYDAY=1MO", "expected one with MONTHLY or YEARLY only"),
        ("FREQ=MONTHLY;BYWEEKNO=3", "expected it with YEARLY only"),
        ("FREQ=MONTHLY;BYSETPOS=1", "expected it beside another part"),
        ("FREQ=DAILY BYHOUR=9", "expected one rule such as"),
        ("RRULE:", "expected NAME=VALUE with one of FREQ"),
        ("", "expected one rule such as"),
        ("DTSTART:soon RRULE:FREQ=DAILY", "DTSTART: got 'soon'"),
        (5, "expected text such as"),
    ],
)
def test_nonsense_is_refused_with_the_part_that_is_wrong(text, message):
    """In one line."""
    with pytest.raises(CronSyntaxError) as caught:
        rrule(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "way"), [("EXDATE", "exclude="), ("rdate", "any_of(rrule(…), at(…))")]
)
def test_other_lines_of_a_calendar_are_answered_with_what_says_it_here(line, way):
    """Both are copied along with the rule."""
    with pytest.raises(CronSyntaxError) as caught:
        rrule(f"RRULE:FREQ=DAILY\n{line}:20261201T090000")
    assert caught.value.suggestion.startswith(way)


def test_two_starts_are_refused():
    """Which of them holds would be a guess."""
    with pytest.raises(InvalidOption, match="none beside a DTSTART"):
        rrule("DTSTART:20261201T090000 RRULE:FREQ=DAILY", "2026-12-01")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "never fires: its dates do not exist"),
        ("FREQ=MINUTELY;INTERVAL=7200;BYMINUTE=7;BYHOUR=5", "never fires"),
        ("FREQ=SECONDLY;INTERVAL=40;BYSECOND=7", "never fires"),
        ("FREQ=SECONDLY;INTERVAL=86399;BYHOUR=3;BYMINUTE=0;BYSECOND=1", "never fires"),
        ("FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6", "never fires"),
        ("DTSTART:20200101T090000 RRULE:FREQ=DAILY;COUNT=2", "is over: its last fire"),
        ("FREQ=DAILY;UNTIL=20200101", "is over: its last fire"),
    ],
)
def test_rule_that_never_fires_is_refused(text, message):
    """Without an endless search."""
    trigger = rrule(text, timezone=BERLIN).begin(NOV.timestamp())
    with pytest.raises(CronSyntaxError, match=message):
        trigger.check_fires(NOV.timestamp())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9", "Every month on the last Friday at 09:00"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;BYHOUR=9,17;BYMINUTE=30",
            "Every 2 weeks on Monday and Friday at 09:30 and 17:30",
        ),
        ("FREQ=HOURLY;BYMINUTE=5;COUNT=3", "Every hour at minutes 5, 3 times"),
        (
            "FREQ=YEARLY;BYMONTH=1,12;BYMONTHDAY=-1;BYHOUR=0;UNTIL=20301231T000000Z",
            (
                "Every year in January and December on the last day of the month at "
                "00:00 until 2030-12-31 00:00 UTC"
            ),
        ),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU;BYHOUR=9;BYSETPOS=-2",
            (
                "Every month on Monday and Tuesday at 09:00 (the 2nd last time of each "
                "month)"
            ),
        ),
        ("FREQ=YEARLY;BYYEARDAY=100;BYHOUR=1", None),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO;BYHOUR=1", None),
    ],
)
def test_rule_has_words(text, words):
    """In English; a locale that does not exist is a mistake."""
    said = rrule(text).describe("de")
    assert said == (words or said)
    assert said.startswith("Every ")
    with pytest.raises(InvalidOption):
        rrule(text).describe("tlh")


@pytest.mark.parametrize(
    "text",
    [
        "RRULE:FREQ=MONTHLY;BYDAY=-1FR",
        "RRULE:FREQ=DAILY;COUNT=5",
        "DTSTART:20261201T090000 RRULE:FREQ=DAILY;INTERVAL=3;COUNT=5",
        "DTSTART:20261201T090000 RRULE:FREQ=DAILY;UNTIL=20271231T000000Z",
        "DTSTART:00991201T090000 RRULE:FREQ=DAILY",
    ],
)
def test_rule_is_a_value(text):
    """It travels, and its text is read as the same rule."""
    given = read_trigger(text, BERLIN)
    assert given.text == text
    for trigger in (given, given.begin(NOV.timestamp())):
        for copy in (
            pickle.loads(pickle.dumps(trigger)),
            make_trigger(describe_trigger(trigger)),
        ):
            assert (copy, hash(copy), copy.text) == (trigger, hash(trigger), text)
            assert fires(copy) == fires(trigger)
    assert read_trigger(text, UTC) != given
    assert given != text


def test_rule_is_split_from_words():
    """In magics and on the command line."""
    rule = "RRULE:FREQ=DAILY;BYHOUR=9"
    assert split_trigger([rule, "job.py"]) == (rule, ("job.py",))
    both = f"DTSTART:20261201T090000 {rule}"
    assert split_trigger([*both.split(), "job.py"]) == (both, ("job.py",))
    assert split_trigger(["FREQ=DAILY", "job.py"]) == ("FREQ=DAILY", ("job.py",))
    assert split_trigger(["RRULE:FREQ=SOMETIMES", "job.py"]) is None
