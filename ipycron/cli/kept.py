"""Commands for kept tasks: `ipycron list`, and `show`, `run`, `stop` and so on."""

from __future__ import annotations

import codecs
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from ipycron.cli.lines import describe_missing
from ipycron.cli.mistakes import UsageMistake, is_file
from ipycron.client.completion import Flag
from ipycron.errors import (
    IpycronError,
    ServiceError,
    TaskNotStarted,
    UnknownTask,
)
from ipycron.process.wire.printable import keep_colours, show_hidden

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime
    from typing import TextIO

    from ipycron.api.task import Task
    from ipycron.client.completion import Completion
    from ipycron.client.executions import Execution, PastRun

PATIENCE = 20.0
"""Seconds beyond a task's own limits after which an operation counts as failed."""
LOOK_EVERY = 0.1
"""Seconds between two looks at what a run has written."""
_SHOWN_SLOTS = 3
_SHOWN_RUNS = 5

Run = TypeVar("Run", bound="Execution | PastRun")


def add_kept(commands: Any) -> None:
    """Add the commands for kept tasks but `run`, which schedules files, too."""
    every = commands.add_parser(
        "list",
        help="list the kept tasks",
        description="List the kept tasks of this user and Python environment.",
        epilog="--json writes one object per line.",
    )
    every.add_argument("--json", action="store_true", help="write JSON lines")
    every.set_defaults(run=_list)
    show = commands.add_parser(
        "show",
        help="show a kept task: its schedule, its state, its last runs",
        description="Show a kept task: its schedule, its state, its last runs. What "
        "they wrote: ipycron logs NAME. All of them: ipycron history NAME.",
    )
    show.add_argument("name", metavar="NAME")
    show.add_argument("--json", action="store_true", help="write a JSON object")
    show.set_defaults(run=_show)
    for name, act, help_ in (
        ("start", lambda task, _: task.start(), "start stopped kept tasks again"),
        (
            "stop",
            lambda task, given: task.stop(force=given.force),
            "stop kept tasks until `start`, across reboots too",
        ),
        (
            "pause",
            lambda task, given: task.pause(_read_until(given.until), given.note),
            "have kept tasks skip their slots until resumed, or for a while",
        ),
        (
            "resume",
            lambda task, given: task.resume(given.catch_up),
            "end the pause of kept tasks",
        ),
        (
            "destroy",
            lambda task, given: task.destroy(force=given.force),
            "end kept tasks for good; their history stays",
        ),
    ):
        _add_action(commands, name, act, help_)


def _add_action(
    commands: Any,
    name: str,
    act: Callable[[Task, argparse.Namespace], Completion[None]],
    help_: str,
) -> None:
    parser = commands.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}.",
        epilog="Exit code: 1 if it failed for any of them. --json writes one object "
        "per line.",
    )
    parser.add_argument("names", metavar="NAME", nargs="+")
    if name in ("stop", "destroy"):
        text = "end a run in progress at once"
        parser.add_argument("--force", action="store_true", help=text)
    if name == "pause":
        parser.add_argument(
            "--until", help="09:00, 2026-12-01T09:00, or a time from now: 90, 30m, 2h"
        )
        parser.add_argument(
            "--note", default="", help="the reason, shown with the task"
        )
    if name == "resume":
        parser.add_argument(
            "--catch-up",
            choices=("none", "latest", "all"),
            help="run the newest, or all, of the skipped slots",
        )
    parser.add_argument("--json", action="store_true", help="write JSON lines")
    parser.set_defaults(run=lambda given: _control(given, act))


def _read_until(text: str | None) -> str | float | None:
    """Return seconds from now if they are given without a unit, as `%cron` takes them.

    Eight digits are a date.
    """
    is_seconds = text is not None and text.isdecimal() and len(text) != len("20261201")
    return float(text) if text is not None and is_seconds else text


def _attach() -> list[Task]:
    from ipycron.api.kept import attach  # noqa: PLC0415 - for these commands only

    return sorted(attach().values(), key=lambda task: task.name)


def find_task(name: str, tasks: list[Task]) -> Task:
    """Return the task of that name.

    Raises:
        UnknownTask: if none has it; says which there are.
    """
    for task in tasks:
        if name in (task.name, task.id):
            return task
    raise UnknownTask(name=name, known=[task.name for task in tasks])


def _list(given: argparse.Namespace) -> int:
    from ipycron.api.text_table import list_tasks  # noqa: PLC0415 - as above

    tasks = _attach()
    if given.json:
        for task in tasks:
            print(json.dumps(describe(task)))
    elif tasks:
        print(list_tasks(tasks, marks_kept=False))
    else:
        print("no task is kept")
    return 0


def _show(given: argparse.Namespace) -> int:
    task = find_task(given.name, _attach())
    if given.json:
        runs = [_describe_run(run) for run in task.history]
        print(json.dumps({**describe(task), "runs": runs}))
        return 0
    for label, value in _list_facts(task):
        print(f"{label:<10}{show_hidden(value)}")
    return 0


def describe(task: Task) -> dict[str, Any]:
    """Return a task as JSON has it: instants in ISO 8601 with their offset."""
    last = task.history[-1] if task.history else None
    error = task.start_error
    return {
        "name": task.name,
        "id": task.id,
        "status": str(task.status),
        "is_started": task.is_started,
        "is_paused": task.is_paused,
        "paused_until": _format(task.paused_until),
        "pause_note": task.pause_note,
        "is_kept": task.is_kept,
        "job": find_job(task),
        "folder": task.options.cwd,
        "pattern": task.pattern,
        "timezone": task.timezone,
        "words": task.expression.describe(),
        "next_run": _format(task.next_run),
        "runs_left": task.runs_left,
        "error": None if error is None else str(error),
        "running": [run.id for run in task.running],
        "last_run": None if last is None else _describe_run(last),
    }


def _describe_run(run: Execution | PastRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "outcome": str(run.outcome),
        "trigger": str(run.reason),
        "at": _format(run.date),
        "duration": run.duration,
        "summary": run.summary,
    }


def _format(instant: Any) -> str | None:
    return None if instant is None else instant.isoformat()


def _list_facts(task: Task) -> Iterator[tuple[str, str]]:
    from ipycron.api.text_table import explain_start, format_run  # noqa: PLC0415 - as above

    yield "name", task.name
    yield "status", f"{_describe_status(task)}; kept by the service"
    yield "job", _describe_job(task)
    words = task.expression.describe()
    yield "schedule", f"{task.pattern} ({words}; {task.timezone})"
    if task.start_error is not None:
        yield "error", explain_start(task.start_error)
        yield "", f"mend that, then `ipycron start {shlex.quote(task.name)}`"
    if task.runs_left is not None:
        yield "runs left", str(task.runs_left)
    label = "next"
    for slot in _find_next(task):
        yield label, f"{slot:%a %Y-%m-%d %H:%M:%S %Z}"
        label = ""
    label = "last"
    for run in reversed(list(task.history)[-_SHOWN_RUNS:]):
        yield label, format_run(run)
        label = ""


def _describe_job(task: Task) -> str:
    """Return what is run, and in which folder if that is another than its file's."""
    job, folder = find_job(task), task.options.cwd
    if folder is None or os.path.dirname(job) == folder:  # noqa: PTH120 - only text
        return job
    return f"{job}, in {folder}"


def find_job(task: Task) -> str:
    """Return the path of a task's file, or the name of its function or cell."""
    from ipycron.process.wire.protocol import FileJob  # noqa: PLC0415 - as above

    job = getattr(task.source, "job", None)
    return os.fsdecode(job.path) if isinstance(job, FileJob) else task.source.label


def _find_next(task: Task) -> list[datetime]:
    """Return the next slots that will run: none of those that a pause skips."""
    if not task.is_started or task.next_run is None:
        return []
    until = task.paused_until if task.is_paused else None
    if until is None:
        return task.next_runs(_SHOWN_SLOTS)
    return task.expression.upcoming(_SHOWN_SLOTS, until)


def _describe_status(task: Task) -> str:
    text = "starting" if task.is_starting else str(task.status)
    if not task.is_paused:
        return text
    until = task.paused_until
    text += ", paused" + ("" if until is None else f" until {until:%Y-%m-%d %H:%M:%S}")
    return text + (f" ({task.pause_note})" if task.pause_note else "")


def _control(
    given: argparse.Namespace,
    act: Callable[[Task, argparse.Namespace], Completion[None]],
) -> int:
    """Do the same to several tasks at once; each has a line of its own."""
    tasks = _attach()
    chosen = [find_task(name, tasks) for name in dict.fromkeys(given.names)]
    is_ok = True
    begun = [(task, act(task, given)) for task in chosen]
    try:
        for task, completion in begun:
            error = _wait_for(task, completion)
            is_ok = is_ok and error is None
            _print_outcome(given, task, error)
    except (KeyboardInterrupt, BrokenPipeError):
        for _, completion in begun:
            completion.cancel()  # nobody waits for it any more
        raise
    return 0 if is_ok else 1


def _wait_for(task: Task, completion: Completion[None]) -> BaseException | None:
    """Return the error of an operation, None if there is none."""
    options = task.options
    limit = max(options.start_timeout, options.stop_timeout) + PATIENCE
    try:
        return completion.exception(limit)
    except TimeoutError:
        return TimeoutError(f"it is still {task.status} after {limit:g} s")


def _print_outcome(
    given: argparse.Namespace, task: Task, error: BaseException | None
) -> None:
    if given.json:
        reason = None if error is None else str(error)
        facts = {"name": task.name, "id": task.id, "status": str(task.status)}
        print(json.dumps({**facts, "error": reason}), flush=True)
    elif error is None:
        print(f"{show_hidden(task.name)}: {_describe_status(task)}", flush=True)
    else:
        text = show_hidden(f"{task.name}: {_explain(error)}")
        print(text, file=sys.stderr, flush=True)


def run_now(name: str, *, is_json: bool = False) -> int:
    """Run a kept task now and wait; pass on what it writes. Return the exit code.

    Raises:
        UnknownTask: if no task has that name.
        UsageMistake: likewise, if the name is a schedule or a file.
    """
    try:
        task = find_task(name, _attach())
    except (ServiceError, UnknownTask):
        check_name(name)
        raise
    completion = task.execute()
    try:
        if not is_json:
            _pass_on(task, completion)
        error = completion.exception()
    except (KeyboardInterrupt, BrokenPipeError) as reason:
        is_over = completion.done()
        completion.cancel()  # nobody waits for it any more
        if isinstance(reason, KeyboardInterrupt) and not is_over:
            print("ipycron: the run goes on in the service", file=sys.stderr)
        raise
    if is_json:
        run = _find_own_run(task.history)
        facts = {} if run is None else _describe_run(run)
        print(json.dumps({"name": task.name, **facts, "error": _explain(error)}))
    elif error is not None:
        print(f"ipycron: {show_hidden(_explain(error) or '')}", file=sys.stderr)
    return 0 if error is None else 1


def _pass_on(task: Task, completion: Completion[Any]) -> None:
    """Pass on what a run writes, as it comes, until it has ended."""
    ended, position = Flag(), 0
    completion.watch(lambda _: ended.set())
    writers = {"stdout": _Writer(sys.stdout), "stderr": _Writer(sys.stderr)}
    is_over = False
    while not is_over:
        is_over = ended.wait(LOOK_EVERY)
        run = _find_own_run(task.running) or _find_own_run(task.history)
        if run is None:
            continue
        pieces, position = run.output.read(position)
        for piece in pieces:
            if piece.missing:
                writers["stderr"].write(describe_missing(piece.missing))
            if piece.kind != "display":
                writers[piece.kind].write(piece.data)
        if is_over and run.traceback_text:
            text = run.traceback_text.rstrip() + "\n"
            writers["stderr"].write(text.encode(errors="backslashreplace"))
    for writer in writers.values():
        writer.close()


class _Writer:
    """Writes what a job wrote: bytes as they are, but to a terminal only its colours.

    Args:
        stream: stdout or stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._is_unfinished = False

    def write(self, data: bytes) -> None:
        """Write and flush.

        Raises:
            BrokenPipeError: if the reader of the pipe is gone.
        """
        if not data:
            return
        if self._is_terminal:
            self._stream.write(keep_colours(self._decode(data)))
        else:
            self._stream.buffer.write(data)
        self._stream.flush()
        self._is_unfinished = not data.endswith(b"\n")

    def close(self) -> None:
        """End the last line of a terminal, where a prompt follows."""
        if self._is_terminal and self._is_unfinished:
            self.write(b"\n")


def _find_own_run(runs: Iterable[Run]) -> Run | None:
    """Return the run that this process has asked for; None if it is not among them.

    Others may run at the same time: its id is one of this process's.
    """
    from ipycron.client.registry import registry  # noqa: PLC0415 - as above

    prefix = registry.client.make_id().rpartition("-")[0]
    own = [run for run in runs if run.id.startswith(f"{prefix}-")]
    return own[-1] if own else None


def _explain(error: BaseException | None) -> str | None:
    if error is None:
        return None
    if isinstance(error, TaskNotStarted):  # its advice is for programs
        name = shlex.quote(error.name)
        return f"task {error.name!r} is stopped: `ipycron start {name}` arms it again"
    said = str(error) if isinstance(error, IpycronError) else ""
    return said or f"{type(error).__name__}: {error}"


def check_name(name: str) -> None:
    """Answer a schedule without a file, and a file without a schedule.

    Args:
        name: the only word after `run`; no kept task has this name.

    Raises:
        UsageMistake: if it is one of the two.
    """
    from ipycron.triggers.text import is_trigger  # noqa: PLC0415 - as above

    if is_trigger(name):
        raise UsageMistake(
            f"got the schedule {name!r} only: ipycron run {name!r} FILE schedules a "
            "file, ipycron run NAME runs a kept task now"
        )
    if is_file(name):
        raise UsageMistake(
            f"got the file {name!r} only: ipycron run EXPRESSION {name} schedules it, "
            "ipycron run NAME runs a kept task now"
        )
