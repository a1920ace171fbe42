"""No description claims anything that the expression does not do, in any language.

The English words are read back, by a grammar of their own, and compared with the fires
of a year: each fire must be in the words, and each moment of the words must fire. Every
other language must name the same hours, minutes, days and months as the English words;
where it gives a list of fields, that list is read back itself. And in no language do
two schedules with other fires have the same words.
"""

from __future__ import annotations

import random
import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lengths import choose

from ipycron.cron import CronExpression
from ipycron.cron.names import LABELS, NAMES
from ipycron.cron.walk import Walk

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [timedelta(days=n) for n in range(365)]
WEEKDAYS, MONTHS = (names.split("|") for names in NAMES["en_US"])
ORDINALS = ("first", "second", "third", "fourth", "fifth")
TIME = r"(\d\d):(\d\d)(?::(\d\d))?"


# --- expressions ----------------------------------------------------------------------


def make_field(low, high, *, tokens=()):
    """Return texts of one field: stars, steps, values, ranges, lists, day tokens."""
    value = st.integers(low, high)
    wide = st.integers(1, 2 * high)
    item = st.one_of(
        value.map(str),
        st.tuples(value, value).map(lambda v: f"{v[0]}-{v[1]}"),
        st.tuples(value, value, wide).map(lambda v: f"{v[0]}-{v[1]}/{v[2]}"),
        st.tuples(value, wide).map(lambda v: f"{v[0]}/{v[1]}"),
        *([st.sampled_from(tokens)] if tokens else []),
    )
    return st.one_of(
        st.just("*"),
        st.sampled_from((2, 3, 4, 5, 6, 10, 12, 15, 30, 90)).map(lambda n: f"*/{n}"),
        item,
        st.lists(item, min_size=2, max_size=4).map(",".join),
    )


EXPRESSIONS = st.tuples(
    st.one_of(st.just("0"), make_field(0, 59)),
    make_field(0, 59),
    make_field(0, 23),
    st.one_of(st.just("*"), make_field(1, 31, tokens=("L", "L-3", "15W", "1W", "LW"))),
    st.one_of(st.just("*"), make_field(1, 12)),
    st.one_of(st.just("*"), make_field(0, 6, tokens=("5#2", "1L", "0#1"))),
).map(" ".join)


# --- the English words, read back -----------------------------------------------------


def read_list(text):
    """Return the numbers of "0 through 10, 50, and 59"."""
    numbers = set()
    for item in re.split(r", and | and |, ", text):
        first, _, last = item.partition(" through ")
        numbers |= wrap(int(first), int(last or first))
    return numbers


def wrap(first, last):
    """Return a range that may wrap around the end of an hour or a minute."""
    if first <= last:
        return set(range(first, last + 1))
    return {*range(first, 60), *range(last + 1)}


def read_windows(text):
    """Return the hours of "between 09:00 and 10:59 and between …"."""
    hours = set()
    for h1, m1, h2, m2 in re.findall(r"between (\d\d):(\d\d) and (\d\d):(\d\d)", text):
        assert (m1, m2) == ("00", "59")
        first, last = int(h1), int(h2)
        hours |= (
            set(range(first, last + 1))
            if first <= last
            else {*range(first, 24), *range(last + 1)}
        )
    return hours


def read_time(text):
    """Return the times of day, as seconds, that the words name."""
    if re.fullmatch(rf"At {TIME}(?:(?:, | and ){TIME})*", text):
        return {
            int(h) * 3600 + int(m) * 60 + int(s or 0)
            for h, m, s in re.findall(TIME, text)
        }
    found = re.fullmatch(r"Every minute between (\d\d):(\d\d) and (\d\d):(\d\d)", text)
    if found:
        h1, m1, h2, m2 = map(int, found.groups())
        return {60 * minute for minute in range(h1 * 60 + m1, h2 * 60 + m2 + 1)}
    text = text[0].lower() + text[1:]
    seconds, minutes, hours = {0}, None, None
    for pattern, kind in CLAUSES:
        found = re.match(pattern + r"(?:, |$)", text)
        if found is None:
            continue
        text = text[found.end() :]
        if kind == "second":
            seconds = read_clause(found, 60)
            minutes = set(range(60))
        elif kind == "minute":
            minutes = read_clause(found, 60)
        elif kind == "hour":
            hours = read_clause(found, 24)
            minutes = {0} if minutes is None else minutes
        else:
            hours = read_windows(found[0]) or read_list(found[1])
    assert text == ""
    assert minutes is not None
    return {
        h * 3600 + m * 60 + s
        for h in (range(24) if hours is None else hours)
        for m in minutes
        for s in seconds
    }


def read_clause(found, size):
    """Return the values of one clause: a rhythm, a range or a list."""
    words = found.groupdict()
    if words.get("list"):
        return read_list(words["list"])
    if words.get("first"):
        return wrap(int(words["first"]), int(words["last"]))
    return set(range(int(words.get("start") or 0), size, int(words.get("step") or 1)))


NUMBERS = r"(?P<list>\d[\d, a-z]*?)"
RANGE = r"(?P<first>\d+) through (?P<last>\d+)"
START = r"starting at (?P<start>\d+) minutes past the hour"
CLAUSES = (
    (r"every second(?!s)", "second"),
    (r"every (?P<step>\d+) seconds", "second"),
    (rf"seconds {RANGE} past the minute", "second"),
    (rf"at {NUMBERS} seconds past the minute", "second"),
    (rf"every (?P<step>\d+) minutes, {START}", "minute"),
    (r"every minute(?!s)", "minute"),
    (r"every (?P<step>\d+) minutes", "minute"),
    (rf"minutes {RANGE} past the hour", "minute"),
    (rf"at {NUMBERS} minutes past the hour", "minute"),
    (r"every hour(?!s)", "hour"),
    (r"every (?P<step>\d+) hours", "hour"),
    (r"in hours (\d[\d, a-z]*?) of the day", "hours"),
    (r"between [\d:]+ and [\d:]+(?:(?:, | and )between [\d:]+ and [\d:]+)*", "hours"),
)
NAME = f"(?:{'|'.join(WEEKDAYS)})"
MONTH = f"(?:{'|'.join(MONTHS)})"
NAME_LIST = rf"{NAME}(?: through {NAME})?(?:(?:, | and ){NAME}(?: through {NAME})?)*"
MONTH_LIST = (
    rf"{MONTH}(?: through {MONTH})?(?:(?:, | and ){MONTH}(?: through {MONTH})?)*"
)


def read_names(text, names):
    """Return the numbers of the names in a list, with ranges expanded."""
    found = set()
    for item in re.split(", | and ", text):
        first, _, last = item.partition(" through ")
        place, end = names.index(first), names.index(last or first)
        while place != end:
            found.add(place)
            place = (place + 1) % len(names)
        found.add(end)
    return found


def read_months(words):
    """Split off the months at the end; return the rest and the months, 1 to 12."""
    found = re.search(r", every (\d+) months$", words)
    if found:
        return words[: found.start()], set(range(1, 13, int(found[1])))
    found = re.search(rf", (?:only in )?({MONTH_LIST})$", words)
    if found is None:
        return words, set(range(1, 13))
    months = {place + 1 for place in read_names(found[1], MONTHS)}
    return words[: found.start()], months


DAY_CLAUSES = (
    (r"every (\d+) days from day 1 of the month", "step"),
    (r"between day (\d+) and (\d+) of the month", "between"),
    (r"on day ([\d, a-z]+?) of the month", "days"),
    (r"on the last day of the month", "L"),
    (r"on the last weekday of the month", "LW"),
    (r"(\d+) days? before the last day of the month", "L-"),
    (r"on the first weekday of the month", "1W"),
    (r"on the weekday nearest day (\d+) of the month", "W"),
)
WEEK_CLAUSES = (
    (rf"on the last ({NAME}) of the month", "last"),
    (rf"on the ({'|'.join(ORDINALS)}) ({NAME}) of the month", "ordinal"),
    (rf"(?:on )?({NAME_LIST})", "names"),
)


def find_nearest(day, year, month):
    """Return the weekday nearest to a day in its month; None if there is none."""
    last = monthrange(year, month)[1]
    if day > last:
        return None
    weekday = date(year, month, day).weekday()
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < last else day - 2
    return day


def meets_day(kind, groups, day):
    """Return whether a date is among the days of the month in a clause."""
    last = monthrange(day.year, day.month)[1]
    if kind == "step":
        return (day.day - 1) % int(groups[0]) == 0
    if kind == "between":
        return int(groups[0]) <= day.day <= int(groups[1])
    if kind == "days":
        return day.day in read_list(groups[0])
    if kind in ("L", "L-"):
        return day.day == last - int(groups[0] if groups else 0)
    if kind == "LW":
        return day.day == find_nearest(last, day.year, day.month)
    nearest = 1 if kind == "1W" else int(groups[0])
    return day.day == find_nearest(nearest, day.year, day.month)


def meets_week(kind, groups, day):
    """Return whether a date is among the weekdays in a clause."""
    weekday = (day.weekday() + 1) % 7
    last = monthrange(day.year, day.month)[1]
    if kind == "names":
        return weekday in read_names(groups[0], WEEKDAYS)
    if kind == "last":
        return weekday == WEEKDAYS.index(groups[0]) and day.day > last - 7
    place = ORDINALS.index(groups[0])
    return weekday == WEEKDAYS.index(groups[1]) and (day.day - 1) // 7 == place


def take_clauses(text, clauses):
    """Split clauses off the start of a text; return them and the rest."""
    taken = []
    while True:
        for pattern, kind in clauses:
            found = re.match(rf"(?: and )?{pattern}(?=,|$| and on | and \d+ day)", text)
            if found:
                taken.append((kind, found.groups()))
                text = text[found.end() :]
                break
        else:
            return taken, text


def read_words(words):
    """Return the times of day and a predicate for dates, as read from the words."""
    rest, months = read_months(words)
    starts = [
        match.start()
        for match in re.finditer(
            rf", (?=every \d+ days|between day|on |or on |only on |only the |"
            rf"\d+ days? before|{NAME})",
            rest,
        )
    ]
    time, days = (rest[: starts[0]], rest[starts[0] :]) if starts else (rest, "")
    days = days.removeprefix(", ")
    of_month, days = take_clauses(days, DAY_CLAUSES)
    joint = re.match(r"(?:, )?(or|only)? ?", days)
    of_week, left = take_clauses(days[joint.end() :], WEEK_CLAUSES)
    assert left == ""
    if re.search(r", every \d+ months$", words):
        assert len(of_month) == 1
        assert not of_week

    def has(day):
        in_month = any(meets_day(*clause, day) for clause in of_month)
        in_week = any(meets_week(*clause, day) for clause in of_week)
        if joint[1] == "or":
            is_met = in_month or in_week
        else:
            is_met = (in_month or not of_month) and (in_week or not of_week)
        return day.month in months and is_met

    return read_time(time), has


# --- the tests ------------------------------------------------------------------------


@pytest.mark.timeout(600)
@settings(max_examples=choose(short=100, full=3000))
@given(EXPRESSIONS, st.booleans(), st.integers(0, 2**32))
@example("0 0-10,50-59 9 * * *", True, 0)
@example("0 */5 9,17 * * *", True, 0)
@example("0 * */12 * * *", True, 0)
@example("0 0 9 * */6 *", True, 0)
@example("*/10 */5 * * * *", True, 0)
@example("0 * 22-2 * * 1", True, 0)
@example("58-2 * 9 * * *", True, 0)
@example("0 0 0 1 */2 0-6", True, 0)
@example("0 0 0 31 */2 *", True, 0)
@example("0 0 0 L-28 */3 *", True, 0)
def test_english_words_are_the_fires_of_a_year(text, day_or, seed):
    """Every fire is described, and everything described fires."""
    schedule = CronExpression(text, UTC, day_or=day_or)
    words = schedule.describe()
    moments, has = read_words(words)
    dice = random.Random(seed)
    for _ in range(12):
        fire = schedule.next(YEAR + timedelta(seconds=dice.randrange(365 * 86_400)))
        if fire is not None:
            second = fire.hour * 3600 + fire.minute * 60 + fire.second
            assert second in moments, (words, fire)
            assert has(fire.date()), (words, fire)
    days = [YEAR.date() + timedelta(days=n) for n in dice.sample(range(365), 90)]
    chosen = dice.sample(sorted(moments), min(12, len(moments)))
    for day in filter(has, days[:60]):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for second in chosen[:3]:
            moment = midnight + timedelta(seconds=second)
            assert schedule.matches(moment), (words, moment)
    if re.search(r", every \d+ months$", words):
        year = [day for day in map(YEAR.date().__add__, DAYS) if has(day)]
        assert [day.month for day in year] == list(schedule.fields.month)
    for second in chosen:
        day = next(filter(has, days), None)
        if day is not None:
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            assert schedule.matches(midnight + timedelta(seconds=second))


LANGUAGES = [code for code in NAMES if code not in ("en_US", "es_MX")]
"""Those that count hours to 24, as the English words without a country do."""


UNSPACED = ("ja_JP", "ko_KR", "th_TH", "zh_CN", "zh_TW")


def strip_names(words, names, code):
    """Remove the names from a text; return it and the names' numbers."""
    order = sorted(names, key=len, reverse=True)
    pattern = f"(?:{'|'.join(map(re.escape, order))})"
    if code not in UNSPACED:  # `re` does not consider Tamil's vowel signs letters
        pattern = rf"(?<![\w\u0b80-\u0bff]){pattern}(?![\w\u0b80-\u0bff])"
    places = {names.index(name) for name in re.findall(pattern, words)}
    return re.sub(pattern, "·", words), places


def find_named(words, code):
    """Return the numbers, weekdays and months in a text."""
    weekdays, months = (names.split("|") for names in NAMES[code])
    if code == "ro_RO":  # "every 2 months" contains the word for Monday
        words = re.sub(r"(\d) luni", r"\1", words)
    rest, of_week = strip_names(words, weekdays, code)
    rest, of_year = strip_names(rest, months, code)
    return sorted(map(int, re.findall(r"\d+", rest))), of_week, of_year


def read_fields(words, code):
    """Return the numbers of each labelled field of a list."""
    fields = {}
    for part in words.split("; "):
        label, colon, values = part.partition(": ")
        if colon:
            values = values.split(LABELS[code].split("|")[4])[0]
            numbers = set()
            for first, last in re.findall(
                r"(?<![-#LW\d])(\d+)(?![W\d])(?:-(\d+))?", values
            ):
                numbers |= set(range(int(first), int(last or first) + 1))
            fields[label] = numbers
    return fields


@pytest.mark.timeout(600)
@settings(max_examples=choose(short=100, full=10_000))
@given(EXPRESSIONS, st.sampled_from(LANGUAGES))
@example("0 0-10,50-59 9 * * *", "th_TH")
@example("0 30 */2 1-5 3,4 1-5", "kk_KZ")
@example("14-11 */12 21-7 LW * 0-6,1,1L,1-5", "it_IT")
def test_every_language_names_what_the_english_words_name(text, code):
    """The same hours, minutes, days and months; lists have the exact values."""
    schedule = CronExpression(text, UTC)
    words, fields = schedule.describe(code), schedule.fields
    seconds, minutes, hours, days, _ = LABELS[code].split("|")
    listed = read_fields(words, code)
    is_list = ";" in words or any(
        label in listed for label in (seconds, minutes, hours)
    )
    for label, values in (
        (seconds, fields.second),
        (minutes, fields.minute),
        (hours, fields.hour),
        (days, [day for day in fields.day_of_month if isinstance(day, int)]),
    ):
        if label in listed:
            assert listed[label] == set(values), words
    numbers, of_week, of_year = find_named(words, code)
    english = find_named(schedule.describe(), "en_US")
    named = {day for day in fields.day_of_week if isinstance(day, int)}
    named |= {int(day[0]) for day in fields.day_of_week if isinstance(day, str)}
    assert of_week <= named
    assert of_year <= {month - 1 for month in fields.month}
    is_alike = not re.search("days from day 1|, starting at", schedule.describe())
    if is_alike and not is_list and "#" not in text:
        first = [1] * ("first weekday" in schedule.describe() and numbers != english[0])
        # Over midnight, where that is in two parts.
        night = [0, 0, 23, 59] if "00:00" in words and "23:59" in words else []
        known = english[0], sorted(english[0] + first), sorted(english[0] + night)
        assert sorted(numbers) in known, words
        assert (of_week, of_year) == english[1:], words


NEIGHBOURS = (
    ("0", "*", "7", "58-2"),
    ("*", "0", "7", "*/5"),
    ("*", "0", "1-23/2", "2", "14"),
    ("*", "1", "31", "1-31", "L"),
    ("*", "*/2", "2", "11-2"),
    ("*", "1", "0-6", "5#2"),
)
"""What each field is replaced with, to have a schedule that is almost the same."""
TWELVE_HOURS = ("en_US", "es_MX", "en_IE", "fr_CA", "es_CO", "es_PE")


def find_fires(schedule):
    """Return what two schedules with the same fires have in common."""
    fields = schedule.fields
    walk = Walk(fields._replace(second=(0,), minute=(0,), hour=(0,)), day_or=True)
    days, local = [], 0
    while (local := walk.find_next(local, 3 * 366 * 86_400)) is not None:
        days.append(local)
        local += 1
    return fields.second, fields.minute, fields.hour, days


@pytest.mark.timeout(600)
@settings(max_examples=choose(short=50, full=1000))
@given(EXPRESSIONS, st.sampled_from([*LANGUAGES, *TWELVE_HOURS]))
@example("0 5 1-23/2 * * *", "de_DE")
@example("0 * */2 * * 1", "es_ES")
@example("0 0 2 * * *", "fr_CA")
@example("7 * * * * *", "th_TH")
def test_no_language_has_the_same_words_for_other_fires(text, code):
    """Nothing that decides when a schedule is due is left out of its words."""
    schedule = CronExpression(text, UTC)
    words, fires, parts = schedule.describe(code), find_fires(schedule), text.split()
    for place, others in enumerate(NEIGHBOURS):
        for part in others:
            near = [*parts[:place], part, *parts[place + 1 :]]
            other = CronExpression(" ".join(near), UTC)
            if find_fires(other) != fires:
                assert other.describe(code) != words, (words, near)
