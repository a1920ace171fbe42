"""Commands that change something or wait for it."""

# Commands print their messages: they are the output of the cell.
# ruff: noqa: T201

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ipycron.api import functions as api
from ipycron.api.wait import wait as api_wait
from ipycron.errors import (
    BlockingCall,
    IpycronError,
    OverlapError,
    QueueFull,
    TaskDestroyed,
    TaskNotStarted,
)
from ipycron.notebook.display.tracebacks import tidy
from ipycron.notebook.display.words import (
    find_start_error,
    format_count,
    format_duration,
    format_error,
    format_fires,
    format_instant,
    format_name,
    format_run,
    format_state,
    format_text,
    get_now,
    one_line,
)
from ipycron.notebook.magic.choice import ChoiceOptions, choose_tasks, refuse_waiting
from ipycron.process.wire.outcome import get_traceback_text, summarize_error
from ipycron.scheduling.checks import (
    OptionKind,
    check_flag,
    check_limit,
    check_optional_deadline,
    check_text,
    option,
)
from ipycron.scheduling.policy import check_catch_up_mode
from ipycron.triggers.durations import read_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion
    from ipycron.notebook.magic.grammar import ParsedLine
    from ipycron.notebook.magic.notebook import Notebook

GLANCE = 0.1
"""Seconds to wait for a run to be refused: that happens at once or never."""
PATIENCE = 10.0
"""Seconds to wait for a start or stop beyond the task's own limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions(ChoiceOptions):
    """How to stop or destroy tasks."""

    force: bool = option(
        False, check_flag, "do not wait for a run in progress", kind=OptionKind.FLAG
    )


def _check_until(name: str, value: Any) -> Any:
    """Accept text that `Task.pause` reads, or a time such as ``2h``."""
    text = check_text(name, value)
    seconds = None if text is None else read_duration(text.strip())
    return text if seconds is None else seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseOptions(ChoiceOptions):
    """How long to pause tasks, and why."""

    until: Any = option(
        None,
        _check_until,
        "when to resume: 2h, 09:00 or an ISO date and time",
        kind=OptionKind.TEXT,
    )
    note: str | None = option(
        None, check_text, "why, shown with the task", kind=OptionKind.TEXT
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions(ChoiceOptions):
    """What to do about the slots of a pause."""

    catch_up: str = option(
        "none",
        check_catch_up_mode,
        "run what the pause skipped: latest, or all",
        kind=OptionKind.TEXT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ChoiceOptions):
    """How to run tasks."""

    wait: bool = option(
        False, check_flag, "return when the run has ended", kind=OptionKind.FLAG
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """What to wait for."""

    runs: int | None = option(
        None, check_limit, "until so many runs have ended", kind=OptionKind.NUMBER
    )
    for_: float | None = option(
        None, check_optional_deadline, "no longer than this", kind=OptionKind.DURATION
    )


def start(notebook: Notebook, line: ParsedLine) -> None:
    """Start tasks."""
    _control(notebook, choose_tasks("start", line), lambda task: task.start())


def stop(notebook: Notebook, line: ParsedLine) -> None:
    """Stop tasks."""
    force = line.values.get("force", False)
    tasks = choose_tasks("stop", line, with_kept=False)
    _control(notebook, tasks, lambda task: task.stop(force=force))


def destroy(notebook: Notebook, line: ParsedLine) -> None:
    """Destroy tasks."""
    force = line.values.get("force", False)
    tasks = choose_tasks("destroy", line, with_kept=False)
    _control(notebook, tasks, lambda task: task.destroy(force=force))


def pause(notebook: Notebook, line: ParsedLine) -> None:
    """Pause tasks."""
    until, note = line.values.get("until"), line.values.get("note", "")
    tasks = choose_tasks("pause", line)
    _control(notebook, tasks, lambda task: task.pause(until, note))


def resume(notebook: Notebook, line: ParsedLine) -> None:
    """Resume paused tasks."""
    catch_up = line.values.get("catch_up")
    tasks = choose_tasks("resume", line)
    _control(notebook, tasks, lambda task: task.resume(catch_up))


def _control(
    notebook: Notebook, tasks: list[Task], act: Callable[[Task], Completion[None]]
) -> None:
    """Apply an operation to all the tasks at once; print the outcomes."""
    failures = []
    for task, completion in [(task, act(task)) for task in tasks]:
        limit = max(task.options.start_timeout, task.options.stop_timeout) + PATIENCE
        try:
            error = completion.exception(limit)
        except TimeoutError:
            print(f"{format_name(task)}: still {task.status}, which takes a while")
            continue
        if error is None:
            print(_format_state(task))
        else:
            failures.append(_format_failure(task, error))
    notebook.display.flush()
    if failures:
        raise UsageError("; ".join(failures))


def _format_state(task: Task) -> str:
    now, name = get_now(), format_name(task)
    if task.is_paused:
        following = task.next_run
        shown = "" if following is None else f", next {format_instant(following, now)}"
        return f"{name}: {format_state(task, now)}{shown}"
    if task.is_started:
        return f"{name}: {task.status}, {format_fires(task, now, 1)}"
    return f"{name}: {task.status}"


def _format_failure(task: Task, error: BaseException) -> str:
    """Print the traceback of a job's own error; return one line for any error."""
    traceback_text = get_traceback_text(error)
    if traceback_text:
        print(traceback_text)
    if isinstance(error, IpycronError):
        return one_line(format_text(str(error)))
    return f"task {task.name!r} did not start: {summarize_error(error)}"


def run(notebook: Notebook, line: ParsedLine) -> None:
    """Run tasks now."""
    tasks = choose_tasks("run", line)
    is_waiting = line.values.get("wait", False)
    if is_waiting:
        refuse_waiting(tasks)
    for task, completion in [(task, task.execute()) for task in tasks]:
        if is_waiting:
            _refuse(task, completion.exception())
            notebook.results.wait(task)
            _print_end(task, with_output=not notebook.display.prints(task))
            continue
        # A run that needs this thread's loop begins when the cell has ended.
        with contextlib.suppress(TimeoutError, BlockingCall):
            _refuse(task, completion.exception(GLANCE))
        completion.add_done_callback(partial(notebook.handle_end, task))
        print(f"{format_name(task)}: runs now")
    notebook.display.flush()


def _refuse(task: Task, error: BaseException | None) -> None:
    """Raise the error that kept a run from beginning; not the error of a run."""
    cause = find_start_error(task)
    if isinstance(error, TaskNotStarted) and cause is not None:
        raise UsageError(f"{task.name!r} did not start: {format_error(cause)}")
    if isinstance(error, OverlapError | QueueFull | TaskDestroyed | TaskNotStarted):
        raise UsageError(one_line(format_text(str(error))))


def _print_end(task: Task, *, with_output: bool) -> None:
    ended = task.last_run
    if ended is None:
        return
    if with_output:
        print(ended.output.stdout, end="")
        print(ended.output.stderr, end="", file=sys.stderr)
        if ended.traceback_text:
            print(tidy(ended.traceback_text))
    print(f"{format_name(task)}: {format_run(ended, get_now())}")


def wait(notebook: Notebook, line: ParsedLine) -> None:
    """Wait for runs or tasks to end."""
    tasks = [api.get_task(name) for name in line.words]
    if not tasks:
        known = [t for t in api.get_tasks().values() if not t.is_kept]
        tasks = [t for t in known if t.is_started or t.is_starting]
    refuse_waiting(tasks)
    before = [(task.history.finished, task.history.failed) for task in tasks]
    began = get_now()
    is_done = api_wait(
        tasks, runs=line.values.get("runs"), timeout=line.values.get("for_")
    )
    took = format_duration((get_now() - began).total_seconds())
    parts = [f"waited {took}" if is_done else f"timed out after {took}"]
    for task, (finished, failed) in zip(tasks, before, strict=True):
        failures = task.history.failed - failed
        count = format_count(task.history.finished - finished + failures, "run")
        count += f", {failures} failed" * (failures > 0)
        if (cause := find_start_error(task)) is not None:
            count = f"did not start: {format_error(cause)}"
        parts.append(f"{format_name(task)}: {count}")
        notebook.results.wait(task)
    notebook.display.flush()
    print("; ".join(parts))
