"""The options of `%%cron`: a task's, as the API declares them, and a few more."""

from __future__ import annotations

import keyword
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipycron.client.options import Knobs, TaskOptions, fold_knobs
from ipycron.errors import InvalidOption
from ipycron.notebook.magic.grammar import MagicOption
from ipycron.scheduling.checks import OptionKind, check_flag, option

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALIASES = {
    "timezone": ("--tz",),
    "max_executions": ("--max",),
    "jitter": ("--jitter",),
    "day_or": ("--day-and",),
    "history": ("--no-history",),
    "run_coordinator": ("--coordinator",),
    "executor": ("--on",),
    "count": ("-n",),
}
_WHEN_OFF = {
    "day_or": "both day fields must match, instead of either of them",
    "history": "leave its runs out of the history's file",
}
"""Help of flags that switch something off."""
_NOT_HERE = frozenset({"args", "background", "echo", "unref"})
"""Options that the line expresses otherwise, or that notebooks do not need."""
_FIRST = ("name", "timezone")
_COMPLETES = {
    "timezone": "zone",
    "catch_up": "catch_up",
    "overlap": "overlap",
    "retry_on": "failure",
    "pool": "pool",
    "if_exists": "if_exists",
    "on_excluded": "on_excluded",
    "launcher": "launcher",
    "append_to": "variable",
    "into": "variable",
    "capture": "variable",
    "run_coordinator": "variable",
    "executor": "variable",
    "worker_init": "variable",
    "logger": "variable",
    "run": "run",
}


def check_variable(name: str, value: Any) -> str | None:
    """Accept a variable name or None."""
    if value is None or _is_name(value):
        return value  # type: ignore[no-any-return]
    raise InvalidOption(option=name, value=value, expected="a name for a variable")


def _check_names(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None or all(map(_is_name, value)):
        return value  # type: ignore[no-any-return]
    raise InvalidOption(option=name, value=value, expected="names of variables")


def _is_name(value: Any) -> bool:
    is_text = isinstance(value, str) and value.isidentifier()
    return is_text and not keyword.iskeyword(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """The options of a cell beyond those of its task."""

    run_now: bool = option(
        False, check_flag, "also run once right now", kind=OptionKind.FLAG
    )
    into: str | None = option(
        None,
        check_variable,
        "variable of the notebook that each result is bound to",
        kind=OptionKind.TEXT,
    )
    append_to: str | None = option(
        None,
        check_variable,
        "list of the notebook that each result is added to",
        kind=OptionKind.TEXT,
    )
    inline: bool = option(
        False,
        check_flag,
        "run in the notebook's own process and namespace",
        kind=OptionKind.FLAG,
    )
    capture: tuple[str, ...] | None = option(
        None,
        _check_names,
        "variables that the cell takes along: exactly these",
        kind=OptionKind.NAMES,
    )
    no_capture: bool = option(
        False, check_flag, "take no variables along", kind=OptionKind.FLAG
    )
    quiet: bool = option(
        False, check_flag, "show nothing under the cell", kind=OptionKind.FLAG
    )


@lru_cache(maxsize=1)
def get_task_options() -> dict[str, MagicOption]:
    """Return the options of a line that schedules, by flag and by alias."""
    return _index(
        [
            *make_options(CellOptions),
            *make_options(TaskOptions),
            *make_options(Knobs),
        ],
    )


def split_values(values: dict[str, Any]) -> tuple[dict[str, Any], CellOptions]:
    """Split the values into the task's options and the cell's options."""
    own = {f.name for f in fields(CellOptions)}
    task = {name: value for name, value in values.items() if name not in own}
    cell = {name: value for name, value in values.items() if name in own}
    return fold_knobs(task), CellOptions(**cell)


def index_options(declaration: type[Any]) -> dict[str, MagicOption]:
    """Return the options that a dataclass declares, by flag and by alias."""
    return _index(make_options(declaration))


def _index(options: Iterable[MagicOption]) -> dict[str, MagicOption]:
    return {name: item for item in options for name in (item.flag, *item.aliases)}


def make_options(declaration: type[Any]) -> list[MagicOption]:
    """Return the options that a dataclass declares, name and zone first."""
    declared = [f for f in fields(declaration) if f.name not in _NOT_HERE]
    declared.sort(key=lambda f: f.name not in _FIRST)
    return [_make_option(f) for f in declared]


def _make_option(declared: Any) -> MagicOption:
    kind: OptionKind = declared.metadata["kind"]
    # For an option that is on by default, the flag switches it off.
    is_off_switch = kind is OptionKind.FLAG and declared.default is True
    flag = f"--{'no-' * is_off_switch}{declared.name.strip('_').replace('_', '-')}"
    # The option's own aliases are the command line's, of which one may be this flag.
    others = (*_ALIASES.get(declared.name, ()), *declared.metadata.get("aliases", ()))
    return MagicOption(
        flag=flag,
        aliases=tuple(other for other in others if other != flag),
        target=declared.name,
        kind=kind,
        value=not is_off_switch,
        check=declared.metadata["check"],
        help=_WHEN_OFF[declared.name] if is_off_switch else declared.metadata["help"],
        completes=_COMPLETES.get(declared.name, ""),
    )
