"""The search compared with brute force: an oracle that steps through real time.

The oracle shares nothing with the engine but the text. It reads the fields with a
reader of its own, asks `zoneinfo` what the clock shows at every single minute (or
second), and applies E7 as it is written: an interval fires when the clock shows a
matching time; a fixed time fires when the clock first shows it or has passed it.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipycron.cron import CronExpression, parse

DAY = 86_400
WARM_UP = 6 * 3600  # longer than any of the changes below sets a clock back

# A zone and an instant shortly before one of its changes.
CHANGES = [
    ("America/New_York", "2026-03-08T07:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00Z"),
    ("Europe/London", "2026-03-29T01:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    ("America/Havana", "2026-03-08T05:00Z"),
    ("America/Havana", "2026-11-01T05:00Z"),
    ("Asia/Beirut", "2026-03-28T22:00Z"),
    ("Asia/Beirut", "2026-10-24T21:00Z"),
    ("America/Santiago", "2026-04-05T03:00Z"),
    ("America/Santiago", "2026-09-06T04:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00Z"),
    ("Pacific/Chatham", "2026-09-26T14:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00Z"),
    ("Africa/Casablanca", "2026-03-22T02:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("America/Juneau", "1983-10-30T10:00Z"),  # two hours back at once
    ("Asia/Kathmandu", "1985-12-31T18:30Z"),  # a quarter of an hour, permanently
    ("UTC", "2026-03-01T00:00Z"),
]

LIMITS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "weekday": (0, 6),
}


# --- the oracle --------------------------------------------------------------------


def read_field(name: str, text: str) -> tuple[set[int], list[str]]:
    """Return the numbers and the day tokens of a field."""
    low, high = LIMITS[name]
    numbers: set[int] = set()
    tokens = []
    for item in text.split(","):
        if any(sign in item for sign in "LW#"):
            tokens.append(item)
            continue
        base, _, step = item.partition("/")
        if base in ("*", "?"):
            walk = list(range(low, high + 1))
        elif "-" in base:
            first, last = map(int, base.split("-"))
            walk = [first]
            while walk[-1] != last:
                walk.append(walk[-1] + 1 if walk[-1] < high else low)
        else:
            walk = list(range(int(base), high + 1)) if step else [int(base)]
        numbers.update(walk[:: int(step or 1)])
    return numbers, tokens


def find_workday(year: int, month: int, target: int) -> int:
    """Return the workday of the month nearest to a day."""
    last = calendar.monthrange(year, month)[1]
    workdays = [n for n in range(1, last + 1) if calendar.weekday(year, month, n) < 5]
    return min(workdays, key=lambda n: (abs(n - target), n > target))


class Oracle:
    """One expression, parsed and evaluated without the engine."""

    def __init__(self, text: str, zone: str, *, day_or: bool = True) -> None:
        words = ["0", *text.split()][-6:]
        self.read = {
            name: read_field(name, word)
            for name, word in zip(LIMITS, words, strict=True)
        }
        starred = [word[0] in "*?" for word in words]
        is_second_given = len(text.split()) == 6
        self.is_interval = any(starred[0 if is_second_given else 1 : 3])
        self.is_either = day_or and not starred[3] and not starred[5]
        self.timezone = ZoneInfo(zone)
        self.days: dict[date, bool] = {}

    def walk(self, first: int, last: int, step: int) -> list[int]:
        """Return the fires from `first` to `last`, looking at every `step` seconds."""
        tick = timedelta(seconds=step)
        fires, reached = [], None
        # Begin earlier, so that a repeated hour is known as one.
        for instant in range(first - WARM_UP, last + 1, step):
            shown = datetime.fromtimestamp(instant, self.timezone)
            shown = shown.replace(tzinfo=None, fold=0)
            if self.is_interval:
                is_fire = self.is_shown(shown)
            else:
                is_fire, passed = False, shown if reached is None else reached + tick
                while passed <= shown:  # more than once where the clock skips
                    is_fire = is_fire or self.is_shown(passed)
                    passed += tick
                reached = shown if reached is None else max(reached, shown)
            if is_fire and instant >= first:
                fires.append(instant)
        return fires

    def is_shown(self, shown: datetime) -> bool:
        """Return whether the expression matches a local time."""
        if (
            shown.second not in self.read["second"][0]
            or shown.minute not in self.read["minute"][0]
            or shown.hour not in self.read["hour"][0]
        ):
            return False
        day = shown.date()
        if day not in self.days:
            self.days[day] = self.is_day(day)
        return self.days[day]

    def is_day(self, day: date) -> bool:
        """Return whether the three day fields include a date."""
        if day.month not in self.read["month"][0]:
            return False
        of_month, of_week = self.is_day_of_month(day), self.is_day_of_week(day)
        return (of_month or of_week) if self.is_either else (of_month and of_week)

    def is_day_of_month(self, day: date) -> bool:
        """Return whether the day of month includes a date."""
        days, tokens = self.read["day"]
        last = calendar.monthrange(day.year, day.month)[1]
        chosen = set(days)
        for token in tokens:
            if token == "LW":
                chosen.add(find_workday(day.year, day.month, last))
            elif token.endswith("W"):
                if int(token[:-1]) <= last:
                    chosen.add(find_workday(day.year, day.month, int(token[:-1])))
            else:
                chosen.add(last - int(token[2:] or 0))
        return day.day in chosen

    def is_day_of_week(self, day: date) -> bool:
        """Return whether the day of week includes a date."""
        numbers, tokens = self.read["weekday"]
        weekday = day.isoweekday() % 7
        week_later = day + timedelta(days=7)
        for token in tokens:
            if int(token[0]) == weekday:
                if token.endswith("L") and week_later.month != day.month:
                    return True
                if token[1] == "#" and (day.day + 6) // 7 == int(token[2]):
                    return True
        return weekday in numbers


# --- expressions -------------------------------------------------------------------


def items(name: str) -> st.SearchStrategy[str]:
    """Draw a list item."""
    low, high = LIMITS[name]
    number = st.integers(low, high).map(str)
    step = st.integers(1, high).map(lambda n: f"/{n}")
    pair = st.tuples(number, number).map("-".join)
    return st.one_of(
        number,
        pair,
        st.tuples(pair, step).map("".join),
        st.tuples(number, step).map("".join),
        step.map("*{}".format),
    )


def words(name: str) -> st.SearchStrategy[str]:
    """Draw a field."""
    item = items(name)
    if name == "day":
        item |= st.sampled_from(["L", "LW", "L-1", "L-5", "1W", "15W", "31W", "L-30"])
    if name == "weekday":
        ordinal = st.tuples(st.sampled_from("0123456"), st.sampled_from("12345"))
        item |= ordinal.map("#".join) | st.sampled_from(["0L", "5L", "6L"])
    lists = st.lists(item, min_size=1, max_size=3).map(",".join)
    return st.just("*") | st.just("*") | lists


FIVE = st.tuples(*(words(name) for name in list(LIMITS)[1:])).map(" ".join)
SIX = st.tuples(*(words(name) for name in LIMITS)).map(" ".join)
# Time fields free, day fields open: these fire near any instant.
DAILY = st.tuples(words("minute"), words("hour")).map(lambda w: f"{w[0]} {w[1]} * * *")
SECONDLY = st.tuples(words("second"), words("minute"), words("hour")).map(
    lambda w: f"{w[0]} {w[1]} {w[2]} * * *"
)
NEAR = st.sampled_from(CHANGES)


def find_all(schedule: CronExpression, first: int, last: int) -> list[int]:
    """Return the engine's fires from `first` to `last`."""
    fires, instant = [], schedule.find_next(first - 1)
    while instant is not None and instant <= last:
        fires.append(instant)
        instant = schedule.find_next(instant)
    return fires


def find_all_backwards(schedule: CronExpression, first: int, last: int) -> list[int]:
    """Return the engine's fires from `first` to `last`, found from the end."""
    fires, instant = [], schedule.find_previous(last + 1)
    while instant is not None and instant >= first:
        fires.append(instant)
        instant = schedule.find_previous(instant)
    return fires[::-1]


# --- properties --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(text=DAILY | FIVE, change=NEAR, day_or=st.booleans())
@example(text="30 2 * * *", change=CHANGES[0], day_or=True)
@example(text="0,20,40 1 * * *", change=CHANGES[1], day_or=True)
@example(text="0 0 * * *", change=("America/Havana", "2026-03-08T05:00Z"), day_or=True)
@example(text="0 9 30 12 *", change=("Pacific/Apia", "2011-12-30T10:00Z"), day_or=True)
@example(text="*/7 1-3 * * *", change=CHANGES[12], day_or=False)
def test_fires_are_those_of_every_minute_around_a_change(text, change, day_or):
    """Three days around a change, compared minute by minute."""
    zone, moment = change
    middle = int(datetime.fromisoformat(moment).timestamp())
    first, last = middle - DAY, middle + 2 * DAY
    schedule = CronExpression(text, zone, day_or=day_or)
    expected = Oracle(text, zone, day_or=day_or).walk(first, last, 60)
    assert find_all(schedule, first, last) == expected
    assert find_all_backwards(schedule, first, last) == expected


@settings(max_examples=12, deadline=None)
@given(text=FIVE, change=NEAR, day_or=st.booleans(), ahead=st.integers(0, 30))
def test_fires_are_those_of_every_minute_over_40_days(text, change, day_or, ahead):
    """Forty days around a change: nothing between two fires matches."""
    zone, moment = change
    first = int(datetime.fromisoformat(moment).timestamp()) - ahead * DAY
    last = first + 40 * DAY
    schedule = CronExpression(text, zone, day_or=day_or)
    expected = Oracle(text, zone, day_or=day_or).walk(first, last, 60)
    assert find_all(schedule, first, last) == expected


@settings(max_examples=10, deadline=None)
@given(text=SECONDLY, change=NEAR)
@example(text="5,35 30 2 * * *", change=CHANGES[0])
@example(text="*/7 59 1 * * *", change=CHANGES[1])
@example(text="59 59 23 * * *", change=("Asia/Beirut", "2026-10-24T21:00Z"))
def test_fires_are_those_of_every_second_over_a_day(text, change):
    """Six fields follow the same rule, compared second by second (E7)."""
    zone, moment = change
    middle = int(datetime.fromisoformat(moment).timestamp())
    first, last = middle - DAY // 2, middle + DAY // 2
    schedule = CronExpression(text, zone)
    expected = Oracle(text, zone).walk(first, last, 1)
    assert find_all(schedule, first, last) == expected
    assert find_all_backwards(schedule, first, last) == expected


@settings(max_examples=300, deadline=None)
@given(
    text=FIVE | SIX,
    change=NEAR,
    day_or=st.booleans(),
    shift=st.floats(-40 * DAY, 40 * DAY),
)
def test_next_and_previous_mirror_each_other(text, change, day_or, shift):
    """Both are strict, both results match, and each undoes the other."""
    zone, moment = change
    instant = datetime.fromisoformat(moment).timestamp() + shift
    schedule = CronExpression(text, zone, day_or=day_or)
    following = schedule.find_next(instant)
    preceding = schedule.find_previous(instant)
    if following is not None:
        assert following > instant
        assert schedule.matches(datetime.fromtimestamp(following, UTC))
        before = schedule.find_previous(following)
        assert before == (preceding if instant != before else instant)
        assert before is None or before <= instant
    if preceding is not None:
        assert preceding < instant
        assert schedule.matches(datetime.fromtimestamp(preceding, UTC))
        after = schedule.find_next(preceding)
        assert after is None or after >= instant


@settings(max_examples=200, deadline=None)
@given(
    text=FIVE | SIX, change=NEAR, shift=st.integers(-DAY, DAY), micro=st.integers(0, 3)
)
def test_matches_holds_for_the_instants_of_next_alone(text, change, shift, micro):
    """An instant matches exactly if `next` of just before returns it."""
    zone, moment = change
    schedule = CronExpression(text, zone)
    instant = datetime.fromisoformat(moment) + timedelta(seconds=shift)
    instant += timedelta(microseconds=micro)
    following = schedule.next(instant - timedelta(microseconds=1))
    is_fire = following is not None and following.timestamp() == instant.timestamp()
    assert schedule.matches(instant) is is_fire


@settings(max_examples=200, deadline=None)
@given(text=FIVE | SIX, change=NEAR, day_or=st.booleans())
def test_text_of_an_expression_is_the_expression(text, change, day_or):
    """`str` returns a text that gives an equal expression."""
    schedule = CronExpression(text, change[0], day_or=day_or)
    assert CronExpression(str(schedule), change[0], day_or=day_or) == schedule
    assert parse(str(schedule)) == schedule.fields


@settings(max_examples=100, deadline=None)
@given(text=FIVE | SIX)
def test_fields_are_those_of_the_oracle(text):
    """The parser and the oracle's reader agree on every number."""
    fields = parse(text)
    names = list(LIMITS) if len(text.split()) == 6 else list(LIMITS)[1:]
    ours = dict(zip(LIMITS, fields[:6], strict=True))
    for name, word in zip(names, text.split(), strict=True):
        numbers, _ = read_field(name, word)
        assert {value for value in ours[name] if isinstance(value, int)} == numbers


@pytest.mark.parametrize(("zone", "moment"), CHANGES)
def test_every_minute_of_real_time_is_counted_once(zone, moment):
    """``* * * * *`` fires every 60 seconds, through any change of the clock."""
    middle = int(datetime.fromisoformat(moment).timestamp())
    schedule = CronExpression("* * * * *", zone)
    found = find_all(schedule, middle - DAY, middle + DAY)
    assert found == list(range(middle - DAY, middle + DAY + 1, 60))
