"""Every exception of ipycron.

Each class is an `IpycronError` and the built-in that a caller would expect.
A constructor takes facts, keeps them as attributes and builds the text, so that a raise
site is one line and a handler never parses a message. All of them can be pickled: they
cross the process boundary like any other object.

The lowest layer: this module imports nothing of ipycron.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BackfillRefused",
    "BackgroundUnsupported",
    "BlockingCall",
    "Cancel",
    "CaptureError",
    "CoordinatorError",
    "CronSyntaxError",
    "ExecutionReplaced",
    "ExecutionStopped",
    "ExecutionTimeout",
    "ExecutorError",
    "HistoryError",
    "InvalidOption",
    "IpycronError",
    "NestedSchedule",
    "OverlapError",
    "ProtocolError",
    "PythonNotFound",
    "QueueFull",
    "RemoteError",
    "RunRefused",
    "SelfWait",
    "ServiceError",
    "ServiceLost",
    "Snooze",
    "StartError",
    "StartRefused",
    "StartRevoked",
    "StartTimeout",
    "StopTimeout",
    "SupervisorLost",
    "TaskDestroyed",
    "TaskExists",
    "TaskFileNotFound",
    "TaskNotInherited",
    "TaskNotStarted",
    "UnknownOption",
    "UnknownRun",
    "UnknownTask",
    "UnknownTimezone",
    "WaitTimeout",
    "WorkerCrashed",
    "list_names",
    "suggest",
]

_LONGEST_WORD = 200
"""Characters of a word above which it is no typing mistake; comparing is quadratic."""
_SHOWN_NAMES, _LONGEST_SHOWN = 20, 60
"""How many names an error lists, and how many characters of each."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for a near miss, else an empty string."""
    import difflib  # noqa: PLC0415 - errors are rare, imports are not

    if len(word) > _LONGEST_WORD:
        return ""
    by_fold = {name.casefold(): name for name in known if len(name) <= _LONGEST_WORD}
    close = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return f" Did you mean {by_fold[close[0]]!r}?" if close else ""


def list_names(names: Iterable[str]) -> str:
    r"""Return names in order, for people: safe in a terminal, and not too many.

    Examples:
        >>> list_names(["nightly", "line\nbreak"])
        "'line\\nbreak', nightly"
        >>> list_names(map(str, range(10, 40)))[-16:]
        '29 and 10 others'
    """
    known = sorted(names)
    shown = [
        text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        for text in (name if name.isprintable() else repr(name) for name in known)
    ]
    more = len(known) - _SHOWN_NAMES
    if more < 2:  # noqa: PLR2004 - one more takes no more room than saying so
        return ", ".join(shown)
    return f"{', '.join(shown[:_SHOWN_NAMES])} and {more} others"


class IpycronError(Exception):
    """Base of every exception that ipycron raises on purpose.

    Subclasses take facts as keywords; pickle passes `_facts` to the constructor again,
    since the text alone would not restore the attributes.
    """

    def __init__(self, text: str, /, **facts: Any) -> None:
        super().__init__(text)
        self._facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._facts, self.args, self.__dict__)


def _rebuild(
    cls: type[IpycronError],
    facts: dict[str, Any],
    args: tuple[Any, ...],
    state: dict[str, Any],
) -> IpycronError:
    """Rebuild a pickled error without running its constructor's text again."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    error._facts = facts  # noqa: SLF001 - the rebuilding half of __reduce__
    return error


class CronSyntaxError(IpycronError, ValueError):
    """A cron expression that is invalid or never fires.

    Attributes:
        expression: the whole text.
        field: the invalid field's name, or None if the whole text is at fault.
        value: the offending token, or None.
        message: one sentence: what is wrong and what the field accepts.
        column: zero-based position of `value` in `expression`, or None.
        suggestion: what to write instead, or None.
    """

    expression: str
    field: str | None
    value: str | None
    message: str
    column: int | None
    suggestion: str | None

    def __init__(
        self,
        *,
        expression: str,
        message: str,
        field: str | None = None,
        value: str | None = None,
        column: int | None = None,
        suggestion: str | None = None,
    ) -> None:
        lines = [message]
        if column is not None:
            lines += _point_at(expression, column, width=len(value or ""))
        if suggestion is not None:
            lines.append(f"Try: {suggestion}")
        super().__init__(
            "\n".join(lines),
            expression=expression,
            field=field,
            value=value,
            message=message,
            column=column,
            suggestion=suggestion,
        )


_WIDEST = 72  # columns of an expression that are shown
_BEFORE = 24  # of these, columns before the caret in a longer one


def _point_at(expression: str, column: int, *, width: int) -> list[str]:
    """Return the expression, or the part around `column`, and carets below it."""
    # Control characters would move the caret away from what it points at.
    shown = "".join(c if c.isprintable() else " " for c in expression)
    if len(shown) > _WIDEST:
        start = max(0, column - _BEFORE)
        end = start + _WIDEST
        shown = f"{'…' * (start > 0)}{shown[start:end]}{'…' * (end < len(shown))}"
        column -= start - (start > 0)
    carets = "^" * max(1, min(width, len(shown) - column))
    return [f"  {shown}", f"  {' ' * column}{carets}"]


class UnknownTimezone(IpycronError, ValueError):
    """A time zone that the system's database does not know.

    Attributes:
        timezone: what was given.
        suggestion: the name to write instead, or None.
        variable: the environment variable that holds it, or None.
    """

    timezone: str
    suggestion: str | None
    variable: str | None

    def __init__(
        self,
        *,
        timezone: str,
        suggestion: str | None = None,
        variable: str | None = None,
    ) -> None:
        where, also = "timezone", "or a tzinfo"
        if variable is not None:
            where = f"the environment variable {variable}"
            also = "the path of a zone file, or a POSIX zone such as 'EST5EDT'"
        advice = "" if suggestion is None else f" Did you mean {suggestion!r}?"
        super().__init__(
            f"{where}: got {timezone!r:.200}, expected an IANA name such as "
            f"'Europe/Berlin', {also}.{advice}",
            timezone=timezone,
            suggestion=suggestion,
            variable=variable,
        )


_SECRETIVE = frozenset({"args", "env", "job"})
"""Options that may hold passwords and tokens: their values are not shown."""
_MAX_KEYS = 8
_CONTAINERS = (dict, list, tuple, str)


def describe_type(value: object) -> str:
    """Return the type of a value with its article.

    Examples:
        >>> [describe_type(value) for value in (1, "a", None)]
        ['an int', 'a str', 'a NoneType']
    """
    name = type(value).__qualname__
    return f"an {name}" if name[:1].lower() in "aeio" else f"a {name}"


def show_value(value: object, length: int = 200) -> str:
    """Return the beginning of a value's `repr`; its type where that fails.

    Examples:
        >>> show_value("text"), show_value(10**5000)
        ("'text'", 'an int that cannot be shown')
    """
    try:
        return repr(value)[:length]
    except Exception:  # noqa: BLE001 - the value's own code, or an int of 5000 digits
        return f"{describe_type(value)} that cannot be shown"


def describe_value(option: str, value: object) -> str:
    """Return the text that errors show for an option's value.

    For an option that may hold secrets: the type, and the keys of a dict.
    """
    # Not by `==`: arrays and tables compare each of their elements.
    is_empty = value is None or (type(value) in _CONTAINERS and not value)
    if option not in _SECRETIVE or is_empty or (option, type(value)) == _PATH:
        return show_value(value)
    name = describe_type(value)
    if isinstance(value, dict):
        keys = [show_value(key, 60) for key in list(value)[:_MAX_KEYS]]
        more = ["…"] if len(value) > _MAX_KEYS else []
        types = _name_types(value.values())
        return f"{name} with the keys {', '.join(keys + more)}: {types}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"{name} of {len(value)}: {_name_types(value)}"
    return name


_PATH = ("job", str)


def _name_types(values: Iterable[object]) -> str:
    return ", ".join(sorted({type(value).__qualname__ for value in values}))


class InvalidOption(IpycronError, ValueError):
    """An option whose value has the wrong type or is out of range.

    Attributes:
        option: its name.
        value: the text that stands for the value; see `describe_value`.
        expected: what it accepts.
        advice: a sentence that says what to do, or "".
    """

    option: str
    value: object
    expected: str
    advice: str

    def __init__(
        self, *, option: str, value: object, expected: str, advice: str = ""
    ) -> None:
        shown = describe_value(option, value)
        text = f"{option}: got {shown}, expected {expected}."
        super().__init__(
            f"{text} {advice}".rstrip(),
            option=option,
            value=shown,
            expected=expected,
            advice=advice,
        )


class UnknownOption(IpycronError, TypeError):
    """An option that does not exist."""

    option: str

    def __init__(self, *, option: str, known: Iterable[str], advice: str = "") -> None:
        names = sorted(known)
        super().__init__(
            f"{option!r} is not an option.{advice or suggest(option, names)} "
            f"Known options: {', '.join(names)}.",
            option=option,
        )


class TaskFileNotFound(IpycronError, FileNotFoundError):
    """A task file that does not exist when the task is created, or is not a file."""

    path: str

    def __init__(
        self, *, path: str, folder: str | None = None, is_there: bool = False
    ) -> None:
        where = f" (relative to {folder})" if folder is not None else ""
        what = "is not a file" if is_there else "does not exist"
        super().__init__(
            f"task file: {path}{where} {what}. "
            "Give the path of a Python file that exists now.",
            path=path,
        )


class TaskExists(IpycronError, ValueError):
    """A task with this name exists and `if_exists="error"` refuses another.

    Also if a kept task would be replaced by one that is not kept.
    """

    name: str
    is_kept: bool

    def __init__(self, *, name: str, is_kept: bool = False) -> None:
        advice = (
            "Destroy it first, choose another name, or pass if_exists='replace' or "
            "if_exists='keep'."
        )
        if is_kept:
            advice = (
                "It is kept by the service: destroy it first, choose another name, or "
                "replace it with keep=True."
            )
        super().__init__(
            f"task {name!r} already exists. {advice}", name=name, is_kept=is_kept
        )


class UnknownTask(IpycronError, KeyError):
    """No task has this id or name."""

    name: str

    def __init__(self, *, name: str, known: Iterable[str] = ()) -> None:
        names = list(known)
        listed = f" Tasks: {list_names(names)}." if names else " There are no tasks."
        super().__init__(
            f"no task is called {name!r:.200}.{suggest(name, names)}{listed}", name=name
        )

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError shows the repr


class UnknownRun(IpycronError, KeyError):
    """The history has no such task or run, or several runs that are meant so.

    Attributes:
        name: the task's.
        run: the run's id, or a part of it; None if there is no such task.
        candidates: the runs that it may be.
    """

    name: str
    run: str | None
    candidates: tuple[str, ...]

    def __init__(
        self,
        *,
        name: str,
        run: str | None = None,
        candidates: Iterable[str] = (),
        known: Iterable[str] = (),
    ) -> None:
        shown, listed = f"{name!r:.200}", tuple(candidates)
        if run is None:
            text = f"the history has no task called {shown}.{suggest(name, known)}"
        elif listed:
            text = (
                f"{run!r:.200} may be several runs of {shown}: {', '.join(listed)}. "
                "Give more of the id."
            )
        else:
            text = f"the history has no run {run!r:.200} of {shown}."
        super().__init__(text, name=name, run=run, candidates=listed)

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError shows the repr


class CaptureError(IpycronError, TypeError):
    """A variable, or a job, that cannot travel to a worker.

    Attributes:
        variable: the variable's name, or a name for the job itself.
        type_name: its type.
        reason: pickle's reason.
    """

    variable: str
    type_name: str
    reason: str

    def __init__(
        self, *, variable: str, type_name: str, reason: str, advice: str
    ) -> None:
        super().__init__(
            f"{variable!r} ({type_name}) cannot be sent to a worker: {reason}. "
            f"{advice}",
            variable=variable,
            type_name=type_name,
            reason=reason,
        )


class BackgroundUnsupported(IpycronError, RuntimeError):
    """A background task was created on a system without worker processes.

    Attributes:
        name: the job's.
        reason: what the system lacks.
    """

    name: str
    reason: str

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(
            f"{name!r} cannot run in the background: this system cannot have worker "
            f"processes, {reason}. They need Linux or macOS. Here, schedule a function "
            "without background=True, or pass an executor=.",
            name=name,
            reason=reason,
        )


class StartError(IpycronError, RuntimeError):
    """The worker ended while it loaded its job, without an exception to show.

    If the job's own code raised, that exception itself is the start's error.
    """

    name: str
    reason: str
    output: str

    def __init__(self, *, name: str, reason: str, output: str = "") -> None:
        said = f" Last lines of stderr:\n{output}" if output else ""
        super().__init__(
            f"task {name!r} did not start: {reason}.{said}",
            name=name,
            reason=reason,
            output=output,
        )


class PythonNotFound(IpycronError, RuntimeError):
    """There is no Python to run workers: a frozen app, or one that embeds Python."""

    executable: str | None

    def __init__(self, *, executable: str | None) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        super().__init__(
            f"sys.executable: got {executable!r}, expected a Python interpreter for "
            "background tasks. It is not started: it may be this very program. Call "
            f"ipycron.set_executable() with the path of a Python {version} that has "
            "ipycron and what the jobs need, or use inline functions.",
            executable=executable,
        )


class StartRefused(StartError):
    """The system currently refuses a process, a thread, descriptors or memory.

    Nothing is wrong with the job: the same start succeeds once the cause is gone. Tasks
    that were started before are retried automatically.
    """

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(name=name, reason=reason.rstrip("."))


class RunRefused(IpycronError, RuntimeError):
    """The system currently refuses a thread for a run. The next slot is tried again."""

    name: str
    reason: str

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(
            f"task {name!r}: a run was refused: {reason}", name=name, reason=reason
        )


class StartRevoked(StartError):
    """A stop, a destroy or a shutdown came before the end of the start."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, reason="it was stopped while it started")


class StartTimeout(IpycronError, TimeoutError):
    """The job was not loaded within `start_timeout`."""

    name: str
    timeout: float

    def __init__(self, *, name: str, timeout: float, advice: str = "") -> None:
        advice = advice or (
            "Run the file by itself to see what takes so long, or raise start_timeout."
        )
        super().__init__(
            f"task {name!r} was not loaded within {timeout:g} s. {advice}",
            name=name,
            timeout=timeout,
        )


class StopTimeout(IpycronError, TimeoutError):
    """A run could not be ended: a thread, or a process that hangs in the kernel."""

    name: str
    timeout: float

    def __init__(self, *, name: str, timeout: float) -> None:
        super().__init__(
            f"task {name!r}: a run is still busy {timeout:g} s after the stop, and a "
            "thread cannot be killed, nor a process that hangs in the system. Its "
            "result will be ignored. Use background=True for jobs that must be "
            "stopped.",
            name=name,
            timeout=timeout,
        )


class TaskDestroyed(IpycronError, RuntimeError):
    """The task is destroyed and cannot run again."""

    name: str

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"task {name!r} is destroyed. Schedule it again to run it.", name=name
        )


class TaskNotStarted(IpycronError, RuntimeError):
    """`execute()` or `backfill()` of a task that is stopped."""

    name: str
    call: str

    def __init__(self, *, name: str, call: str = "execute()") -> None:
        text = f"task {name!r} is stopped. Call start() before {call}."
        super().__init__(text, name=name, call=call)


class BackfillRefused(IpycronError, RuntimeError):
    """A backfill that cannot begin.

    Attributes:
        name: the task's.
        reason: why, and what to do.
    """

    name: str
    reason: str

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(
            f"backfill of task {name!r}: {reason}.", name=name, reason=reason
        )


class NestedSchedule(IpycronError, RuntimeError):
    """A job, or a program that a job has started, called `schedule()`."""

    file: str
    line: int
    mark: str

    def __init__(self, *, file: str, line: int, mark: str) -> None:
        super().__init__(
            f"a job cannot schedule: {file}, line {line}, runs in a process of "
            "ipycron's, or in one that a job has started. Return what is to be "
            "scheduled and schedule it where the result arrives, or use executor= to "
            "run work elsewhere. A program that is to schedule on its own must be "
            f"started without the environment variable {mark}.",
            file=file,
            line=line,
            mark=mark,
        )


class BlockingCall(IpycronError, RuntimeError):
    """A blocking call was made in a thread whose event loop it would block."""

    call: str
    instead: str

    def __init__(self, *, call: str, instead: str) -> None:
        super().__init__(
            f"{call} would block the event loop that runs in this thread. Use "
            f"{instead} instead.",
            call=call,
            instead=instead,
        )


class SelfWait(IpycronError, RuntimeError):
    """A run waited for its own end, or a listener for the end of its task.

    Attributes:
        name: the task's.
        call: the call that would wait.
        is_listener: whether a listener has called it.
    """

    name: str
    call: str
    is_listener: bool

    def __init__(self, *, name: str, call: str, is_listener: bool = False) -> None:
        where = (
            f"a listener of task {name!r} and would hold up the events that follow. "
            "Call stop() or destroy() without waiting. Or wait outside of the listener."
            if is_listener
            else f"a run of task {name!r} and would wait for its end. Call stop() or "
            "destroy() without waiting: they take effect when the run has ended. Or "
            "wait outside of the job."
        )
        super().__init__(
            f"{call} was called by {where}",
            name=name,
            call=call,
            is_listener=is_listener,
        )


class TaskNotInherited(IpycronError, RuntimeError):
    """A task was used in a process that was forked after the task was made."""

    name: str
    pid: int

    def __init__(self, *, name: str, pid: int) -> None:
        super().__init__(
            f"task {name!r} belongs to process {pid}, which has forked this one: it "
            "runs there and not here. Call schedule() in this process to run it here.",
            name=name,
            pid=pid,
        )


class OverlapError(IpycronError, RuntimeError):
    """`execute()` of a task with ``overlap="skip"`` while a run is in progress.

    Attributes:
        name: the task's.
        execution_id: the id of that run.
    """

    name: str
    execution_id: str

    def __init__(self, *, name: str, execution_id: str) -> None:
        super().__init__(
            f"task {name!r} is busy with run {execution_id} and skips runs that "
            "overlap (overlap='skip' or no_overlap). Wait for that run, or create the "
            "task with overlap='queue'.",
            name=name,
            execution_id=execution_id,
        )


class QueueFull(IpycronError, RuntimeError):
    """A run was requested, and too many runs are waiting for their turn already.

    Attributes:
        name: the task's.
        queue: what they wait for.
        limit: how many may wait.
    """

    name: str
    queue: str
    limit: int

    def __init__(self, *, name: str, queue: str, limit: int) -> None:
        super().__init__(
            f"task {name!r}: {limit} runs are already waiting for {queue}. Wait for "
            "their ends before requesting more.",
            name=name,
            queue=queue,
            limit=limit,
        )


class WaitTimeout(IpycronError, TimeoutError):
    """`execute_timeout` passed; the run itself continues."""

    name: str
    timeout: float

    def __init__(self, *, name: str, timeout: float) -> None:
        super().__init__(
            f"task {name!r}: no result within {timeout:g} s (execute_timeout). "
            "The run continues; use the option timeout to end long runs.",
            name=name,
            timeout=timeout,
        )


class ExecutionTimeout(IpycronError, TimeoutError):
    """A run took longer than `timeout`, and was ended if that was possible.

    Attributes:
        is_ended: False if its code continues: an executor cannot end it, or a coroutine
            ignores its cancellation. The task stays busy until it returns.
    """

    name: str
    timeout: float
    is_ended: bool

    def __init__(self, *, name: str, timeout: float, is_ended: bool = True) -> None:
        what = (
            "was ended"
            if is_ended
            else "is no longer waited for. It cannot be ended, so it continues; the "
            "task stays busy until then"
        )
        super().__init__(
            f"task {name!r}: a run took longer than {timeout:g} s and {what}.",
            name=name,
            timeout=timeout,
            is_ended=is_ended,
        )


class ExecutionStopped(IpycronError, RuntimeError):
    """A run was ended, or did not begin, because its task was stopped or destroyed.

    Attributes:
        has_begun: False if its code has not run: it was queued.
    """

    name: str
    has_begun: bool

    def __init__(self, *, name: str, has_begun: bool = True) -> None:
        what = "was ended" if has_begun else "was queued and did not begin"
        super().__init__(
            f"task {name!r}: the run {what} because the task was stopped.",
            name=name,
            has_begun=has_begun,
        )


class Cancel(IpycronError, RuntimeError):
    """Raised by a job: its run is cancelled. That is no failure, and is not repeated.

    Attributes:
        why: shown with the run.
    """

    why: str

    def __init__(self, why: object = "") -> None:
        super().__init__(str(why), why=str(why))


_LONGEST_SNOOZE = 366 * 86_400.0


class Snooze(IpycronError, RuntimeError):
    """Raised by a job: it is run again later, as the same attempt of the same run.

    Attributes:
        seconds: how much later, at least 0.1; at most a year.
    """

    seconds: float

    def __init__(self, seconds: Any) -> None:
        found = seconds
        if hasattr(seconds, "total_seconds"):
            found = seconds.total_seconds()
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        if not is_number or not 0 <= found <= _LONGEST_SNOOZE:
            raise InvalidOption(
                option="Snooze",
                value=seconds,
                expected="seconds ≥ 0, at most a year (int, float or timedelta)",
            )
        text = f"run again in {float(found):g} s"
        super().__init__(text, seconds=float(found))


class ExecutionReplaced(IpycronError, RuntimeError):
    """A run was ended, or given up, for a newer one: `overlap="replace"`."""

    name: str

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"task {name!r}: the run was replaced by a newer one (overlap='replace').",
            name=name,
        )


class WorkerCrashed(IpycronError, RuntimeError):
    """The worker's process ended in the middle of a run, or while idle.

    Attributes:
        exit_code: the exit status, or None where a signal ended it.
        signal_name: such as ``SIGSEGV``, or None.
        output: the last lines of its stderr.
        reason: why ipycron itself ended it; empty if it did not.
        is_lost: whether it ended because the process that had forked it was lost.
    """

    name: str
    exit_code: int | None
    signal_name: str | None
    output: str
    reason: str
    is_lost: bool

    def __init__(
        self,
        *,
        name: str,
        exit_code: int | None = None,
        signal_name: str | None = None,
        output: str = "",
        reason: str = "",
        is_lost: bool = False,
    ) -> None:
        how = (
            f"was killed by {signal_name}"
            if signal_name is not None
            else f"exited with code {exit_code}"
            if exit_code is not None
            else "went away"
        )
        why = f": {reason}" if reason else ""
        said = f" Last lines of stderr:\n{output}" if output else ""
        super().__init__(
            f"task {name!r}: the worker {how}{why}.{said}",
            name=name,
            exit_code=exit_code,
            signal_name=signal_name,
            output=output,
            reason=reason,
            is_lost=is_lost,
        )


class ExecutorError(IpycronError, RuntimeError):
    """An executor did not complete the job: it refused the job, broke, or lost it.

    Its cause is the executor's own exception, if there is one. An exception of the job
    itself is the run's error, unchanged.
    """

    name: str
    reason: str

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(
            f"task {name!r}: the executor {reason}", name=name, reason=reason
        )


class SupervisorLost(IpycronError, RuntimeError):
    """The supervisor's process ended and its runs are lost, or it cannot be started.

    Attributes:
        reason: what is known about it.
        is_refusal: whether the system currently refuses the process.
    """

    reason: str
    is_refusal: bool

    def __init__(self, *, reason: str, is_refusal: bool = False) -> None:
        super().__init__(
            f"the ipycron supervisor is gone: {reason}.",
            reason=reason,
            is_refusal=is_refusal,
        )


class RemoteError(IpycronError, RuntimeError):
    """Stands for an exception of a worker that cannot travel.

    Attributes:
        type_name: the exception's class, with its module.
        message: its text.
        traceback_text: the worker's traceback.
        reason: why the exception itself could not be sent or rebuilt.
    """

    type_name: str
    message: str
    traceback_text: str
    reason: str

    def __init__(
        self, *, type_name: str, message: str, traceback_text: str, reason: str
    ) -> None:
        super().__init__(
            f"{type_name}: {message}",
            type_name=type_name,
            message=message,
            traceback_text=traceback_text,
            reason=reason,
        )


class CoordinatorError(IpycronError, RuntimeError):
    """A run coordinator is set up wrongly, failed, or did not answer in time."""

    reason: str

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"run coordinator: {reason}", reason=reason)


class HistoryError(IpycronError, RuntimeError):
    """The file of the history cannot be used, or not for writing.

    Attributes:
        path: the file.
        reason: why, and what to do.
    """

    path: str
    reason: str

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(f"history: {path}: {reason}", path=path, reason=reason)


class ServiceError(IpycronError, RuntimeError):
    """The service, which keeps tasks alive without a kernel, cannot be used.

    Attributes:
        reason: why, and what to do.
    """

    reason: str

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            f"the service of kept tasks: {reason.rstrip('.')}.", reason=reason
        )


class ServiceLost(ServiceError):
    """The service ended, or its connection, while a client waited for a kept task."""


class ProtocolError(IpycronError, RuntimeError):
    """Bytes between two processes of ipycron that are not a valid message."""

    reason: str

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"protocol: {reason}", reason=reason)
