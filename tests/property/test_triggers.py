"""Triggers against a walk that looks at every second and knows nothing of searches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from ipycron import any_of, at, every
from ipycron.cron import CronExpression
from ipycron.triggers.exclude import read_exclusions
from ipycron.triggers.exclusions import Excluded, Included, make_calendar
from tests.support.lengths import choose

ZONES = (
    *("Africa/Casablanca", "America/Asuncion", "America/Havana", "America/New_York"),
    *("America/Noronha", "America/Santiago", "America/St_Johns", "Antarctica/Troll"),
    *("Asia/Amman", "Asia/Gaza", "Asia/Kathmandu", "Asia/Tehran", "Asia/Tokyo"),
    *("Atlantic/Azores", "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin"),
    *("Pacific/Apia", "Pacific/Chatham", "UTC"),
)
HOURS = 3
EXAMPLES = choose(40, 1000)


@cache
def list_changes(name: str) -> tuple[int, ...]:
    """Return the instants from 2009 to 2037 at which a zone's offset changes."""
    zone = ZoneInfo(name)
    start = int(datetime(2009, 1, 1, tzinfo=UTC).timestamp())
    found = []
    before = datetime.fromtimestamp(start, zone).utcoffset()
    for hour in range(start, start + 28 * 31_557_600, 3600):
        offset = datetime.fromtimestamp(hour, zone).utcoffset()
        if offset != before:
            found.append(hour)
        before = offset
    return tuple(found) or (start,)


class Clock:
    """What a wall clock shows in a window of seconds."""

    def __init__(self, name: str, start: int) -> None:
        zone = ZoneInfo(name)
        self.seconds = range(start, start + HOURS * 3600)
        self.shown = [
            datetime.fromtimestamp(t, zone).replace(tzinfo=None, fold=0)
            for t in (start - 1, *self.seconds)
        ]
        # What it has shown before the window: no change repeats more than a day.
        earlier = range(start - 86_400, start, 60)
        shown = [datetime.fromtimestamp(t, zone).replace(tzinfo=None) for t in earlier]
        self.latest = max(*shown, self.shown[0])

    def list_interval(self, step: int) -> set[int]:
        """Return when the minutes shown are a multiple, also a second time."""
        return {
            t
            for t, shown in zip(self.seconds, self.shown[1:], strict=True)
            if shown.second == 0 and shown.minute % step == 0
        }

    def list_daily(self, hour: int, minute: int) -> set[int]:
        """Return when a time of day is first shown, or first passed."""
        found, latest = set(), self.latest
        for t, shown in zip(self.seconds, self.shown[1:], strict=True):
            if shown <= latest:
                continue
            target = shown.replace(hour=hour, minute=minute, second=0)
            if target > shown:
                target -= timedelta(days=1)
            if latest < target <= shown:
                found.add(t)
            latest = shown
        return found


windows = st.sampled_from(ZONES).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.sampled_from(list_changes(name)),
        st.integers(-HOURS * 3600, 0),
    )
)


def walk(trigger, seconds):
    """Return what a trigger's own search finds, forwards."""
    found, slot = [], trigger.find_next(seconds[0] - 1)
    while slot is not None and slot <= seconds[-1]:
        found.append(slot)
        slot = trigger.find_next(slot)
    return found


def walk_back(trigger, seconds):
    """Return the same, found backwards."""
    found, slot = [], trigger.find_previous(seconds[-1] + 1)
    while slot is not None and slot >= seconds[0]:
        found.append(slot)
        slot = trigger.find_previous(slot)
    return found[::-1]


@settings(max_examples=EXAMPLES)
@given(
    windows,
    st.integers(1, 5000),
    st.integers(-200_000, 200_000),
)
def test_interval_fires_at_multiples_of_elapsed_time(window, seconds, phase):
    """No change of the clock adds, drops or moves a slot; anchors to the second."""
    name, change, lead = window
    anchor = datetime.fromtimestamp(change + phase, UTC)
    trigger = every(seconds, anchor=anchor, timezone=name)
    span = range(change + lead, change + lead + HOURS * 3600)
    expected = [t for t in span if (t - (change + phase)) % seconds == 0]
    assert walk(trigger, span) == expected
    assert walk_back(trigger, span) == expected


@settings(max_examples=EXAMPLES)
@given(
    windows,
    st.integers(1, 30),
    st.tuples(st.integers(0, 23), st.integers(0, 59)),
    st.integers(60, 5000),
    st.lists(st.integers(0, HOURS * 3600 - 1), max_size=5),
)
def test_union_fires_where_a_second_by_second_walk_does(
    window, step, time_of_day, seconds, instants
):
    """Cron's two kinds, an interval and instants, through the changes of the clock."""
    name, change, lead = window
    start = change + lead
    hour, minute = time_of_day
    clock = Clock(name, start)
    marks = {start + offset for offset in instants} or {start}
    zone = ZoneInfo(name)
    trigger = any_of(
        CronExpression(f"*/{step} * * * *", name),
        CronExpression(f"{minute} {hour} * * *", name),
        every(seconds, anchor=datetime.fromtimestamp(change, UTC)),
        at(*(datetime.fromtimestamp(mark, zone) for mark in marks)),
        timezone=name,
    )
    expected = sorted(
        clock.list_interval(step)
        | clock.list_daily(hour, minute)
        | {t for t in clock.seconds if (t - change) % seconds == 0}
        | marks
    )
    assert walk(trigger, clock.seconds) == expected
    assert walk_back(trigger, clock.seconds) == expected
    assert all(trigger.matches(datetime.fromtimestamp(t, zone)) for t in expected)


def is_shown_excluded(shown, days, begin, end, dates):
    """Return whether what a clock shows is excluded: by its reader's eyes."""
    clock = (shown.hour * 60 + shown.minute) * 60 + shown.second
    if begin < end:
        in_week = shown.weekday() in days and begin <= clock < end
    else:
        in_week = (shown.weekday() in days and clock >= begin) or (
            (shown.weekday() - 1) % 7 in days and clock < end
        )
    return in_week or shown.date() in dates


@settings(max_examples=EXAMPLES)
@given(
    windows,
    st.sets(st.integers(0, 6), min_size=1),
    st.tuples(st.integers(0, 1439), st.integers(0, 1439)).filter(
        lambda t: t[0] != t[1]
    ),
    st.sets(st.integers(-1, 1)),
    st.tuples(st.integers(1, 30), st.booleans()),
)
def test_exclusions_leave_out_what_a_second_by_second_walk_does(
    window, days, times, nearby, schedule
):
    """Parts of the week and whole days, as clocks show them, through their changes."""
    name, change, lead = window
    step, moves = schedule
    zone = ZoneInfo(name)
    clock = Clock(name, change + lead)
    today = clock.shown[1].date()
    dates = {today + timedelta(days=n) for n in nearby if n}
    begin, end = (minutes * 60 for minutes in times)
    names = ",".join(
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][day] for day in days
    )
    clocks = "-".join(f"{m // 60:02}:{m % 60:02}" for m in times)
    given_by_user = [f"{names} {clocks}", *dates]
    exclusions = read_exclusions(given_by_user, zone, now=change)
    calendar = make_calendar(exclusions, zone)
    trigger = CronExpression(f"*/{step} * * * *", name)
    excluded = {
        t
        for t, shown in zip(clock.seconds, clock.shown[1:], strict=True)
        if is_shown_excluded(shown, days, begin, end, dates)
    }
    slots = clock.list_interval(step)
    left = slots - excluded
    if moves:
        # Only periods that begin within the window are known to the walk.
        began = is_shown_excluded(clock.shown[0], days, begin, end, dates)
        pending = False
        for t in clock.seconds:
            if t in excluded:
                pending |= t in slots
            else:
                if pending and not began:
                    left.add(t)
                began = pending = False
    found = walk(Included(trigger, calendar, moves), clock.seconds)
    first_free = next((t for t in clock.seconds if t not in excluded), None)
    has_begun = clock.seconds[0] in excluded
    if moves and has_begun and first_free not in left:
        found = [t for t in found if t != first_free]
    assert found == sorted(left)
    gone = walk(Excluded(trigger, calendar, clock.seconds[-1]), clock.seconds)
    assert gone == sorted(slots & excluded)
    for t in list(clock.seconds)[:: len(clock.seconds) // 50]:
        assert calendar.is_excluded(t) == (t in excluded)
