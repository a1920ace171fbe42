"""`%cron pool`: the limits of pools, shown and set."""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's methods have no annotations.
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.display import display

from ipycron.api import functions as api
from ipycron.api.pools import get_pools
from ipycron.errors import suggest
from ipycron.notebook.display.tables import PoolTable
from ipycron.scheduling.checks import OptionKind, check_flag, option

if TYPE_CHECKING:
    from collections.abc import Collection

    from ipycron.notebook.magic.grammar import ParsedLine
    from ipycron.notebook.magic.notebook import Notebook

NO_LIMIT = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Which pool, where it has no name."""

    others: bool = option(
        False, check_flag, "that of the tasks without a pool", kind=OptionKind.FLAG
    )


def show_pools(_: Notebook, line: ParsedLine) -> None:
    """Show pools, or one; set its limit first if the line has one."""
    words = list(line.words)
    if not words and not line.values.get("others"):
        pools = get_pools()
        if pools:
            display(PoolTable(pools))
        else:
            print("there is no pool: %cron pool NAME LIMIT makes one")  # noqa: T201 - the answer
        return
    name = None if line.values.get("others") else words.pop(0)
    if len(words) > 1:
        raise UsageError(f"%cron pool: got {words[1]!r} after the limit")
    if words:
        api.set_pool(name, _read_limit(words[0]))
    pools = get_pools()
    if name not in pools:
        raise UsageError(_describe_missing(name, pools))
    display(PoolTable({name: pools[name]}))


def _read_limit(text: str) -> int | None:
    if text.lower() == NO_LIMIT:
        return None
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise UsageError(
            f"%cron pool: got {text!r}, expected a limit from 1, or {NO_LIMIT}"
        )
    return int(text)


def _describe_missing(name: str | None, pools: Collection[str | None]) -> str:
    if name is None:
        return "the tasks without a pool have no limit: %cron pool --others LIMIT"
    known = sorted(pool for pool in pools if pool is not None)
    listed = f" Pools: {', '.join(known)}." if known else ""
    return (
        f"no pool is called {name!r}.{suggest(name, known)}{listed} "
        "%cron pool NAME LIMIT makes one"
    )
