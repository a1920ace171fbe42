"""Suggestions for invalid expressions; each is checked before it is shown.

A suggestion that is itself invalid would be worse than none. So each guess is put into
the text, the text is parsed again, and only guesses that fix their error are kept.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from ipycron.cron import parser
from ipycron.cron.diagnosis import has_days
from ipycron.cron.fields import NICKNAMES, SPECS
from ipycron.cron.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipycron.cron.fields import FieldSpec, Token
    from ipycron.cron.parser import FieldError

_QUOTES = "\"'`´‘’“”«»"  # noqa: RUF001 - these are what word processors make of quotes
_SWAPPED = re.compile(r"([LW])([0-9]+)", re.IGNORECASE)
_MOST_REPAIRS = 12
_STAR_NUMBER = re.compile(r"\*[0-9]+")
# In a list, in a range, before a step or after its slash.
_BLANKS_INSIDE = re.compile(r"\s*,\s*|(?<=\w)\s*-\s*(?=\w)|(?<=[\w*])\s*/\s*(?=[0-9])")
# After a number alone, "/5" is perhaps "*/5" without its star.
_STEP_ALONE = re.compile(r"(?<![-\w])[0-9]+\s+/[0-9]")
_TORN_OFF = re.compile(r"[-/,][0-9]+")
_YEAR = re.compile(r"(?:[12][0-9]{3}(?:-[12][0-9]{3})?|\*)")
_CONJUNCTIONS = frozenset(
    {"and", "or", "to", "through", "until", "till", "at", "&", "-"}
)
_SHORTEST_NAME = 2
_CLOSE_NAME = 0.65
_CLOSE_NICKNAME = 0.8
# From other crons, and invented ones. Empty if no expression is equivalent.
_OTHER_NICKNAMES = {
    "every": "",
    "reboot": "",
    "minutely": "* * * * *",
    "every_minute": "* * * * *",
    "every_second": "* * * * * *",
    "weekday": "0 0 * * 1-5",
    "weekdays": "0 0 * * 1-5",
    "workdays": "0 0 * * 1-5",
    "weekend": "0 0 * * 6,0",
    "quarterly": "0 0 1 1,4,7,10 *",
}
_OFFSET = re.compile(
    r"(?:UTC|GMT|Etc/UTC)?\s?(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::?(?P<minutes>[0-9]{2}))?",
    re.IGNORECASE,
)
_CLOSE_ZONE = 0.85
_SPECS = {spec.name: spec for spec in SPECS}


def suggest_each(text: str, errors: tuple[FieldError, ...]) -> tuple[FieldError, ...]:
    """Return the errors, each with a suggested token if one is clear."""
    # What looks like an empty list item is then a superfluous space.
    if any(map(_is_read, _join_items(text))):
        return errors
    return tuple(
        error._replace(suggestion=_find_token(text, error)) for error in errors
    )


def suggest_whole(text: str) -> str | None:
    """Return an expression that fixes every error in a text at once, or None."""
    if len(text.strip().splitlines()) > 1:
        return None  # several lines: which one was meant?
    joined = list(_join_items(text))
    guesses = [*joined, *_fix_tokens(text)]
    for each in (text, *joined):
        guesses += _guess_texts(each)
    plain = (" ".join(guess.split()) for guess in guesses if guess != text)
    found = list(filter(_is_read, plain))
    if _STEP_ALONE.search(text) and len(set(map(_read_values, found))) > 1:
        return None
    return found[0] if found else None


def _join_items(text: str) -> Iterator[str]:
    """Yield the text without the spaces inside its lists and ranges."""
    if len(text) > parser.MAX_LENGTH:
        return
    joined = _BLANKS_INSIDE.sub(lambda found: "".join(found[0].split()), text)
    if joined != text:
        yield joined


def _fix_tokens(text: str) -> Iterator[str]:
    """Yield the text with its invalid tokens replaced, one after another."""
    for _ in range(_MOST_REPAIRS):
        errors = parser.read(text, parser.take_lowest).errors
        token = _find_token(text, errors[0]) if errors else None
        if token is None:
            yield text
            return
        text = _put(text, errors[0], token)


def _find_token(text: str, error: FieldError) -> str | None:
    """Return a replacement for the error's value, or None."""
    if error.field == "expression" or error.value is None or error.column is None:
        return None
    spec = _SPECS[error.field]
    for token in _guess_tokens(spec, text, error):
        if token and token == error.value:
            continue
        read_again = parser.read(_put(text, error, token), parser.take_lowest)
        # Fixed means: no error up to the end of the token.
        end = error.column + len(token)
        if all(
            other.field != error.field or (other.column or 0) >= end
            for other in read_again.errors
        ):
            return token
    return None


def _is_read(text: str) -> bool:
    """Return whether a text is an expression that fires."""
    fields = parser.read(text, parser.take_lowest).fields
    return fields is not None and has_days(fields, day_or=True)


def _read_values(text: str) -> tuple[tuple[Token, ...], ...] | None:
    """Return the values of all fields, however they are written."""
    fields = parser.read(text, parser.take_lowest).fields
    return None if fields is None else fields[:-1]


def _put(text: str, error: FieldError, token: str) -> str:
    """Replace the error's value by `token`."""
    assert error.column is not None
    assert error.value is not None
    start, end = error.column, error.column + len(error.value)
    if not error.value:  # an empty list item is removed with one of its commas
        before = text[start - 1 : start] == ","
        start, end = (start - 1, end) if before else (start, end + 1)
    return text[:start] + token + text[end:]


def _guess_tokens(spec: FieldSpec, text: str, error: FieldError) -> Iterator[str]:
    """Yield guesses at what a token was meant to be, likeliest first."""
    value, column = error.value or "", error.column or 0
    before = text[column - 1 : column]
    yield value.strip(_QUOTES)
    yield _to_ascii(value).strip(_QUOTES)
    if not value.strip("0") and before == "/":
        yield "1"
    is_time = spec.name in ("second", "minute", "hour")
    if is_time and value == str(spec.top + 1):  # 60 seconds, 24 hours
        yield str(spec.top) if before == "-" else "0"
    if value == "?":
        yield "*"
    if _STAR_NUMBER.fullmatch(value):
        yield value.replace("*", "*/")
    if value.startswith("/"):
        yield f"*{value}"
    yield value.replace("..", "-")
    yield value.replace(";", ",")
    yield _SWAPPED.sub(r"\2\1", value)
    yield from _guess_names(spec, value)


def _guess_names(spec: FieldSpec, value: str) -> Iterator[str]:
    """Yield the three-letter name of the only month or weekday similar to a word.

    Both begin with the same letter: ``lun`` is Monday in half of Europe, not ``sun``.
    """
    word = value.lower()
    if not word.isalpha() or len(word) < _SHORTEST_NAME:
        return
    begun = [name for name in spec.names if name.startswith(word)]
    plural = [name for name in (word.removesuffix("s"),) if name in spec.names]
    close = difflib.get_close_matches(word, spec.names, n=4, cutoff=_CLOSE_NAME)
    foreign = _find_foreign(spec, word)
    close = [
        name for name in close if name[0] == word[0] and foreign <= {spec.names[name]}
    ]
    for names in (begun, plural, close):
        if len({spec.names[name] for name in names}) == 1:
            yield names[0][:3]
            return


def _find_foreign(spec: FieldSpec, word: str) -> set[int]:
    """Return what a word may mean in any language: ``oca`` is a Turkish January."""
    place = 1 if spec.name == "month" else 0
    return {
        value
        for names in NAMES.values()
        for value, name in enumerate(names[place].casefold().split("|"), spec.low)
        if name.startswith(word)
    }


def _guess_texts(text: str) -> Iterator[str]:
    """Yield guesses at what a text was meant to be, likeliest first."""
    if len(text) > parser.MAX_LENGTH:
        return
    yield text.strip().strip(_QUOTES)
    yield _to_ascii(text).strip().strip(_QUOTES)
    words = text.split()
    if len(words) == 1:
        yield from _guess_nicknames(words[0].lower().lstrip("@"))
    for count in (6, 5):  # Quartz appends a year, a crontab a command
        if len(words) > count and _is_surplus(words[count]):
            yield " ".join(words[:count])


def _guess_nicknames(word: str) -> Iterator[str]:
    """Yield a similar nickname, or the meaning of another cron's nickname."""
    meanings = {name[1:]: name for name in NICKNAMES} | _OTHER_NICKNAMES
    for name in difflib.get_close_matches(word, meanings, n=1, cutoff=_CLOSE_NICKNAME):
        if name[0] == word[0]:
            yield meanings[name]


def _is_surplus(word: str) -> bool:
    """Return whether a word that follows an expression is not part of it."""
    if _YEAR.fullmatch(word):
        return True
    if word.lower() in _CONJUNCTIONS or _TORN_OFF.fullmatch(word):
        return False
    fields = ("* " * place + word + " *" * (4 - place) for place in range(5))
    return not any(parser.read(text, parser.take_lowest).fields for text in fields)


def suggest_zone(text: str) -> str | None:
    """Return the IANA name that was probably meant; None if it is not clear.

    Abbreviations are ambiguous: CST is a zone on three continents. For an offset, it is
    an ``Etc/GMT`` name, whose sign is inverted.
    """
    offset = _OFFSET.fullmatch(text.strip())
    if offset is not None:
        return _name_offset(offset["sign"], int(offset["hours"]), offset["minutes"])
    known = available_timezones()
    wanted = _fold_zone(text)
    folded = {_fold_zone(name): name for name in sorted(known)}
    if wanted in folded:  # another case, or a space instead of the underscore
        return folded[wanted]
    cities = [
        n for n in known if "/" in n and _fold_zone(n.rpartition("/")[2]) == wanted
    ]
    if cities:
        return _choose_zone(cities)
    if "/" not in wanted:
        return None
    close = difflib.get_close_matches(wanted, folded, n=3, cutoff=_CLOSE_ZONE)
    alike = [name for name in close if name.count("/") == wanted.count("/")]
    return _choose_zone([folded[name] for name in alike])


def _fold_zone(name: str) -> str:
    return name.strip().strip(_QUOTES).casefold().replace(" ", "_").replace("-", "_")


def _choose_zone(names: list[str]) -> str | None:
    """Return one of the names if they all have the same offset, else None."""
    offsets = {
        tuple(
            datetime(2026, month, 1, tzinfo=ZoneInfo(name)).utcoffset()
            for month in (1, 7)
        )
        for name in names
    }
    if len(offsets) != 1:
        return None
    # Prefer names with a region: "Europe/Berlin" over "Berlin".
    return max(names, key=lambda name: ("/" in name, name))


def _name_offset(sign: str, hours: int, minutes: str | None) -> str | None:
    """Return the name of a fixed offset of whole hours; None for any other offset."""
    if int(minutes or "0") or hours > (14 if sign == "+" else 12):
        return None
    if hours == 0:
        return "UTC"
    return f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"


def _to_ascii(text: str) -> str:
    """Replace other scripts' dashes, stars and digits by the ASCII ones."""
    return "".join(map(_plain, unicodedata.normalize("NFKC", text)))


def _plain(character: str) -> str:
    """Return the ASCII equivalent of a character."""
    if unicodedata.category(character) == "Pd":
        return "-"
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return "*" if character in "∗＊⁎✱" else character  # noqa: RUF001 - as above
