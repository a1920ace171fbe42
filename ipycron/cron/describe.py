"""A schedule in words, in the languages of cron-descriptor.

The library says the time of day; the days are said here. It takes names from the
language of the process, drops without a word what a translation lacks, and misreads
lists of day tokens (``L`` among numbers, a second ``W``, plain days beside ``#``). So
day and month are put together from its translated phrases, and a sentence for which a
language has no phrase is English as a whole.

What is described are the values of `Fields`, not the text: ``*/25`` is said as the
minutes 0, 25 and 50 that it means.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

from cron_descriptor import DescriptionTypeEnum, ExpressionDescriptor, Options

from ipycron.cron.fields import SPECS
from ipycron.cron.names import NAMES
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ipycron.cron.fields import Fields, FieldSpec

    Group = tuple[int, int]

_ENGLISH = "en_US"
_MOST_TIMES = 6  # so many times of day are listed one by one
_SHORTEST_RUN = 3  # so many values in a row are a range
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = SPECS


class _SilentError(Exception):
    """The language has no phrase for this; never leaves this module."""


@lru_cache(maxsize=512)
def describe(fields: Fields, *, day_or: bool, locale: str) -> str:
    """Return the schedule in words; see `CronExpression.describe`."""
    language, _, rest = str(locale).replace("-", "_").partition("_")
    full = f"{language.lower()}_{rest.partition('.')[0].upper()}"
    code = _find_code(full, asked=locale)
    # The library knows by a locale's full name whether it counts hours to twelve.
    is_24_hour = Options(locale_code=full).use_24hour_time_format
    try:
        return _write(fields, _Language(code, is_24_hour=is_24_hour), day_or=day_or)
    except _SilentError:
        english = _Language(_ENGLISH, is_24_hour=is_24_hour)
        return _write(fields, english, day_or=day_or)


def _find_code(full: str, *, asked: object) -> str:
    """Return the library's locale of this name, or else of this language."""
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
        self._weekdays, self._months = (names.split("|") for names in NAMES[code])
        self._options = Options(locale_code=code, use_24hour_time_format=is_24_hour)
        self.library = self.read("* * *")

    def read(self, times: str) -> ExpressionDescriptor:
        """Return the library's reading of a second, a minute and an hour field."""
        # With a year, since the library guesses whether six fields have one.
        return ExpressionDescriptor(f"{times} * * * *", self._options)

    def say(self, phrase: str, *values: object) -> str:
        """Return a phrase in this language, with the values in it."""
        said = self.library.translate(phrase)
        if not said:
            raise _SilentError
        try:
            return str(said.format(*values))
        except IndexError:  # Persian asks for a number where the phrase has none
            raise _SilentError from None

    def knows(self, phrase: str) -> bool:
        """Return whether the language has a phrase."""
        return bool(self.library.translate(phrase))

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
        """Return ", on this and on that": clauses begin with their comma."""
        if not clauses:
            return ""
        first, *rest = clauses
        return first + "".join(f"{self.say(' and ')}{_strip(more)}" for more in rest)


def _strip(clause: str) -> str:
    """Return a clause without the comma that it begins with, in any script."""
    return clause.lstrip(",、，، ")  # noqa: RUF001 - see the docstring


def _write(fields: Fields, language: _Language, *, day_or: bool) -> str:
    """Return the whole sentence."""
    is_either = day_or and fields.starred.isdisjoint((_DAY.name, _WEEKDAY.name))
    of_month = language.join_clauses(_say_days_of_month(fields, language))
    of_week = _say_days_of_week(
        fields, language, is_beside=bool(of_month), is_either=is_either
    )
    if is_either and not (of_month and of_week):
        of_month = of_week = ""  # one of the two is every day, so both are
    parts = (
        _say_time(fields, language),
        of_month,
        of_week,
        _say_months(fields, language),
    )
    sentence = language.library.transform_verbosity(
        "".join(parts), use_verbose_format=False
    )
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}".split())


def _say_time(fields: Fields, language: _Language) -> str:
    """Return the time of day: a list of a few times, else the library's words."""
    times = list(product(fields.hour, fields.minute))
    is_plain = fields.starred.isdisjoint((_SECOND.name, _MINUTE.name, _HOUR.name))
    if is_plain and len(fields.second) == 1 and len(times) <= _MOST_TIMES:
        second = str(fields.second[0]) if fields.second[0] else None
        shown = [
            language.library.format_time(str(hour), str(minute), second)
            for hour, minute in times
        ]
        # Not `say`: the languages without a word for "at" begin with the time.
        at: str = language.library.translate("At ")
        return at + language.list_items(shown)
    texts = (
        _write_values(getattr(fields, spec.name), spec, fields, language)
        for spec in (_SECOND, _MINUTE, _HOUR)
    )
    said = language.read(" ".join(texts))
    return str(said.get_description(DescriptionTypeEnum.TIMEOFDAY))


def _write_values(
    values: tuple[int, ...], spec: FieldSpec, fields: Fields, language: _Language
) -> str:
    """Write values back as a field, in the forms that the library says rightly."""
    size = spec.high + 1
    if len(values) == size:
        return "*"
    if len(values) == 1:
        return str(values[0])
    step = values[1] - values[0]
    is_even = values == tuple(range(values[0], size, step))
    if is_even and len(values) * step == size:  # and so it goes on past the end
        if values[0] == 0 and spec.name in fields.starred:
            return f"*/{step}"
        if len(values) > _MOST_TIMES and language.knows(", starting {0}"):
            return f"{values[0]}/{step}"
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in _group(values, spec)
    )


def _say_days_of_month(fields: Fields, language: _Language) -> list[str]:
    """Return a clause for the plain days and one for each token; none for all days."""
    days = tuple(day for day in fields.day_of_month if isinstance(day, int))
    if len(days) == _DAY.high:
        return []
    tokens = [token for token in fields.day_of_month if isinstance(token, str)]
    clauses = [_say_plain_days(days, fields, language)] if days else []
    return clauses + [_say_day_token(token, language) for token in tokens]


def _say_plain_days(days: tuple[int, ...], fields: Fields, language: _Language) -> str:
    """Return the clause for the numbers of the day of month."""
    step = _find_step(days, _DAY, fields)
    if step is not None:
        said = language.say(", every {0} days", step)
        return said + " from day 1 of the month" * language.is_english
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
        language: how to say it.
        is_beside: whether days of the month are restricted too.
        is_either: whether one of the two is then enough.
    """
    # A week that begins on Monday keeps Saturday and Sunday together.
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


def _say_months(fields: Fields, language: _Language) -> str:
    """Return the clause for the months; empty for all of them."""
    months = fields.month
    if len(months) == _MONTH.high:
        return ""
    step = _find_step(months, _MONTH, fields)
    if step is not None and _MONTH.high % step == 0:
        return language.say(", every {0} months", step)
    groups = list(_group(months, _MONTH))
    named = language.list_groups(groups, language.name_month)
    if len(groups) == 1 and groups[0][0] != groups[0][1]:
        return f", {named}"
    return language.say(", only in {0}", named)


def _find_step(values: tuple[int, ...], spec: FieldSpec, fields: Fields) -> int | None:
    """Return the step of values that were written as ``*/step``, else None."""
    if spec.name not in fields.starred or len(values) < 2:  # noqa: PLR2004 - a step
        return None
    step = values[1] - values[0]
    return step if values == tuple(range(spec.low, spec.high + 1, step)) else None


def _group(values: Sequence[int], cycle: FieldSpec | None) -> Iterator[Group]:
    """Yield ranges of three values and more, and the other values one by one.

    Args:
        values: in ascending order.
        cycle: the field whose end runs on at its beginning; None: it does not.
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
        and len(runs[0] + runs[-1]) >= _SHORTEST_RUN
    ):
        runs = [*runs[1:-1], runs[-1] + runs[0]]
    for run in runs:
        if len(run) >= _SHORTEST_RUN:
            yield run[0], run[-1]
        else:
            yield from ((value, value) for value in run)
