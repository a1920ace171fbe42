"""The text after `%cron`: words, options and expressions. Pure.

Words are split as in a shell. An option may be anywhere; after ``--`` all words belong
to the task file. The expression needs no quotes: it is the longest prefix of six, five
or one words that is valid, or what follows ``every`` and ``at``.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipycron.client.options import find_advice
from ipycron.errors import InvalidOption, suggest
from ipycron.scheduling.checks import OptionKind
from ipycron.triggers.durations import read_duration
from ipycron.triggers.union import read_trigger
from ipycron.triggers.union import split_trigger as split_trigger  # noqa: PLC0414 - a part of the grammar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HELP = frozenset({"-h", "--help"})

_FLAG = re.compile(r"-[A-Za-z]|--.*")


class LineError(ValueError):
    """A line that cannot be read. The text is one sentence, for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MagicOption:
    """One option of a line.

    Attributes:
        flag: as typed: ``--max-executions``.
        aliases: other ways to type it.
        target: the name under which its value is stored.
        kind: how its text is parsed.
        value: what a flag sets.
        check: takes the flag and the value; returns the value or raises.
        help: one line for the manual.
        completes: what may follow, for completion: ``"variable"``, ``"zone"``.
    """

    flag: str
    aliases: tuple[str, ...] = ()
    target: str
    kind: OptionKind
    value: bool = True
    check: Callable[[str, Any], Any]
    help: str
    completes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLine:
    """A line, split.

    Attributes:
        words: the words that are not options.
        values: the options' values, checked, by target.
        rest: the words after ``--``.
        is_help: whether help is requested.
    """

    words: tuple[str, ...]
    values: dict[str, Any]
    rest: tuple[str, ...] = ()
    is_help: bool = False


def split_words(line: str) -> list[str]:
    """Return the words of a line, without the quotes around them.

    Raises:
        LineError: if a quote is not closed.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError as error:
        what = "a quote is not closed" if "quot" in str(error) else "a \\ ends the line"
        raise LineError(f"{what}: {_hide_values(line.strip())}") from None


_SECRETIVE = re.compile(r"(--env\b|\.py\b|\s--\s).*", re.DOTALL)


def _hide_values(line: str) -> str:
    """Cut a line before variables and arguments, which may hold passwords."""
    return _SECRETIVE.sub(r"\1 …", line)


def parse_words(
    words: Sequence[str],
    options: Mapping[str, MagicOption],
    *,
    names: Mapping[str, Any],
) -> ParsedLine:
    """Separate the options of a line from its other words.

    Args:
        words: the words.
        options: the known options, by flag and by alias.
        names: the notebook's variables, for options whose values are objects.

    Raises:
        LineError: if there is no such option (the text suggests one), or if a value
            is missing, cannot be read or is out of range.
    """
    plain: list[str] = []
    values: dict[str, Any] = {}
    pending = deque(words)
    is_help = False
    while pending:
        word = pending.popleft()
        if word == "--":
            break
        if word in HELP:
            is_help = True
        elif _FLAG.fullmatch(word):
            _take_option(word, pending, options, values, names)
        else:
            plain.append(word)
    return ParsedLine(
        words=tuple(plain), values=values, rest=tuple(pending), is_help=is_help
    )


def _take_option(
    word: str,
    pending: deque[str],
    options: Mapping[str, MagicOption],
    values: dict[str, Any],
    names: Mapping[str, Any],
) -> None:
    flag, has_text, text = word.partition("=")
    option = _find_option(flag, options)
    if option.kind is OptionKind.FLAG:
        if has_text:
            raise LineError(f"{flag} takes no value, got {text!r}")
        values[option.target] = option.value
        return
    if not has_text:
        if not pending or _FLAG.fullmatch(pending[0]):
            raise LineError(f"{flag}: got nothing, expected {_EXPECTED[option.kind]}")
        text = pending.popleft()
    value = _read(flag, text, option.kind, names)
    if option.kind is OptionKind.PAIR:
        value = {**values.get(option.target, {}), **value}
    elif option.kind is OptionKind.NAMES:
        value = (*values.get(option.target, ()), *value)
    elif option.kind is OptionKind.TEXTS:
        value = [*values.get(option.target, ()), value]
    values[option.target] = _check(flag, text, value, option)


def _find_option(flag: str, options: Mapping[str, MagicOption]) -> MagicOption:
    if flag in options:
        return options[flag]
    near = _find_near(flag, options)
    if not options:
        raise LineError(f"got {flag!r}, but there are no options here")
    listed = ", ".join(sorted({option.flag for option in options.values()}))
    raise LineError(f"{flag!r} is not an option.{near or f' Options: {listed}.'}")


def _find_near(flag: str, options: Mapping[str, MagicOption]) -> str:
    """Return a hint for a flag of another scheduler, or a mistyped one."""
    advice = find_advice(flag.lstrip("-"))
    ours = re.search("called '(.*)'", advice)
    if ours is not None:
        named = [o.flag for o in options.values() if o.target == ours[1]]
        return f" Here it is called {named[0]!r}." if named else suggest(flag, options)
    return advice or suggest(flag, options)


def _check(flag: str, text: str, value: Any, option: MagicOption) -> Any:
    """Return the checked value; report errors in terms of the text as typed."""
    try:
        return option.check(flag, value)
    except InvalidOption as error:
        # The rest is for programs: "(int, float or timedelta)", "or None", and what is
        # no text.
        expected = re.sub(r" \([^()]*\)$", "", error.expected.removesuffix(", or None"))
        expected = expected[max(0, expected.find("text such as ")) :]
        shown = _show(text, option.kind)
        advice = f". {error.advice}" if error.advice else ""
        raise LineError(f"{flag}: got {shown}, expected {expected}{advice}") from None


def _read(  # noqa: PLR0911 - one for each kind
    flag: str, text: str, kind: OptionKind, names: Mapping[str, Any]
) -> Any:
    match kind:
        case OptionKind.NUMBER if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        case OptionKind.FACTOR if re.fullmatch(r"[+-]?\d*\.?\d+", text):
            return float(text)
        case OptionKind.DURATION if (seconds := read_duration(text)) is not None:
            return seconds
        case OptionKind.NAMES:
            return tuple(name for name in re.split(r"[,\s]+", text) if name)
        case OptionKind.PAIR if text.find("=") > 0:
            name, _, value = text.partition("=")
            return {name: value}
        case OptionKind.OBJECT if text in names:
            return names[text]
        case OptionKind.TEXT | OptionKind.TEXTS:
            return text
    near = suggest(text, names) if kind is OptionKind.OBJECT else ""
    raise LineError(
        f"{flag}: got {_show(text, kind)}, expected {_EXPECTED[kind]}"
        f"{near and '.'}{near}"
    )


def _show(text: str, kind: OptionKind) -> str:
    """Return what an error shows of an option: a variable's name, not its value."""
    if kind is OptionKind.PAIR and "=" in text:
        text = f"{text.partition('=')[0]}=…"
    return repr(text)


_EXPECTED = {
    OptionKind.TEXT: "a value",
    OptionKind.TEXTS: "a value",
    OptionKind.NUMBER: "a whole number",
    OptionKind.FACTOR: "a number such as 2 or 0.1",
    OptionKind.DURATION: "a time such as 90, 1.5, 10m or 2h",
    OptionKind.NAMES: "names separated by commas",
    OptionKind.PAIR: "KEY=VALUE",
    OptionKind.OBJECT: "the name of a variable of the notebook",
}


def refuse_expression(words: Sequence[str]) -> None:
    """Raise the error for words that do not form exactly one trigger.

    Raises:
        CronSyntaxError: with a caret below what is wrong.
        InvalidOption: if a value is out of range.
    """
    read_trigger(" ".join(words), hash_id="")
