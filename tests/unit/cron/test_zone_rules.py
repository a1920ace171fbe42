# ruff: noqa: D102, D103, ARG002 - tzinfo has these methods, and helpers are plain
"""Zones without a name in the tz database: files, ``TZ``, any tzinfo."""

from __future__ import annotations

import os
import pickle
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import dateutil.tz
import pytest

from ipycron.cron import CronExpression
from ipycron.cron.timezone import is_named, read_localtime, read_variable
from ipycron.cron.zone_rules import find_rules, load_rules
from ipycron.errors import InvalidOption, UnknownTimezone

DATABASE = Path("/usr/share/zoneinfo")
YEAR = range(1_767_225_600, 1_798_761_600, 10_007)  # 2026
SECONDS = (0, 1_000_000_000, 1_790_000_000, 2_500_000_000, 4_500_000_000)


class Localized(tzinfo):
    """A zone like pytz's: `fromutc` returns times with another tzinfo."""

    def __init__(self, offset=timedelta(minutes=53), inner=None):
        self._offset, self._inner = offset, inner or ZoneInfo("Europe/Berlin")

    def utcoffset(self, moment):
        return None if moment is None else self._offset

    def dst(self, moment):
        return timedelta(0)

    def tzname(self, moment):
        return "X"

    def fromutc(self, moment):
        inner = moment.replace(tzinfo=UTC).astimezone(self._inner)
        return inner.replace(tzinfo=Localized(inner.utcoffset(), self._inner))


class HalfHour(tzinfo):
    """A user's own zone, with daylight saving time of half an hour."""

    def utcoffset(self, moment):
        return timedelta(hours=10, minutes=30) + self.dst(moment)

    def dst(self, moment):
        return timedelta(minutes=30 * (not 4 <= moment.month < 10))

    def tzname(self, moment):
        return "Ö" * 300


def read(path, key):
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=key)


STRANGERS = {
    "file": lambda: read(DATABASE / "Asia/Tokyo", "Office/Tokyo"),
    "file-of-a-false-name": lambda: read(DATABASE / "Asia/Gaza", "Europe/Berlin"),
    "file-without-a-name": lambda: read(DATABASE / "Australia/Lord_Howe", None),
    "dateutil": lambda: dateutil.tz.gettz("Europe/Berlin"),
    "dateutil-offset": lambda: dateutil.tz.tzoffset("X", -5400),
    "as-pytz": Localized,
    "own": HalfHour,
    "named-offset": lambda: timezone(timedelta(hours=2), "Office"),
    "seconds": lambda: timezone(timedelta(seconds=75)),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_rules_are_those_of_the_zone(kind):
    """The rules give the same local time at every instant, whatever their name."""
    zone = STRANGERS[kind]()
    again = load_rules(find_rules(zone))
    assert not is_named(again)
    assert str(again) == str(zone)
    for instant in (*SECONDS, *YEAR):
        moment = datetime.fromtimestamp(instant, zone)
        assert datetime.fromtimestamp(instant, again).utcoffset() == moment.utcoffset()
    assert find_rules(zone) is find_rules(zone)


@pytest.mark.parametrize("kind", ["file", "file-of-a-false-name"])
def test_expression_in_a_zone_of_a_file_is_pickled(kind):
    """`zoneinfo` would refuse to pickle such a zone, or send only its name."""
    schedule = CronExpression("0 9 * * *", STRANGERS[kind]())
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert again.next(noon) == schedule.next(noon)


def test_only_zones_of_the_database_go_by_their_names():
    """Whoever reads a file can choose any key for it."""
    assert is_named(ZoneInfo("Asia/Tokyo"))
    assert is_named(ZoneInfo.no_cache("Asia/Tokyo"))
    assert not is_named(read(DATABASE / "Asia/Tokyo", "Asia/Tokyo"))
    assert not is_named(UTC)


@pytest.mark.parametrize(
    "text",
    [
        "EST5",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "<+03>-3",
        "IST-5:30",
        "NZST-12NZDT,M9.5.0,M4.1.0/3",
        "EST5EDT4,J60,J300/1:30",
        "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",
        "Asia/Tokyo",
        ":Asia/Tokyo",
        "EST5EDT",
        "CET-1CEST",
        "IST-5:30IDT",
        "AAA3BBB",
        "<+01>-1<+03>-3",
        "/usr/share/zoneinfo/Asia/Kathmandu",
        "",
    ],
)
def test_variable_is_read_as_the_c_library_reads_it(text, monkeypatch):
    """Compared with `localtime` throughout a year."""
    monkeypatch.setenv("TZ", text)
    time.tzset()
    try:
        zone = read_variable(text)
        for instant in YEAR:
            offset = datetime.fromtimestamp(instant, zone).utcoffset()
            assert offset.total_seconds() == time.localtime(instant).tm_gmtoff
    finally:
        monkeypatch.undo()
        time.tzset()


def test_variable_without_dates_has_those_of_the_c_library():
    """POSIX leaves the dates to the system, usually the second Sunday of March."""
    zone = read_variable("CET-1CEST")
    hours = [
        datetime(2026, *day, 12, tzinfo=zone).utcoffset() / timedelta(hours=1)
        for day in ((3, 7), (3, 9), (10, 31), (11, 2))
    ]
    assert hours == [1, 2, 2, 1]


@pytest.mark.parametrize(
    "text",
    [
        "Foo/Bar",
        '"Europe/Berlin"',
        "CEST",
        "X5",
        "/nowhere",
        "/etc/passwd",
        "EST+25",
        "XXX-24",
        "ABC24:59:59",
        "AAA-23BBB,M3.2.0,M11.1.0",
        "AAA23BBB24,M3.2.0,M3.3.0",
        "CET-1CEST,M13.1.0,M10.5.0",
    ],
)
def test_variable_that_says_nothing_is_one_error_that_names_it(text):
    """The C library would silently use UTC."""
    with pytest.raises(UnknownTimezone) as caught:
        read_variable(text)
    assert str(caught.value).startswith(
        f"the environment variable TZ: got {text!r}, expected an IANA name"
    )


def test_file_in_the_place_of_localtime_is_read(tmp_path):
    """A copied file has rules but no name: its path is shown."""
    assert read_localtime(str(tmp_path)) is None
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "localtime"
    path.write_bytes((DATABASE / "Asia/Tokyo").read_bytes())
    zone = read_localtime(str(tmp_path))
    assert str(zone) == str(path)
    assert datetime.fromtimestamp(0, zone).utcoffset() == timedelta(hours=9)
    name = tmp_path / "etc" / "timezone"
    name.write_text("Asia/Tokyo\n")
    assert read_localtime(str(tmp_path)) is ZoneInfo("Asia/Tokyo")
    name.write_text("Europe/Paris\n")
    assert str(read_localtime(str(tmp_path))) == str(path)
    path.write_bytes(b"TZif")
    assert read_localtime(str(tmp_path)) is None


def test_path_into_the_database_is_its_name():
    """``TZ=/usr/share/zoneinfo/Asia/Tokyo`` means that zone."""
    zone = read_variable(os.fspath(DATABASE / "Asia/Tokyo"))
    assert zone is ZoneInfo("Asia/Tokyo")


class Silent(tzinfo):
    """A zone without offsets."""

    def utcoffset(self, moment):
        return None

    def dst(self, moment):
        return None

    def tzname(self, moment):
        return None


class Summer(Silent):
    """A zone without an offset in winter."""

    def utcoffset(self, moment):
        return timedelta(hours=2) if moment and moment.month == 7 else None


class Broken(Silent):
    """A zone that raises."""

    def utcoffset(self, moment):
        return {}["offset"]


@pytest.mark.parametrize("zone", [Silent(), Summer(), Broken(), tzinfo()])
def test_tzinfo_that_does_not_know_its_offset_is_refused(zone):
    """The same error for a zone and for the zone of an instant."""
    with pytest.raises(InvalidOption, match="expected a tzinfo that returns its"):
        CronExpression("* * * * *", zone)
    moment = datetime(2026, 1, 1, tzinfo=zone)
    with pytest.raises(InvalidOption, match="expected a datetime with a time zone"):
        CronExpression("* * * * *", UTC).next(moment)
