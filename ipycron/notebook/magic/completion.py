"""Completes the line of `%cron` and `%%cron`: commands, options, names, variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args
from zoneinfo import available_timezones

from IPython.core.completer import SimpleCompletion

from ipycron.api import functions as api
from ipycron.api.run_list import has_more
from ipycron.client.options import IF_EXISTS
from ipycron.client.registry import registry
from ipycron.errors import HistoryError
from ipycron.notebook.capture.writer import is_own
from ipycron.notebook.magic.commands import COMMANDS
from ipycron.notebook.magic.grammar import LineError, split_words
from ipycron.notebook.magic.options import get_task_options, index_options
from ipycron.process.wire.protocol import LauncherName
from ipycron.scheduling.checks import OptionKind
from ipycron.scheduling.policy import CatchUpMode, Overlap
from ipycron.triggers.exclude import OnExcluded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from ipycron.notebook.magic.grammar import MagicOption

_LINE = re.compile(r"\s*(%%?)cron\s+(.*)", re.DOTALL)
_FIRST = ("every", "at", "@hourly", "@daily", "@midnight", "@weekly", "@monthly")
_NICKNAMES = (*_FIRST, "@yearly")
_TAKES_NAMES = frozenset(
    {
        *("start", "stop", "pause", "resume", "run", "destroy"),
        *("show", "history", "logs", "next", "wait", "why"),
    }
)
_CHOICES = {
    "catch_up": get_args(CatchUpMode),
    "overlap": get_args(Overlap),
    "failure": ("timeout", "crash", "ConnectionError", "OSError", "TimeoutError"),
    "if_exists": IF_EXISTS,
    "on_excluded": get_args(OnExcluded),
    "launcher": get_args(LauncherName),
}


class Completions(NamedTuple):
    """What can be completed at the cursor.

    Attributes:
        fragment: the text already there.
        texts: what can replace it.
        kind: their type, as shown by front ends.
    """

    fragment: str
    texts: list[str]
    kind: str


def match(context: CompletionContext, shell: Any) -> SimpleMatcherResult:
    """Return completions at the cursor: a matcher of IPython's completer."""
    found = complete(context.text_until_cursor, shell)
    if found is None:
        return {"completions": []}
    return {
        "completions": [
            SimpleCompletion(text=text, type=found.kind) for text in found.texts
        ],
        "matched_fragment": found.fragment,
        "suppress": True,
        "ordered": True,
    }


def complete(text: str, shell: Any) -> Completions | None:
    """Return completions at the end of a line; None to leave that to others."""
    line = _LINE.fullmatch(text.rpartition("\n")[2])
    if line is None:
        return None
    is_cell = line[1] == "%%"
    *words, fragment = re.split(r"\s+", line[2])
    command = words[0] if words and words[0] in COMMANDS and not is_cell else None
    options = (
        get_task_options()
        if command is None
        else index_options(COMMANDS[command].options)
    )
    taking = options.get(words[-1]) if words else None
    if taking is not None and taking.kind is not OptionKind.FLAG:
        return _complete_value(taking, fragment, shell, words[1:-1])
    if fragment.startswith("-"):
        return _complete_option(options, words, fragment)
    if not words:
        known = _NICKNAMES if is_cell else (*COMMANDS, *_NICKNAMES)
        return _pick(fragment, known, "keyword")
    names = _find_names(command, words)
    if names is None:
        return None
    return _pick(fragment, map(_quote, names), "instance")


def _find_names(command: str | None, words: Sequence[str]) -> list[str] | None:
    """Return the names that a command takes and that are not there yet."""
    if command == "pool":  # of one pool; then comes a limit
        return _find_pools() if len(words) == 1 else None
    if command not in _TAKES_NAMES:
        return None
    names = [task.name for task in api.get_tasks().values()]
    if command == "history":
        names = list(dict.fromkeys([*names, *_find_past()]))
    return [name for name in names if name not in words]


def _find_pools() -> list[str]:
    """Return the names of all pools, sorted."""
    client = registry.running_client
    pools = () if client is None else client.pools
    return sorted(name for name in pools if name is not None)


def _find_past() -> list[str]:
    """Return the names of all tasks in the history, if it can be read."""
    from ipycron.api.history import read_known  # noqa: PLC0415 - SQLite, for few

    try:
        return read_known()
    except HistoryError:
        return []


def _find_runs(names: Sequence[str]) -> list[str]:
    """Return the ids of the last runs of tasks, if the history can be read."""
    from ipycron.api.history import history  # noqa: PLC0415 - as above

    try:
        runs = history(split_words(" ".join(names)))
    except (HistoryError, LineError):
        return []
    return [run.id for run in runs if has_more(run)]


def _complete_option(
    options: Mapping[str, MagicOption], words: Sequence[str], fragment: str
) -> Completions | None:
    """Complete an option that is not given yet, in its long form."""
    given = {options[word].flag for word in words if word in options}
    flags = dict.fromkeys(option.flag for option in options.values())
    aliases = [name for name in options if name.startswith("--")]
    known = [*flags, *(name for name in aliases if name not in flags)]
    left = [name for name in known if options[name].flag not in given]
    return _pick(fragment, left, "param")


def _complete_value(
    option: MagicOption, fragment: str, shell: Any, names: Sequence[str]
) -> Completions | None:
    known: Iterable[str]
    match option.completes:
        case "variable":
            own = [name for name in shell.user_ns if is_own(name, shell)]
            before, comma, last = fragment.rpartition(",")
            found = _pick(last, sorted(own), "variable")
            if comma:
                texts = [f"{before},{text}" for text in found.texts]
                return Completions(fragment, texts, found.kind)
            return found
        case "zone":
            known = sorted(available_timezones())
        case "pool":
            known = _find_pools()
        case choices if choices in _CHOICES:
            known = _CHOICES[choices]
        case "run":
            known = _find_runs(names)
        case _ if option.kind is OptionKind.OBJECT:
            return None  # files and variables would be wrong
        case _:
            known = ()
    return _pick(fragment, known, "text")


def _pick(fragment: str, known: Iterable[str], kind: str) -> Completions:
    folded = fragment.casefold()
    texts = [text for text in known if text.casefold().startswith(folded)]
    return Completions(fragment, texts, kind)


def _quote(name: str) -> str:
    return f'"{name}"' if re.search(r"\s", name) else name
