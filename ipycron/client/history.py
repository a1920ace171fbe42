"""The history, as the client writes it: what runs here, and what only it knows.

The supervisor records its own tasks (H4). The client records inline and executor tasks,
direct calls, and what happens to tasks without a supervisor.
"""

from __future__ import annotations

import os
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from ipycron.client.executions import read_instants
from ipycron.client.lives import make_life
from ipycron.client.state import ENDS
from ipycron.errors import HistoryError
from ipycron.process.wire.outcome import read_traceback
from ipycron.runlog.keeper import HistoryKeeper
from ipycron.runlog.output import OutputLog, show_surrogates
from ipycron.runlog.recorder import HEAD_BYTES, TAIL_BYTES
from ipycron.runlog.rows import RunOutcome
from ipycron.runlog.settings import OFF, VARIABLE, find_settings
from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import Outage, Recounted, is_corrected
from ipycron.scheduling.policy import DAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipycron.client.executions import PastRun
    from ipycron.client.output import Output
    from ipycron.client.record import TaskRecord
    from ipycron.process.direct.client_end import Answer
    from ipycron.process.wire.payload import Payload
    from ipycron.runlog.reading import SlotOutcomes
    from ipycron.runlog.rows import TaskRow
    from ipycron.runlog.settings import HistorySettings
    from ipycron.scheduling.events import AttemptBegan, Notice, Pending


HISTORY_LINE = "history: "
"""How a supervisor's line about its own writing begins."""
WARN_EVERY = 60.0
"""Seconds in which the client and its supervisor, who write to the same file, do not
both warn of the same."""
_PASSED_OVER = (
    Event.EXECUTION_MISSED,
    Event.EXECUTION_SKIPPED,
    Event.EXECUTION_OVERLAP,
)
UNWRITTEN = 1.0
"""Seconds of runs that a lost supervisor may not have written; it writes sooner."""


class ClientHistory:
    """What the client writes into the history.

    Args:
        warn: called with a line for the user, from any thread.

    Attributes:
        settings: what the supervisor is told; None: it looks for itself.
        begun_file: where the supervisor notes which slots begin; None: nowhere.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.settings: HistorySettings | None = None
        self.begun_file: Path | None = None
        self._pass_on = warn
        self._warned: dict[str, float] = {}
        self._keeper = HistoryKeeper(self._warn)
        self._lives: dict[str, TaskRow] = {}
        self._started: set[str] = set()
        # Where the output of the attempt in progress begins, by run.
        self._positions: dict[str, int] = {}
        self._behind = (0, 0)  # the supervisor's rows that wait, and that are lost
        self._lost_before = 0  # rows of supervisors that are gone
        # By the monotonic clock: what the supervisor has said of slots without a run.
        self._passed_over: deque[tuple[float, Notice]] = deque()

    @property
    def waiting(self) -> int:
        """How many rows wait since the file cannot be written, the supervisor's too.

        Its numbers are a few seconds old at most.
        """
        return self._keeper.waiting + self._behind[0]

    @property
    def lost(self) -> int:
        """How many rows could not be written, the supervisor's too."""
        return self._keeper.lost + self._lost_before + self._behind[1]

    def note_behind(self, waiting: int, lost: int) -> None:
        """Note how many of the supervisor's rows wait, and are lost."""
        self._behind = waiting, lost

    def note_loss(self) -> None:
        """Note that the supervisor is gone, and what waited there with it."""
        waiting, lost = self._behind
        self._lost_before += waiting + lost
        self._behind = 0, 0

    def is_news(self, text: str) -> bool:
        """Return whether a line for the user says what has not just been said."""
        what = text.partition(" Rows ")[0]  # each process counts its own
        now = time.monotonic()
        before = self._warned.get(what)
        if before is not None and now - before < WARN_EVERY:
            return False
        self._warned[what] = now
        return True

    def _warn(self, text: str) -> None:
        if self.is_news(text):
            self._pass_on(text)

    def use(self, settings: HistorySettings) -> None:
        """Write there from now on."""
        self.settings = settings
        self._keeper.use(settings)

    def begin(self, task: TaskRecord) -> TaskRow | None:
        """Record a task from now on; return its life, None if it is not recorded.

        Called again for a new supervisor, it is the same life.
        """
        if not task.options.history or not self.is_kept:
            return None
        life = self._lives.get(task.id)
        if life is None:
            life = self._lives[task.id] = make_life(task)
            self._keeper.recorder.declare(life)
        return life

    @property
    def is_kept(self) -> bool:
        """Whether there is a history, wherever it may be."""
        if self.settings is None and VARIABLE in os.environ:
            try:
                # Here: a relative path is that of this process's folder.
                self.use(find_settings())
            except HistoryError as error:
                self.use(OFF)
                self._warn(str(error))
        return self.settings is None or self.settings.path is not None

    def begins_anew(self, task: TaskRecord) -> bool:
        """Return whether this is a life's first start, and there may be earlier ones.

        A name that the user has given says which task it is; an id says nothing.
        """
        if task.options.name is None or task.id in self._started:
            return False
        self._started.add(task.id)
        return self.begin(task) is not None

    def find_outage(self, task: TaskRecord, *, is_owed: bool = False) -> Outage | None:
        """Return the time since an earlier life in which the task did not run (C1).

        None if there was no such life, if it had another schedule, if the user ended
        it, or if it goes on. If the clock was ahead then, nothing is known of the time
        up to this life; the slots after now are still to come (C3). Reads the file: not
        on the client's loop.

        Args:
            task: the task.
            is_owed: whether slots after a clean end are owed even if it does not catch
                up.
        """
        life, now = self._lives.get(task.id), task.client.clock.now()
        # Not before there is a task to look for.
        from ipycron.runlog.lives import find_last_lives, find_since  # noqa: PLC0415

        try:
            path = (self.settings or find_settings()).file
            if life is None or path is None:
                return None
            lives = find_last_lives(path, life.name, life.origin, besides=life.key)
        except HistoryError:
            return None  # the writer says so
        if not lives or lives[0].is_alive:
            return None
        last = lives[0]
        is_ours = last.schedule == life.schedule
        if any(is_corrected(now, one.since) for one in lives if not one.is_alive):
            # Before this life, which is now the newest one.
            since = until = min(now, life.declared_at)
            schedule = task.schedule if is_ours else None
            recounted = Recounted(task_id=last.key, since=since, schedule=schedule)
            self._keeper.recorder.note_recount(recounted)
        else:
            catches_up = is_owed or task.options.gaps.mode != "none"
            since = find_since(lives, catches_up=catches_up)
            # Every slot that has run by its end has a row.
            until = min(now, max(since, last.ended_at or since))
        if not is_ours or last.end in ("stopped", "destroyed"):
            return None
        return Outage(since=since, until=until, is_clean=last.end == "shutdown")

    def note(self, notice: Notice, task: TaskRecord | None = None) -> None:
        """Record an event; of a run that has ended, with what the task remembers."""
        # Else nothing is looked up, and no traceback is read, of a task without one.
        if self._keeper.recorder.knows(notice.task_id):
            self._note(notice, task)
        if notice.event is Event.TASK_DESTROYED:
            self._lives.pop(notice.task_id, None)
            self._started.discard(notice.task_id)

    def _note(self, notice: Notice, task: TaskRecord | None) -> None:
        if notice.event is Event.EXECUTION_RETRY:
            self._note_attempt(notice, task)
            return
        run, since = None, 0
        if task is not None and notice.execution is not None and notice.event in ENDS:
            run = task.observed.history.find(notice.execution.id)
            since = self._positions.pop(notice.execution.id, 0)
        recorder = self._keeper.recorder
        if run is None:
            recorder.note(notice)
        else:
            last = cut(run.output, since) if since else None
            recorder.note(notice, cut(run.output), last)
        if task is not None and run is not None and not run.is_ok:
            # Reading a traceback runs the error's own code: not on the client's loop.
            add = partial(self._add_traceback, notice, run, recorder.place)
            task.defer(add)

    def _note_attempt(self, notice: Notice, task: TaskRecord | None) -> None:
        """Record an attempt that has failed in this process or on an executor."""
        run, outcome = notice.execution, notice.outcome
        if task is None or run is None or outcome is None:
            return  # it was snoozed
        output = task.observed.find_output(run.id)
        since = self._positions.get(run.id, 0)
        self._positions[run.id] = output.read()[1]
        self._keeper.recorder.note(notice, cut(output, since))
        place = self._keeper.recorder.place
        add = partial(self._add_attempt_traceback, notice, outcome.value, place)
        task.defer(add)

    def _add_attempt_traceback(
        self, notice: Notice, value: Payload | BaseException, place: int
    ) -> None:
        text = read_traceback(value)
        if text:
            self._keeper.recorder.add_traceback(notice, show_surrogates(text), place)

    def _add_traceback(self, notice: Notice, run: PastRun, place: int) -> None:
        text = run.traceback_text
        if text:
            self._keeper.recorder.add_traceback(notice, show_surrogates(text), place)

    def follow(self, notice: Notice) -> None:
        """Remember for a moment what the supervisor has reported and may not write."""
        if notice.event not in _PASSED_OVER:
            return
        told, now = self._passed_over, time.monotonic()
        told.append((now, notice))
        while now - told[0][0] > UNWRITTEN:
            told.popleft()

    def note_passed_over(self) -> None:
        """Record the slots that a lost supervisor reported shortly before as not run.

        It may not have written them any more. The same slot has the same row.
        """
        now = time.monotonic()
        while self._passed_over:
            told_at, notice = self._passed_over.popleft()
            if now - told_at <= UNWRITTEN:
                self._keeper.recorder.note(notice)

    def note_last_runs(self, task: TaskRecord, now: float) -> None:
        """Record the runs that the supervisor reported shortly before it was lost.

        It may not have written them any more; a row that is there stays as it is.
        """
        for run in task.observed.history:
            _, _, finished_at = read_instants(run)
            if finished_at is not None and now - finished_at < UNWRITTEN:
                scheduled = run._scheduled  # noqa: SLF001 - with its instants
                self._keeper.recorder.note_past(
                    task.id, scheduled, judge_past(run), run.summary
                )

    def note_pending(self, pending: Pending | Recounted) -> None:
        """Record a run that waits, or a recount."""
        self._keeper.recorder.note_pending(pending)

    def note_attempt(self, began: AttemptBegan) -> None:
        """Record that an attempt which was queued has begun."""
        self._keeper.recorder.note_attempt(began)

    def note_answers(self, task_id: str, answers: list[Answer]) -> None:
        """Record direct calls that have returned."""
        self._keeper.recorder.note_answers(task_id, answers)

    def find_outcomes(
        self, task: TaskRecord, first: float, last: float
    ) -> SlotOutcomes | None:
        """Return what became of a task's slots; None if they are not recorded.

        Raises:
            HistoryError: if there is no place for the history, or it cannot be read.
        """
        settings = self.settings or find_settings()
        file = settings.file
        if file is None or not task.options.history:
            return None
        from ipycron.runlog.reading import read_outcomes  # noqa: PLC0415 - with SQLite

        keep_runs = settings.keep_runs
        found = read_outcomes(file, task.name, first, last, keep_runs=keep_runs)
        kept = task.client.clock.now() - settings.keep_days * DAY
        return found._replace(since=max(found.since, kept))

    def expect_end(self) -> None:
        """Note that this process ends, and its tasks with it."""
        self._keeper.recorder.expect_end(is_clean=True)

    def flush(self, timeout: float) -> None:
        """Return once this process's rows are written, or after `timeout` seconds."""
        self._keeper.flush(timeout)

    def close(self, timeout: float) -> None:
        """Write what is left, and take nothing more. May be repeated."""
        self._keeper.close(timeout)

    def close_in_child(self) -> None:
        """Record nothing in a process that this one forked."""
        self._keeper.close_in_child()
        self._lives = {}


def judge_past(run: PastRun) -> RunOutcome:
    """Return the word for how a run ended, of which the error is no longer there."""
    word = run.outcome
    if word is not None and word != "failed":
        return RunOutcome(word)
    name = run.summary.partition(":")[0]
    return _BY_ERROR.get(name, RunOutcome.FAILED)


_BY_ERROR = {
    "ExecutionTimeout": RunOutcome.TIMED_OUT,
    "WorkerCrashed": RunOutcome.CRASHED,
    "SupervisorLost": RunOutcome.LOST,
}


_NOTHING = OutputLog(HEAD_BYTES, TAIL_BYTES)
"""What a run wrote that has written nothing, as most runs of functions. Not changed."""


def cut(output: Output, since: int = 0) -> OutputLog:
    """Return as much of a run's output as the history keeps; displays are left out.

    Args:
        output: the run's.
        since: the position where it begins, as `Output.read` has returned it.
    """
    if not output.position:
        return _NOTHING
    log = OutputLog(HEAD_BYTES, TAIL_BYTES)
    for piece in output.read(since)[0]:
        if piece.kind != "display":
            log.append(piece.data, piece.missing)
    return log
