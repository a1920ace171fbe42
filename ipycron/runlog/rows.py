"""The rows of the history, as the writers make them; instants are Unix seconds.

Source: behaviour H1 and H2.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.plan import Recounted

if TYPE_CHECKING:
    from collections.abc import Callable


class RunOutcome(StrEnum):
    """What became of a slot or of a call; the strings are accepted as well."""

    QUEUED = "queued"  # open: waits for a place, a delay, an election or a worker
    RUNNING = "running"  # open: its code has begun
    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    REPLACED = "replaced"
    MISSED = "missed"
    OVERLAP = "overlap"
    NOT_ELECTED = "not_elected"
    COORDINATOR_ERROR = "coordinator_error"
    PAUSED = "paused"
    EXCLUDED = "excluded"
    SUPERSEDED = "superseded"
    LOST = "lost"  # the process that ran it vanished


OPEN = frozenset({RunOutcome.QUEUED, RunOutcome.RUNNING})
"""Outcomes of rows that are not closed yet."""

FAILURES = frozenset(
    {RunOutcome.FAILED, RunOutcome.TIMED_OUT, RunOutcome.CRASHED, RunOutcome.LOST}
)
"""Outcomes of runs that began and did not succeed, though nobody ended them."""

ENDED = FAILURES | {
    RunOutcome.FINISHED,
    RunOutcome.STOPPED,
    RunOutcome.CANCELLED,
    RunOutcome.REPLACED,
}
"""Outcomes of runs that are over; the others are of slots that did not run."""

LOST_SLOTS = frozenset({RunOutcome.MISSED, RunOutcome.COORDINATOR_ERROR})
"""Outcomes of slots that should have run and did not."""


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a task: from its declaration in one process to its end.

    Attributes:
        key: unique among all lives: two processes may declare the same name.
        task_id: the task's id in its process.
        name: its name.
        origin: the notebook or script that declared it, as a path; None if unknown.
        kind: ``"cell"``, ``"function"``, ``"file"``, ``"script"`` or ``"notebook"``.
        pattern: the schedule's text.
        zone: the name of its time zone.
        schedule: everything that decides its slots, as text: two lives with the same
            text have the same slots.
        code_hash: of the job's source; None if unknown.
        declared_at: when.
        facts: its trigger, bounds, exclusions and policies, as a JSON object; None if
            an older version has written it. For people who ask: nothing is decided by
            it.
    """

    key: str
    task_id: str
    name: str
    origin: str | None
    kind: str
    pattern: str
    zone: str
    schedule: str
    code_hash: str | None
    declared_at: float
    facts: str | None = None


class TaskEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a life.

    Attributes:
        key: the life's.
        at: when it ended.
        end: ``"stopped"`` or ``"destroyed"`` by the user (nothing is owed after it),
            ``"shutdown"`` with its process, or None: it has been started again.
    """

    key: str
    at: float
    end: str | None


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One slot or call, open or closed. A later row with the same id replaces it.

    Fields that are None keep what an earlier row with the same id said.

    Attributes:
        id: the run's id; for a slot that did not run, made from the life and the slot,
            and for several of them, from the instant after which they were, too.
        task: the key of the life.
        slot: the slot; None for calls, and for runs by a clock that was ahead (C3).
        trigger: ``"scheduled"``, ``"invoked"``, ``"catch_up"`` or ``"backfill"``.
        at: its place in time: the start of a run, else the slot, else the call.
        run: the id of the run that an attempt belongs to; None for runs.
        attempt: 1 for the first.
        attempts: how many there were at the end.
        missed_count: how many slots a missed row stands for.
        exit_code, signal: of a worker that died.
        cpu_seconds: of the worker and its children during the run.
        peak_memory: the worker's largest resident set, in bytes.
        summary: the result in one line; of a failure, why no further attempt followed.
        output: what it wrote, head and tail, at most 64 KB.
        output_left_out: bytes between the two.
    """

    id: str
    task: str
    slot: float | None
    trigger: str
    at: float
    outcome: RunOutcome
    run: str | None = None
    attempt: int = 1
    attempts: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    missed_count: int | None = None
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    pid: int | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    summary: str | None = None
    output: str | None = None
    output_left_out: int | None = None


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """A slot that a pause had skipped runs after all: it has this row, and no other.

    Attributes:
        row: of its run, open.
        before: the newest slot that was skipped before it and those that run with it;
            None if there is none.
    """

    row: RunRow
    before: float | None


def name_count(task: str, since: float, newest: float) -> str:
    """Return the id of the row that stands for the slots after `since` to `newest`.

    Examples:
        >>> name_count("life", 60, 180), find_since("life:60..180")
        ('life:60..180', 60.0)
    """
    return f"{task}:{since:.0f}..{newest:.0f}"


def find_since(name: str) -> float | None:
    """Return the instant after which a row's slots are, by its id; else None."""
    since = name.rpartition("..")[0].rpartition(":")[2]
    return float(since) if since.isdigit() else None


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of open runs, whose rows another file is to have; then they are `Moved`.

    Attributes:
        runs: the ids of the runs.
        take: called on the writer's thread with the row of each attempt.
    """

    runs: tuple[str, ...]
    take: Callable[[RunRow], None]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of this writer that another file has from now on: a run has one row.

    Attributes:
        runs: the ids of open runs; their attempts have moved, too.
    """

    runs: tuple[str, ...]


Change = TaskRow | TaskEnd | RunRow | Resumed | Recounted | Moving | Moved
"""What a writer takes."""
