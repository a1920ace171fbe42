"""What happened: `history()` reads it from the file, `purge_history()` deletes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ipycron.api.run_list import History, format_at
from ipycron.client.instants import read_past
from ipycron.client.registry import registry
from ipycron.errors import HistoryError, InvalidOption, UnknownRun, suggest
from ipycron.runlog.following import Follower
from ipycron.runlog.ids import abbreviate
from ipycron.runlog.keeper import READERS_PATIENCE
from ipycron.runlog.reading import (
    Query,
    before_reading,
    find_runs,
    read_attempts,
    read_history,
    read_names,
)
from ipycron.runlog.rows import ENDED, FAILURES, RunOutcome
from ipycron.runlog.settings import (
    KEEP_DAYS,
    KEEP_RUNS,
    MAX_BYTES,
    VARIABLE,
    find_settings,
    make_settings,
)
from ipycron.scheduling.checks import MAX_WHOLE, check_limit
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    import os
    from pathlib import Path
    from typing import Literal, TypeAlias

    from ipycron.client.instants import Instant
    from ipycron.runlog.records import RunRecord

    OutcomeName: TypeAlias = Literal[
        "queued",
        "running",
        "finished",
        "failed",
        "timed_out",
        "crashed",
        "stopped",
        "cancelled",
        "replaced",
        "missed",
        "overlap",
        "not_elected",
        "coordinator_error",
        "paused",
        "excluded",
        "superseded",
        "lost",
        "failures",
    ]

GROUPS = {"failures": FAILURES}
"""Words that stand for several outcomes."""
_ENDED = frozenset(map(str, ENDED))
_RUNNING = frozenset({str(RunOutcome.RUNNING)})
_CANDIDATES = 5  # runs that an error lists


def history(
    name: str | Iterable[str] | None = None,
    *,
    since: Instant | None = None,
    until: Instant | None = None,
    outcome: RunOutcome
    | OutcomeName
    | Iterable[RunOutcome | OutcomeName]
    | None = None,
    limit: int | None = 100,
) -> History:
    """Return what happened, the newest first: a row for each slot and each call.

    Read from the file that all programs of this user write, so that it also has what
    happened before this process, and in others. Whoever writes is not delayed. A file
    that does not exist yet has no rows.

    Args:
        name: of the tasks: one, or several; None for all. A task without a name has
            its id for a name.
        since: the first instant: a datetime (local time if it has no zone), a date
            (its midnight), a timedelta (that long ago), or text: ``"7d"`` or ``"24h"``
            (that long ago), a date or a datetime in ISO 8601.
        until: the instant after the last one, likewise.
        outcome: one or several of `RunOutcome`, or their strings; ``"failures"`` stands
            for all runs that began and did not succeed, though nobody ended them:
            failed, timed_out, crashed and lost.
        limit: how many at most; None for all.

    Returns:
        A list that a notebook shows as a table, with `to_pandas()` and `summary()`.

    Raises:
        InvalidOption: if an argument is something else.
        HistoryError: if the file cannot be read.

    Examples:
        >>> import ipycron
        >>> ipycron.history("no such task", since="7d", outcome="failures")
        <History: nothing>
    """
    path = get_path()
    query = make_query(name, since, until, outcome, limit)
    return History(is_off=True) if path is None else read_list(path, query)


def purge_history(
    name: str | Iterable[str] | None = None, *, before: Instant | None = None
) -> int:
    """Delete what happened from the file, for good: it is overwritten there.

    Runs that are not over stay.

    Args:
        name: of the tasks: one, or several; None for all.
        before: the instant after the last one to delete, as `until` of `history`; None
            for all.

    Returns:
        How many runs, and slots without one, were deleted.

    Raises:
        InvalidOption: if an argument is something else.
        HistoryError: if the file cannot be written.
    """
    from ipycron.runlog.purging import delete_runs  # noqa: PLC0415 - seldom used

    names = check_names("name", name)
    end = read_past("before", before, SystemClock().now())
    return delete_runs(require_path(), names, end)


def set_history(
    path: str | os.PathLike[str] | None,
    *,
    keep_runs: int = KEEP_RUNS,
    keep_days: float = KEEP_DAYS,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Set where the history of this process's tasks is written, and how much is kept.

    What was written elsewhere stays there, except that rows of runs in progress move to
    the new file; with None, these runs end in the file where they began. Without this,
    the environment variable ``IPYCRON_HISTORY`` decides (a path, or ``off``), or else
    it is in the user's folder for state.

    Args:
        path: of the file; None for no history.
        keep_runs: how many runs are kept of each task name, the newest.
        keep_days: for how many days. The last success and the last failure of each name
            are kept longer.
        max_bytes: how large the file may become; the oldest runs go first.

    Raises:
        InvalidOption: if a value is of another type or out of range.
    """
    registry.set_history(
        make_settings(
            path, keep_runs=keep_runs, keep_days=keep_days, max_bytes=max_bytes
        )
    )


def _write_own() -> None:
    """Have this process's rows written before they are read."""
    client = registry.running_client
    if client is not None:
        client.flush_history(READERS_PATIENCE)


before_reading.append(_write_own)


def get_path() -> Path | None:
    """Return the path of the file; None if there is no history.

    Raises:
        HistoryError: if there is no place for it.
    """
    return (registry.history or find_settings()).file


def require_path() -> Path:
    """Return the path of the file.

    Raises:
        HistoryError: if there is no history, or no place for it.
    """
    path = get_path()
    if path is None:
        reason = (
            "the history is off. Unset this variable, set it to the path of a file, or "
            "call set_history(path)."
        )
        raise HistoryError(path=VARIABLE, reason=reason)
    return path


def make_query(
    name: Any = None, since: Any = None, until: Any = None, outcome: Any = None,
    limit: Any = None,
) -> Query:  # fmt: skip
    """Return the arguments of `history`, checked."""
    now = SystemClock().now()
    first = read_past("since", since, now)
    end = read_past("until", until, now)
    if first is not None and end is not None and first > end:
        raise InvalidOption(
            option="since", value=since, expected=f"an instant before until ({until})"
        )
    return Query(
        names=check_names("name", name),
        since=first,
        until=end,
        outcomes=_check_outcomes(outcome),
        limit=check_limit("limit", limit),
    )


def check_names(option: str, value: Any) -> tuple[str, ...] | None:
    """Return one or several names, each once; None for None.

    Raises:
        InvalidOption: if it is something else.
    """
    if value is None:
        return None
    names = _list(value)
    if names is None or not all(isinstance(name, str) for name in names):
        raise InvalidOption(
            option=option, value=value, expected="the name of a task, or several"
        )
    return tuple(dict.fromkeys(names))


def _list(value: Any) -> list[Any] | None:
    """Return a text alone, or what an iterable has; None for anything else."""
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Iterable) else None


def _check_outcomes(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    known = [*map(str, RunOutcome), *GROUPS]
    words = _list(value)
    for word in [value] if words is None else words:
        if not isinstance(word, str) or word not in known:
            near = suggest(word, known) if isinstance(word, str) else ""
            raise InvalidOption(
                option="outcome",
                value=word,
                expected=f"one of {', '.join(known)}",
                advice=near.strip(),
            )
    return frozenset(
        str(each) for word in words or () for each in GROUPS.get(word, (word,))
    )


def read_list(path: Path, query: Query) -> History:
    """Return what a query finds; it says so if older ones are left out."""
    limit = query.limit
    if limit is None:
        return History(read_history(path, query))
    records = read_history(path, replace(query, limit=min(limit + 1, MAX_WHOLE)))
    return History(records[:limit], limit=limit if len(records) > limit else None)


def find_run(name: str, text: str) -> RunRecord:
    """Return the run of a task with that id, which may be abbreviated.

    Raises:
        UnknownRun: if there is no such task or run, or more than one run.
        HistoryError: if the file cannot be read.
    """
    path = get_path()
    found = [] if path is None else find_runs(path, name, text, _CANDIDATES + 1)
    if len(found) == 1:
        return found[0]
    if not found:
        check_known([name])
    raise UnknownRun(
        name=name,
        run=text,
        candidates=[
            f"{shown} ({format_at(record)} {record.outcome})"
            for shown, record in zip(
                abbreviate([record.id for record in found]), found, strict=True
            )
        ][:_CANDIDATES]
        + ["…"] * (len(found) > _CANDIDATES),
    )


def read_last_run(name: str) -> RunRecord | None:
    """Return the last run of a task that is over, or None."""
    query = Query(names=(name,), outcomes=_ENDED, limit=1)
    return next(iter(read_history(require_path(), query)), None)


def read_running(name: str) -> list[RunRecord]:
    """Return the runs of a task that are in progress: what they write comes later."""
    return read_history(require_path(), Query(names=(name,), outcomes=_RUNNING))


def follow(name: str) -> Follower:
    """Return what reads the further runs of a task as they end.

    Raises:
        HistoryError: if there is no history.
    """
    return Follower(require_path(), name)


def read_tries(record: RunRecord) -> list[RunRecord]:
    """Return the attempts of a run, the first one first; none if it was not retried."""
    path = get_path()
    return [] if path is None else read_attempts(path, record.id)


def read_known() -> list[str]:
    """Return the names of all tasks in the history, in alphabetical order."""
    path = get_path()
    return [] if path is None else read_names(path)


def check_known(names: Iterable[str]) -> None:
    """Refuse names that the history has no task of.

    Raises:
        UnknownRun: the text suggests a name.
    """
    known = read_known()
    for name in names:
        if name not in known:
            raise UnknownRun(name=name, known=known)
