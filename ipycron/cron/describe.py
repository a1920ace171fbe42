"""A schedule in words, in the languages of cron-descriptor.

The library's translated phrases are used, but not its sentences: it says that
``*/5 9,17`` is due "at 09:00 and 17:00", and ``* */12`` "every 12 hours". It takes
names from the language of the process, silently drops what a translation lacks, and
misreads lists of day tokens. So the sentence is composed here, from phrases that are
true of the schedule. If a language has no phrase, or one with a different meaning
(`_FALSE`), the schedule is listed field by field.

The description is of the values in `Fields`, not of the text: ``*/25`` is described as
the minutes 0, 25 and 50.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from cron_descriptor import ExpressionDescriptor, Options

from ipycron.cron.fields import SPECS
from ipycron.cron.names import LABELS, NAMES
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ipycron.cron.fields import Fields, FieldSpec

    Group = tuple[int, int]

_ENGLISH = "en_US"
_MOST_TIMES = 6  # up to this many times of day are listed one by one
_SHORTEST_RUN = 3  # from this many consecutive values on, they are a range
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = SPECS
_SHORTEST_MONTH = 28
_MOST_WINDOWS = 4  # up to this many parts of the day are listed one by one

_WORKDAYS = frozenset(NAMES) - {
    "el_GR", "en_US", "ja_JP", "nl_NL", "pl_PL", "ru_RU", "sl_SI", "uk_UA", "zh_CN",
    "zh_TW",
}  # fmt: skip
"""Locales whose words for the nearest, first or last weekday mean a different day: the
first day of the week, a day of the weekend, any day, or one that may be a Saturday
("Werktag", "jour ouvrable", "hverdag")."""

# Locales whose translation in cron-descriptor 2.2 differs in meaning, by phrase.
_FALSE: dict[str, frozenset[str]] = {
    "seconds {0} through {1} past the minute": frozenset({"fa_IR", "kk_KZ", "th_TH"}),
    "minutes {0} through {1} past the hour": frozenset({"fa_IR", "th_TH"}),
    "at {0} seconds past the minute": frozenset({"cs_CZ", "fi_FI", "kk_KZ"}),
    "at {0} minutes past the hour": frozenset({"kk_KZ", "vi_VN"}),
    # The Chinese phrase is also "every February".
    ", every {0} months": frozenset({"nb_NO", "sv_SE", "zh_CN", "zh_TW"}),
    ", on the last day of the month": frozenset({"ja_JP"}),
    # In Hebrew and Vietnamese an ordinal in front of the weekday is another weekday, in
    # Japanese and Tamil it counts the months.
    " {0} of the month": frozenset({"he_IL", "ja_JP", "ta_IN", "vi_VN"}),
    "second": frozenset({"nb_NO"}),  # that of a minute
    ", {0} days before the last day of the month": frozenset(
        {"kk_KZ", "sl_SI", "zh_TW"}
    ),
    ", on the last weekday of the month": _WORKDAYS,
    "first weekday": _WORKDAYS,
    "weekday nearest day {0}": _WORKDAYS,
}


class _SilentError(Exception):
    """The language has no phrase for something; never leaves this module."""


@lru_cache(maxsize=512)
def describe(fields: Fields, *, day_or: bool, locale: str) -> str:
    """Return the schedule in words; see `CronExpression.describe`."""
    language, _, rest = str(locale).replace("-", "_").partition("_")
    full = f"{language.lower()}_{rest.partition('.')[0].upper()}"
    code = _find_code(full, asked=locale)
    # The library needs a locale's full name to know whether it uses 12-hour times.
    is_24_hour = Options(locale_code=full).use_24hour_time_format
    words = _Language(code, is_24_hour=is_24_hour)
    try:
        return _write(fields, words, day_or=day_or)
    except _SilentError:
        return _list_fields(fields, words, day_or=day_or)


def _find_code(full: str, *, asked: object) -> str:
    """Return the library's locale with this name, or else one of this language."""
    if full in NAMES:
        return full
    language = full.partition("_")[0]
    for code in NAMES:
        if code.partition("_")[0] == language:
            return code
    known = ", ".join(sorted({code.partition("_")[0] for code in NAMES}))
    raise InvalidOption(option="locale", value=asked, expected=f"one of {known}")


class _Language:
    """Words and phrases of one locale."""

    def __init__(self, code: str, *, is_24_hour: bool) -> None:
        self.is_english = code == _ENGLISH
        self._code = code
        self._weekdays, self._months = (names.split("|") for names in NAMES[code])
        options = Options(locale_code=code, use_24hour_time_format=is_24_hour)
        # With a year: with six fields, the library would guess whether one is a year.
        self.library = ExpressionDescriptor("* * * * * * *", options)
        if not (self.library.translate("AM") and self.library.translate("PM")):
            # Half past two would be ambiguous; the library keeps this options object.
            options.use_24hour_time_format = True
        *self.labels, self.otherwise = LABELS[code].split("|")

    def say(self, phrase: str, *values: object) -> str:
        """Return a phrase in this language, with the values filled in."""
        said = self.library.translate(phrase)
        if not said or self._code in _FALSE.get(phrase, ()):
            raise _SilentError
        try:
            return str(said.format(*values))
        except IndexError:  # the Persian translation has one placeholder too many
            raise _SilentError from None

    def name_weekday(self, weekday: int) -> str:
        """Return the name of a weekday, 0 for Sunday."""
        return self._weekdays[weekday]

    def name_month(self, month: int) -> str:
        """Return the name of a month, 1 for January."""
        return self._months[month - 1]

    def list_items(self, items: Sequence[str]) -> str:
        """Return "a, b and c"."""
        *most, last = items
        return f"{', '.join(most)}{self.say(' and ')}{last}" if most else last

    def list_groups(self, groups: Sequence[Group], name: Callable[[int], str]) -> str:
        """Return "a, b through c and d"."""
        return self.list_items(
            [
                name(first)
                if first == last
                else _strip(self.say(", {0} through {1}", name(first), name(last)))
                for first, last in groups
            ]
        )

    def join_clauses(self, clauses: Sequence[str]) -> str:
        """Return ", on this and on that"; each clause begins with its comma."""
        if not clauses:
            return ""
        first, *rest = clauses
        return first + "".join(f"{self.say(' and ')}{_strip(more)}" for more in rest)


def _strip(clause: str) -> str:
    """Return a clause without its leading comma, in any script."""
    return clause.lstrip(",、，، ")  # noqa: RUF001 - see the docstring


def _write(fields: Fields, language: _Language, *, day_or: bool) -> str:
    """Return the whole sentence."""
    is_either = _is_either(fields, day_or=day_or)
    of_month = language.join_clauses(_say_days_of_month(fields, language))
    of_week = _say_days_of_week(
        fields, language, is_beside=bool(of_month), is_either=is_either
    )
    if is_either and not (of_month and of_week):
        of_month = of_week = ""  # one of the two is every day, so both are
    months = _say_months(fields, language, is_in_day=bool(of_month and not of_week))
    is_daily = not (of_month or of_week or months)
    time = _say_time(fields, language, is_daily=is_daily)
    sentence = f"{time}{of_month}{of_week}{months}"
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}".split())


def _is_either(fields: Fields, *, day_or: bool) -> bool:
    """Return whether matching one of the two day fields is enough."""
    return day_or and fields.starred.isdisjoint((_DAY.name, _WEEKDAY.name))


# --- the time of day ------------------------------------------------------------------


def _say_time(fields: Fields, language: _Language, *, is_daily: bool) -> str:
    """Return the times of day: a list of times, or seconds, minutes and hours."""
    every_hours = _find_rhythm(fields.hour, _HOUR, fields)
    every_minutes = _find_rhythm(fields.minute, _MINUTE, fields)
    times = list(product(fields.hour, fields.minute))
    is_few = len(times) <= _MOST_TIMES and len(fields.second) == 1
    if is_few and not (every_hours or every_minutes):
        return _say_times(times, fields.second[0], language)
    span = _find_span(fields)
    if span is not None:
        shown = (_show_time(language, fields.hour[0], minute) for minute in span)
        return language.say("Every minute between {0} and {1}", *shown)
    # If days are restricted, a window past midnight would begin on one day and end on
    # another.
    cycle = _HOUR if is_daily else None
    windows = list(_group(fields.hour, cycle, shortest=1))
    parts = [
        _say_seconds(fields, language),
        _say_minutes(fields, language),
        _say_hours(fields, language, windows),
    ]
    return ", ".join(part for part in parts if part)


def _say_times(times: list[Group], second: int, language: _Language) -> str:
    """Return "At 09:00 and 17:00"."""
    shown = [_show_time(language, hour, minute, second) for hour, minute in times]
    # Not `say`: languages without a word for "at" begin with the time.
    at: str = language.library.translate("At ")
    return at + language.list_items(shown)


def _show_time(language: _Language, hour: int, minute: int, second: int = 0) -> str:
    shown = language.library.format_time(
        str(hour), str(minute), str(second) if second else None
    )
    return str(shown)


def _say_seconds(fields: Fields, language: _Language) -> str:
    """Return the seconds; empty for second 0 alone."""
    if fields.second == (0,):
        return ""
    step = _find_rhythm(fields.second, _SECOND, fields)
    if step == 1:
        return language.say("every second")
    if step is not None:
        return language.say("every {0} seconds", step)
    return _say_groups(
        list(_group(fields.second, None)),
        language,
        of_range="seconds {0} through {1} past the minute",
        of_list="at {0} seconds past the minute",
    )


def _say_minutes(fields: Fields, language: _Language) -> str:
    """Return the minutes; empty where the seconds or the hours include them."""
    step = _find_rhythm(fields.minute, _MINUTE, fields)
    is_plain = fields.second == (0,)
    if step == 1:
        return language.say("every minute") if is_plain else ""
    # "Every 10 seconds, every 5 minutes" would combine two rhythms.
    if step is not None and len(fields.second) == 1:
        return language.say("every {0} minutes", step)
    is_always = len(fields.hour) == 24  # noqa: PLR2004 - a day's
    if is_plain and fields.minute == (0,) and _find_rhythm(fields.hour, _HOUR, fields):
        return language.say("every hour") if is_always else ""
    if is_always and is_plain and language.is_english:
        start = _find_start(fields.minute)
        if start is not None:
            first, step = start
            return f"every {step} minutes, starting at {first} minutes past the hour"
    return _say_groups(
        list(_group(fields.minute, None)),
        language,
        of_range="minutes {0} through {1} past the hour",
        of_list="at {0} minutes past the hour",
    )


def _say_hours(fields: Fields, language: _Language, windows: list[Group]) -> str:
    """Return the hours; empty for all of them, or where the minutes include them."""
    step = _find_rhythm(fields.hour, _HOUR, fields)
    if step == 1:
        return ""
    # A step is a rhythm only if each of its hours has a single time.
    if step is not None and len(fields.minute) == len(fields.second) == 1:
        return language.say("every {0} hours", step)
    if len(windows) > _MOST_WINDOWS:
        if not language.is_english:
            raise _SilentError
        hours = language.list_groups(list(_group(fields.hour, None)), str)
        return f"in hours {hours} of the day"
    shown = [
        language.say(
            "between {0} and {1}",
            _show_time(language, first, 0),
            _show_time(language, end, 59),
        )
        for first, end in windows
    ]
    return language.list_items(shown)


def _say_groups(
    groups: list[Group], language: _Language, *, of_range: str, of_list: str
) -> str:
    """Return the phrase for one range, or that for a list of values and ranges."""
    if len(groups) == 1 and groups[0][0] != groups[0][1]:
        return language.say(of_range, *groups[0])
    named = language.list_groups(groups, str)
    if language.is_english and len(groups) > 2:  # noqa: PLR2004 - as in a list of times
        named = ", and ".join(named.rsplit(" and ", 1))
    return language.say(of_list, named)


def _find_span(fields: Fields) -> Group | None:
    """Return the consecutive minutes of a single hour, or None."""
    groups = list(_group(fields.minute, None))
    if fields.second != (0,) or len(fields.hour) > 1 or len(groups) > 1:
        return None
    first, last = groups[0]
    return groups[0] if first != last and (first, last) != (0, 59) else None


def _find_rhythm(
    values: tuple[int, ...], spec: FieldSpec, fields: Fields
) -> int | None:
    """Return the step of values that are evenly spaced across cycles, or None."""
    size = spec.high + 1
    if len(values) == size:
        return 1
    if spec.name not in fields.starred and len(values) <= _MOST_TIMES:
        return None  # written one by one
    step = values[1] - values[0] if len(values) > 1 else size
    is_even = values == tuple(range(0, size, step))
    return step if is_even and step < size and size % step == 0 else None


def _find_start(minutes: tuple[int, ...]) -> Group | None:
    """Return start and step of many minutes that are evenly spaced, or None."""
    if len(minutes) <= _MOST_TIMES:
        return None
    step = minutes[1] - minutes[0]
    size = _MINUTE.high + 1
    is_even = minutes == tuple(range(minutes[0], size, step))
    is_whole = is_even and len(minutes) * step == size
    return (minutes[0], step) if is_whole and minutes[0] else None


# --- the days -------------------------------------------------------------------------


def _say_days_of_month(fields: Fields, language: _Language) -> list[str]:
    """Return clauses for the numbers and for each token; none if all days match."""
    days = tuple(day for day in fields.day_of_month if isinstance(day, int))
    if len(days) == _DAY.high:
        return []
    tokens = [token for token in fields.day_of_month if isinstance(token, str)]
    clauses = [_say_plain_days(days, fields, language)] if days else []
    return clauses + [_say_day_token(token, language) for token in tokens]


def _say_plain_days(days: tuple[int, ...], fields: Fields, language: _Language) -> str:
    """Return the clause for the numbers of the day of month."""
    step = _find_step(days, _DAY, fields)
    if step is not None and language.is_english:  # other languages have no such phrase
        return f", every {step} days from day 1 of the month"
    groups = list(_group(days, None))
    if len(groups) == 1 and groups[0][0] != groups[0][1]:
        return language.say(", between day {0} and {1} of the month", *groups[0])
    return language.say(", on day {0} of the month", language.list_groups(groups, str))


def _say_day_token(token: str, language: _Language) -> str:
    """Return the clause for "L", "L-3", "15W" or "LW"."""
    if token == "L":  # noqa: S105 - a token of the grammar
        return language.say(", on the last day of the month")
    if token == "LW":  # noqa: S105 - as above
        return language.say(", on the last weekday of the month")
    if token.startswith("L-"):
        said = language.say(", {0} days before the last day of the month", token[2:])
        return said.replace(" 1 days", " 1 day") if language.is_english else said
    day = token.removesuffix("W")
    nearest = (
        language.say("first weekday")
        if day == "1"
        else language.say("weekday nearest day {0}", day)
    )
    return language.say(", on the {0} of the month", nearest)


def _say_days_of_week(
    fields: Fields, language: _Language, *, is_beside: bool, is_either: bool
) -> str:
    """Return the clause for the day of week; empty for all days.

    Args:
        fields: the schedule.
        language: the language of the words.
        is_beside: whether days of the month are restricted, too.
        is_either: whether matching one of the two is then enough.
    """
    # With weeks that begin on Monday, Saturday and Sunday are adjacent.
    days = sorted((day - 1) % 7 for day in fields.day_of_week if isinstance(day, int))
    if len(days) == _WEEKDAY.top:
        return ""
    tokens = [
        _say_weekday_token(token, language)
        for token in fields.day_of_week
        if isinstance(token, str)
    ]
    if days:
        groups = list(_group(days, _WEEKDAY))
        named = language.list_groups(
            groups, lambda day: language.name_weekday((day + 1) % 7)
        )
        is_range = len(groups) == 1 and groups[0][0] != groups[0][1] and not tokens
        phrase = ", or on {0}" if is_either else ", only on {0}"
        plain = (
            f", {named}" if is_range and not is_either else language.say(phrase, named)
        )
        return language.join_clauses([plain, *tokens])
    joined = language.join_clauses(tokens)
    if not is_beside:
        return joined
    if language.is_english:
        return (", or" if is_either else ", only") + joined.removeprefix(",")
    if is_either:
        raise _SilentError
    return joined


def _say_weekday_token(token: str, language: _Language) -> str:
    """Return the clause for "5#3" or "5L"."""
    weekday = language.name_weekday(int(token[0]))
    if token.endswith("L"):
        return language.say(", on the last {0} of the month", weekday)
    ordinal = language.say(_ORDINALS[int(token[2:]) - 1])
    of_month = language.say(" {0} of the month", weekday)
    return f"{language.say(', on the ')}{ordinal}{of_month}"


def _say_months(fields: Fields, language: _Language, *, is_in_day: bool) -> str:
    """Return the clause for the months; empty for all of them.

    Args:
        fields: the schedule.
        language: the language of the words.
        is_in_day: whether the days are said, and said as days of the month alone.
    """
    months = fields.month
    if len(months) == _MONTH.high:
        return ""
    step = _find_step(months, _MONTH, fields)
    if step is not None and _MONTH.high % step == 0 and is_in_day and _is_once(fields):
        return language.say(", every {0} months", step)
    groups = list(_group(months, _MONTH))
    named = language.list_groups(groups, language.name_month)
    if len(groups) == 1 and groups[0][0] != groups[0][1]:
        return f", {named}"
    return language.say(", only in {0}", named)


def _is_once(fields: Fields) -> bool:
    """Return whether the day of month is one that each month has, once."""
    token, *others = fields.day_of_month
    day = int(re.sub(r"\D", "", str(token)) or 1)
    last = _SHORTEST_MONTH - str(token).startswith("L-")
    return not others and day <= last


def _find_step(values: tuple[int, ...], spec: FieldSpec, fields: Fields) -> int | None:
    """Return the step of values that were written as ``*/step``, else None."""
    if spec.name not in fields.starred or len(values) < 2:  # noqa: PLR2004 - a step
        return None
    step = values[1] - values[0]
    return step if values == tuple(range(spec.low, spec.high + 1, step)) else None


def _group(
    values: Sequence[int],
    cycle: FieldSpec | None,
    *,
    shortest: int = _SHORTEST_RUN,
) -> Iterator[Group]:
    """Yield ranges, and single values (as ranges of one) for the rest.

    Args:
        values: in ascending order.
        cycle: the field, if ranges may wrap around its end; else None.
        shortest: the number of consecutive values from which on they are a range.
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    if (
        cycle is not None
        and len(runs) > 1
        and (runs[0][0], runs[-1][-1]) == (cycle.low, cycle.high)
        and len(runs[0] + runs[-1]) >= shortest
    ):
        runs = [*runs[1:-1], runs[-1] + runs[0]]
    for run in runs:
        if len(run) >= shortest:
            yield run[0], run[-1]
        else:
            yield from ((value, value) for value in run)


# --- field by field -------------------------------------------------------------------


def _list_fields(fields: Fields, language: _Language, *, day_or: bool) -> str:
    """Return the fields that are restricted, each with its values."""
    try:
        parts = [_say_time(fields, language, is_daily=False)]
    except _SilentError:
        parts = list(_list_time(fields, language))
    of_month = _list_values(language.labels[3], fields.day_of_month, _DAY)
    of_week = _list_weekdays(fields, language)
    is_either = _is_either(fields, day_or=day_or)
    if is_either and of_month and of_week:
        parts.append(f"{of_month}{language.otherwise}{of_week}")
    elif not is_either:
        parts += [of_month, of_week]
    if len(fields.month) < _MONTH.high:
        parts.append(_list_names(fields.month, language.name_month))
    return "; ".join(part for part in parts if part)


def _list_time(fields: Fields, language: _Language) -> Iterator[str]:
    """Yield seconds, minutes and hours, except for second 0 alone.

    "Every second" is said, since a field that is not named would be taken for 0; that
    this is in every minute is then clear.
    """
    is_every = False
    for label, spec in zip(language.labels, (_SECOND, _MINUTE, _HOUR), strict=False):
        values = getattr(fields, spec.name)
        is_part, is_every = is_every, len(values) == spec.high + 1
        if is_every:
            if not is_part:
                yield language.say(f"every {spec.name}")
        elif spec is not _SECOND or values != (0,):
            yield _list_values(label, values, spec)


def _list_values(label: str, values: tuple[int | str, ...], spec: FieldSpec) -> str:
    """Return "minutes: 0-10, 50-59"; empty for all values."""
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) == spec.high - spec.low + 1:
        return ""
    shown = [
        str(first) if first == last else f"{first}-{last}"
        for first, last in _group(numbers, None)
    ]
    shown += [value for value in values if isinstance(value, str)]
    return f"{label}: {', '.join(shown)}"


def _list_weekdays(fields: Fields, language: _Language) -> str:
    """Return weekdays by name; ordinals as in cron: "Friday#2"."""
    days = [day for day in fields.day_of_week if isinstance(day, int)]
    if len(days) == _WEEKDAY.top:
        return ""
    monday_first = sorted((day - 1) % 7 for day in days)
    names = [_list_names(monday_first, lambda d: language.name_weekday((d + 1) % 7))]
    names += [
        language.name_weekday(int(token[0])) + token[1:].replace("L", " L")
        for token in fields.day_of_week
        if isinstance(token, str)
    ]
    return ", ".join(name for name in names if name)


def _list_names(values: Sequence[int], name: Callable[[int], str]) -> str:
    return ", ".join(
        name(first) if first == last else f"{name(first)} - {name(last)}"
        for first, last in _group(values, None)
    )
