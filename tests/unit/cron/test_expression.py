"""`CronExpression`: a value that finds instants (E8)."""

from __future__ import annotations

import copy
import math
import pickle
import time
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
import tzlocal
from dateutil import tz as dateutil_tz

from ipycron.cron import CronExpression, parse
from ipycron.cron.walk import HORIZON
from ipycron.errors import CronSyntaxError, InvalidOption, UnknownTimezone

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)  # a Friday


def test_next_is_strictly_after_and_in_the_zone_of_the_schedule():
    """`next` returns times in the schedule's zone, whatever zone it is given."""
    nine = CronExpression("0 9 * * *", "Europe/Berlin")
    found = nine.next(datetime(2026, 11, 27, 2, tzinfo=ZoneInfo("America/New_York")))
    assert found == datetime(2026, 11, 27, 9, tzinfo=BERLIN)
    assert found.tzinfo is BERLIN
    assert nine.next(found) == datetime(2026, 11, 28, 9, tzinfo=BERLIN)


def test_next_has_whole_seconds_when_the_question_has_fractions():
    """Microseconds of the argument count, but never appear in the result."""
    second = CronExpression("* * * * * *", UTC)
    moment = NOON.replace(microsecond=1)
    assert second.next(moment) == NOON + timedelta(seconds=1)
    assert second.previous(moment) == NOON
    assert second.previous(NOON) == NOON - timedelta(seconds=1)
    late = NOON.replace(microsecond=999_999)
    assert second.next(late) == NOON + timedelta(seconds=1)
    assert second.previous(late) == NOON


def test_previous_is_strictly_before():
    """`previous` mirrors `next`."""
    nine = CronExpression("0 9 * * mon-fri", "Europe/Berlin")
    monday = datetime(2026, 11, 30, 9, tzinfo=BERLIN)
    assert nine.previous(monday) == datetime(2026, 11, 27, 9, tzinfo=BERLIN)
    assert nine.next(nine.previous(monday)) == monday


def test_upcoming_lists_fires_in_order():
    """`upcoming` is `next`, repeated."""
    schedule = CronExpression("*/20 * * * *", UTC)
    found = schedule.upcoming(4, NOON)
    assert found == [NOON + timedelta(minutes=20 * n) for n in (1, 2, 3, 4)]
    assert schedule.upcoming(0, NOON) == []
    assert schedule.upcoming(-1, NOON) == []


def test_upcoming_is_shorter_when_fires_run_out():
    """A schedule that ends has no more fires to list."""
    schedule = CronExpression("0 0 30 2 *", UTC)
    assert schedule.upcoming(3, NOON) == []


@pytest.mark.parametrize(
    ("instant", "is_match"),
    [
        (NOON, True),
        (NOON + timedelta(seconds=1), False),
        (NOON + timedelta(microseconds=1), False),
        (NOON + timedelta(days=1), False),
        (NOON.astimezone(BERLIN), True),
        (datetime(2026, 11, 27, 12, tzinfo=BERLIN), False),
    ],
)
def test_matches_is_true_for_the_instants_of_next(instant, is_match):
    """`matches` is about the instant, not about the local time shown."""
    assert CronExpression("0 12 * * fri", UTC).matches(instant) is is_match


def test_unix_seconds_in_unix_seconds_out():
    """`find_next` and `find_previous` handle fractions exactly."""
    minute = CronExpression("* * * * *", UTC)
    assert minute.find_next(60) == 120
    assert minute.find_next(59.999) == 60
    assert minute.find_next(60.0) == 120
    assert minute.find_next(-0.5) == 0
    assert minute.find_previous(60) == 0
    assert minute.find_previous(60.001) == 60
    assert minute.find_previous(-0.5) == -60
    assert isinstance(minute.find_next(59.5), int)


def test_rare_schedules_are_found_across_decades():
    """29 February on a Monday leaves up to 40 years between two fires."""
    schedule = CronExpression("0 0 * 2 mon#5", UTC)
    years = [moment.year for moment in schedule.upcoming(5, NOON)]
    assert years == [2044, 2072, 2112, 2140, 2168]
    assert schedule.previous(NOON).year == 2016


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    ("text", "day_or"),
    [("0 0 30 2 *", True), ("* * * 1 * 1#2", False), ("0 0 */100 * mon#4", True)],
)
def test_never_is_none_and_known_within_50_ms(text, day_or, zone):
    """A schedule that cannot fire is detected quickly, in both directions."""
    schedule = CronExpression(text, zone, day_or=day_or)
    began = time.process_time()
    assert schedule.next(NOON) is None
    assert schedule.previous(NOON) is None
    assert time.process_time() - began < 0.1


def test_search_ends_after_100_years():
    """A fire more than 100 years away is not found."""
    schedule = CronExpression("0 0 1 1 *", UTC)
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert schedule._find_first(int(start) + 1, int(start) + 365 * 86_400) is not None
    assert schedule._find_first(int(start) + 1, int(start) + 364 * 86_400) is None
    assert schedule._find_last(int(start) - 1, int(start) - 364 * 86_400) is None
    assert HORIZON == 100 * 365.25 * 86_400


def test_search_stays_within_the_span_that_it_is_asked_about():
    """A search that one span of the zone can answer reads no other span."""
    schedule = CronExpression("0 0 29 2 *", "America/New_York")
    middle = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
    assert schedule._find_first(middle, middle + 86_400) is None
    assert schedule._find_last(middle, middle - 86_400) is None
    assert not schedule.matches(datetime.fromtimestamp(middle, UTC))


def test_search_ends_when_the_next_local_match_is_beyond_its_end():
    """West of Greenwich, a match on the last local day may be past the end."""
    schedule = CronExpression("0 0 1 1 *", "Pacific/Niue")  # 11 hours behind
    new_year = int(datetime(2030, 1, 1, 11, tzinfo=UTC).timestamp())
    for earlier in range(0, 26 * 3600, 1800):
        before, after = new_year - 1 - earlier, new_year + 1 + earlier
        assert schedule._find_first(new_year - 300 * 86_400, before) is None
        assert schedule._find_last(new_year + 300 * 86_400, after) is None


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_ends_of_the_calendar_are_ends_of_the_search(zone):
    """Near year 1 and year 9999 the result is None, not an error."""
    minute = CronExpression("* * * * *", zone)
    last = datetime(9999, 12, 24, tzinfo=UTC)
    first = datetime(1, 1, 9, tzinfo=UTC)
    assert minute.next(last) is not None
    assert minute.previous(first) is not None
    for moment in (
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
    ):
        assert minute.next(moment) is None
        assert CronExpression("0 0 1 1 *", zone).next(moment) is None
    for moment in (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 2, tzinfo=UTC),
    ):
        assert minute.previous(moment) is None
        assert CronExpression("0 0 1 1 *", zone).previous(moment) is None
    assert minute.find_next(1e15) is None
    assert minute.find_previous(-1e15) is None
    assert minute.find_next(1e18) is None


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 1, 1), NOON.date(), 1.5, "now", None],  # noqa: DTZ001
)
def test_instant_without_a_zone_is_refused(moment):
    """An instant must be a datetime with a time zone."""
    schedule = CronExpression("* * * * *")
    for ask in (schedule.next, schedule.previous, schedule.matches):
        with pytest.raises(InvalidOption, match="expected a datetime with a time zone"):
            ask(moment)
    with pytest.raises(InvalidOption, match=r"^after: got "):
        schedule.upcoming(1, moment)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_number_that_is_not_an_instant_is_refused(value):
    """NaN and infinity are refused."""
    with pytest.raises((ValueError, OverflowError)):
        CronExpression("* * * * *").find_next(value)


def test_properties_show_what_was_given():
    """The arguments can be read but not assigned."""
    schedule = CronExpression(" 0  H * * mon ", BERLIN, day_or=False, hash_id="x")
    assert schedule.text == str(schedule) == "0 H * * mon"
    assert schedule.timezone is BERLIN
    assert schedule.day_or is False
    assert schedule.hash_id == "x"
    assert schedule.fields == parse("0 H * * mon", hash_id="x")
    assert repr(schedule) == "<CronExpression '0 H * * mon' Europe/Berlin>"
    with pytest.raises(AttributeError):
        schedule.text = "* * * * *"
    with pytest.raises(AttributeError):
        schedule.other = 1


def test_expressions_are_equal_by_text_zone_and_options():
    """Equality and hash ignore white space."""
    schedule = CronExpression("0 9 * * *", "Europe/Berlin")
    same = CronExpression("  0 9\t* * *", BERLIN)
    assert schedule == same
    assert hash(schedule) == hash(same)
    others = [
        CronExpression("00 9 * * *", "Europe/Berlin"),
        CronExpression("0 9 * * *", "Europe/Paris"),
        CronExpression("0 9 * * *", "Europe/Berlin", day_or=False),
        CronExpression("0 9 * * *", "Europe/Berlin", hash_id="x"),
    ]
    assert schedule not in others
    assert schedule != "0 9 * * *"


@pytest.mark.parametrize(
    "schedule",
    [
        CronExpression("0 9 * * mon", "Europe/Berlin"),
        CronExpression("0 9 1 * mon", UTC, day_or=False),
        CronExpression("*/5 * * * * *"),
        CronExpression("H H(2-5) * * *", timezone(timedelta(hours=2)), hash_id="name"),
        CronExpression("0 9 * * *", dateutil_tz.gettz("Europe/Berlin")),
    ],
    ids=str,
)
def test_expression_survives_pickle_and_copy(schedule):
    """A copy from another process is equal and gives the same instants."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(schedule, protocol))
        assert again == schedule
        assert hash(again) == hash(schedule)
        assert again.fields == schedule.fields
        assert again.next(NOON) == schedule.next(NOON)
    assert copy.deepcopy(schedule) == copy.copy(schedule) == schedule


def test_pickle_is_small():
    """An expression is pickled as its arguments."""
    assert len(pickle.dumps(CronExpression("*/5 * * * *", "Europe/Berlin"))) < 200


def test_system_zone_travels_as_the_system_zone(monkeypatch):
    """A system zone that is a file without a name can be pickled, too."""
    with open(f"{zoneinfo.TZPATH[0]}/Europe/Berlin", "rb") as file:  # noqa: PTH123
        nameless = ZoneInfo.from_file(file, key="local")
    monkeypatch.setattr("ipycron.cron.timezone._read_system_timezone", lambda: nameless)
    schedule = CronExpression("0 9 * * *")
    assert schedule.timezone is nameless
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert again.timezone is nameless


def test_default_zone_is_the_system_zone():
    """Without a zone, the fields are interpreted in the system's zone."""
    assert CronExpression("* * * * *").timezone == tzlocal.get_localzone()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("Berlin", "Europe/Berlin"),
        ("utc", "UTC"),
    ],
)
def test_unknown_zone_is_refused_with_a_near_name(name, suggestion):
    """The error for a misspelt zone suggests the zone that was meant."""
    with pytest.raises(UnknownTimezone) as caught:
        CronExpression("* * * * *", name)
    assert f"Did you mean {suggestion!r}?" in str(caught.value)
    assert caught.value.timezone == name


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("UTC-5", "Etc/GMT+5"),
        ("GMT+2", "Etc/GMT-2"),
        ("UTC+0", "UTC"),
        ("Asia/Calcuta", "Asia/Calcutta"),
        ("new york", "America/New_York"),
        ("Tokyo", "Asia/Tokyo"),
        ("lima", "America/Lima"),
        ("CEST", None),
        ("PST", None),
        ("IST", None),
        ("UTC+5:30", None),
        ("UTC+15", None),
        ("Pacific Standard Time", None),
        ("Eastern Standard Time", None),
        ("America/Argentina", None),
        ("Mars/Phobos", None),
    ],
)
def test_zone_is_suggested_only_where_it_has_the_offset_that_was_meant(
    name, suggestion
):
    """Abbreviations and similar names on other continents are not suggested."""
    with pytest.raises(UnknownTimezone) as caught:
        CronExpression("* * * * *", name)
    assert caught.value.suggestion == suggestion
    assert ("Did you mean" in str(caught.value)) is (suggestion is not None)
    if suggestion is not None:
        CronExpression("* * * * *", suggestion)


@pytest.mark.parametrize("name", ["", "Europe", "../etc/passwd", "/etc/passwd", "\0"])
def test_invalid_zone_name_is_refused(name):
    """Folders, paths and nonsense are unknown zones, not other errors."""
    with pytest.raises(UnknownTimezone):
        CronExpression("* * * * *", name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timezone": 2}, "timezone: got 2, expected an IANA name such as "),
        ({"day_or": 1}, "day_or: got 1, expected True or False."),
        ({"hash_id": b"x"}, "hash_id: got b'x', expected text or None."),
    ],
)
def test_option_of_a_wrong_type_is_refused(options, message):
    """Options are checked when they are given."""
    with pytest.raises(InvalidOption) as caught:
        CronExpression("* * * * *", **options)
    assert str(caught.value).startswith(message)


class _Unhashable(tzinfo):
    """A zone like dateutil's."""

    __hash__ = None

    def utcoffset(self, moment):  # noqa: ARG002 - a fixed zone
        return timedelta(hours=2)

    def dst(self, moment):  # noqa: ARG002 - a fixed zone
        return timedelta(0)

    def tzname(self, moment):  # noqa: ARG002 - a fixed zone
        return "+02"


@pytest.mark.parametrize(
    "zone",
    [_Unhashable(), timezone(timedelta(hours=2)), dateutil_tz.tzoffset("", 7200)],
)
def test_any_tzinfo_is_a_zone(zone):
    """Zones of other libraries work, hashable or not."""
    nine = CronExpression("0 9 * * *", zone)
    assert nine.next(NOON) == datetime(2026, 11, 28, 7, tzinfo=UTC)
    assert nine == CronExpression("0 9 * * *", zone)
    assert isinstance(hash(nine), int)


@pytest.mark.parametrize(
    ("text", "day_or", "reason", "caret"),
    [
        (
            "0 0 30 feb *",
            True,
            "day of month: got '30', expected a day that month feb has.",
            "    ^^",
        ),
        (
            "0 0 0 31,L-30 4,6 ?",
            True,
            "day of month: got '31,L-30', expected a day that month 4,6 has.",
            "      ^^^^^^^",
        ),
        (
            "0 0 30 2 mon",
            False,
            "day of month: got '30', expected a day that month 2 has.",
            "    ^^",
        ),
        (
            "0 0 */100 * mon#4",
            True,
            (
                "expression: the day of month, '*/100', and the day of week, 'mon#4', "
                "never match together."
            ),
            "    ^^^^^^^^^^^^^",
        ),
    ],
)
def test_schedule_that_never_fires_is_refused_with_the_reason(
    text, day_or, reason, caret
):
    """`check_fires` says why a valid expression never fires (E10)."""
    schedule = CronExpression(text, UTC, day_or=day_or)
    with pytest.raises(CronSyntaxError) as caught:
        schedule.check_fires(NOON.timestamp())
    assert str(caught.value) == f"{reason} It never fires.\n  {text}\n  {caret}"


def test_schedule_that_day_or_stops_is_refused_with_that_advice():
    """If both day fields must match because of `day_or`, the error says so."""
    schedule = CronExpression("0 0 1 * mon#3", UTC, day_or=False)
    with pytest.raises(CronSyntaxError) as caught:
        schedule.check_fires(NOON.timestamp())
    assert caught.value.message == (
        "expression: the day of month, '1', and the day of week, 'mon#3', never match "
        "together. It never fires. Without day_or=False, one match is enough."
    )


def test_schedule_that_the_clock_always_skips_is_refused():
    """An interval within the hour skipped in spring never has a time."""
    schedule = CronExpression("* 30 2 * 3 0L", "Europe/Berlin")
    with pytest.raises(CronSyntaxError) as caught:
        schedule.check_fires(NOON.timestamp())
    assert str(caught.value) == (
        "expression: the clock in Europe/Berlin always skips this time. It never fires."
    )


@pytest.mark.parametrize(
    "text", ["* * * * *", "0 0 29 2 *", "0 0 30 2 mon", "0 0 31 1-12/2 *", "@yearly"]
)
def test_schedule_that_fires_is_accepted(text):
    """`check_fires` accepts schedules that fire, however rarely."""
    CronExpression(text, "Europe/Berlin").check_fires(NOON.timestamp())
