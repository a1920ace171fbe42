"""Spans of constant offset: a zone's whole history, and its ends."""

from __future__ import annotations

import zoneinfo._zoneinfo as pure
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from ipycron.cron import CronExpression
from ipycron.cron.timezone import resolve_timezone
from ipycron.cron.zone import Zone, find_zone

START = int(datetime(1930, 1, 1, tzinfo=UTC).timestamp())
END = int(datetime(2050, 1, 1, tzinfo=UTC).timestamp())


def list_changes(name: str) -> list[tuple[int, int]]:
    """Return (instant, new offset) for every change, read from the zone's file."""
    zone = pure.ZoneInfo.no_cache(name)
    changes, offset = [], int(zone._tti_before.utcoff.total_seconds())
    for instant, kind in zip(zone._trans_utc, zone._ttinfos, strict=True):
        seconds = int(kind.utcoff.total_seconds())
        if seconds != offset:
            changes.append((instant, seconds))
        offset = seconds
    return changes


@pytest.mark.parametrize(
    "name",
    [
        "Africa/Casablanca",  # two changes a month apart, every year
        "Africa/Freetown",  # four days between two changes in 1939
        "America/Noronha",  # seven days in 2000
        "Asia/Hebron",  # seven days in 2040
        "Pacific/Apia",
        "Europe/Dublin",
        "Antarctica/Troll",
    ],
)
def test_spans_have_every_change_of_the_zones_file(name):
    """No change is missed, however close to the next."""
    zone = Zone(ZoneInfo(name))
    found, instant = [], START
    offset = zone.find_span(instant).offset
    while instant < END:
        span = zone.find_span(instant)
        assert span.start <= instant < span.end
        if span.offset != offset:
            found.append((span.start, span.offset))
        offset, instant = span.offset, span.end
    last_listed = max(instant for instant, _ in list_changes(name))
    expected = [change for change in list_changes(name) if START < change[0] < END]
    assert [change for change in found if change[0] <= last_listed] == expected


def test_fresh_tells_gaps_from_repeats():
    """`fresh` is behind at a gap, ahead at a repeated hour, equal elsewhere."""
    zone = Zone(ZoneInfo("America/New_York"))

    def lead(text: str) -> int:
        span = zone.find_span(int(datetime.fromisoformat(text).timestamp()))
        return span.fresh - (span.start + span.offset)

    assert lead("2026-03-08T07:00Z") == -3600
    assert lead("2026-11-01T06:00Z") == 3600
    fixed = Zone(timezone(timedelta(hours=5)))
    span = fixed.find_span(START)
    assert span.fresh == span.start + span.offset
    assert (span.offset, span.end - span.start) == (5 * 3600, 1 << 25)


class SetBack(tzinfo):
    """A zone whose clock is set back once, to UTC."""

    def __init__(self, change: int) -> None:
        self.change = datetime.fromtimestamp(change, UTC).replace(tzinfo=None)

    def utcoffset(self, moment: datetime) -> timedelta:
        """Return one hour until the change, none after it."""
        shown = moment.replace(tzinfo=None, fold=0)
        is_repeat = self.change <= shown < self.change + timedelta(hours=1)
        is_late = moment.fold if is_repeat else shown >= self.change
        return timedelta(hours=0 if is_late else 1)

    def fromutc(self, moment: datetime) -> datetime:
        """Return the local time of an instant in UTC."""
        elapsed = moment.replace(tzinfo=None) - self.change
        if elapsed < timedelta(0):
            return moment + timedelta(hours=1)
        return moment.replace(fold=elapsed < timedelta(hours=1))

    def dst(self, moment: datetime) -> timedelta:
        """Return the same offset: without it, the base class would not convert."""
        return self.utcoffset(moment)


def test_repeated_hour_is_known_when_a_block_begins_inside_it():
    """A change just before a block still decides what is fresh in it."""
    block = 100 << 25
    timezone = SetBack(block - 1800)
    zone = Zone(timezone)
    before, after = zone.find_span(block - 1), zone.find_span(block)
    assert (before.start, after.start) == (block - 1800, block)
    assert before.fresh == after.fresh == block + 1800
    # A quarter of an hour into the block, the clock repeats a local time.
    shown = datetime.fromtimestamp(block + 900, timezone)
    text = f"{shown.second} {shown.minute} {shown.hour} * * *"
    schedule = CronExpression(text, timezone)
    assert schedule.find_next(block) == block + 900 + 86_400
    assert schedule.find_previous(block + 1800) == block + 900 - 3600


def test_zone_is_shared_by_its_expressions():
    """Spans are computed once for all tasks in a zone."""
    assert find_zone(ZoneInfo("Europe/Paris")) is find_zone(ZoneInfo("Europe/Paris"))
    assert find_zone(UTC) is find_zone(timezone(timedelta(0)))


def test_name_and_object_resolve_to_the_same_zone():
    """An IANA name means the zone with that name."""
    assert resolve_timezone("Europe/Paris") is ZoneInfo("Europe/Paris")
    assert resolve_timezone(UTC) is UTC


def test_threads_may_search_one_zone_at_once():
    """Concurrent searches give the same results as sequential ones."""
    expressions = [
        CronExpression(f"{minute} */3 * * *", ZoneInfo.no_cache("Europe/Berlin"))
        for minute in range(8)
    ]

    def walk(expression: CronExpression) -> list[int | None]:
        return [expression.find_next(START + n * 9_000_000) for n in range(200)]

    alone = [walk(CronExpression(str(each), "Europe/Berlin")) for each in expressions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(walk, expressions)) == alone
