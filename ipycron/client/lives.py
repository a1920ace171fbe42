"""What the history says of a task, beside what becomes of it (H2)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from types import CodeType
from typing import TYPE_CHECKING

from ipycron.client.facts import write_facts
from ipycron.client.jobs import Inline, find_code
from ipycron.cron import CronExpression
from ipycron.process.wire.protocol import CellJob, FileJob
from ipycron.process.wire.triggers import describe_trigger
from ipycron.process.worker.job import binds_task
from ipycron.process.worker.script import read_source
from ipycron.runlog.output import show_surrogates
from ipycron.runlog.rows import TaskRow

if TYPE_CHECKING:
    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions
    from ipycron.client.record import TaskRecord
    from ipycron.cron.trigger import Trigger

_HASH_LENGTH = 16
_NOTEBOOK_VARIABLE = "JPY_SESSION_NAME"
"""Where a Jupyter server says which notebook a kernel belongs to. Source: ipykernel."""
_EDITOR_VARIABLE = "__vsc_ipynb_file__"
"""The variable of a notebook in which VS Code says the same."""


def make_life(task: TaskRecord) -> TaskRow:
    """Return what the history says of a task that is about to be scheduled."""
    kind, code_hash = describe_job(task.source)
    expression = task.expression
    return TaskRow(
        key=task.id,
        task_id=task.id,
        name=task.name,
        origin=find_origin(),
        kind=kind,
        pattern=expression.text,
        zone=str(expression.timezone),
        schedule=describe_schedule(expression, task.options),
        code_hash=code_hash,
        declared_at=task.client.clock.now(),
        facts=write_facts(expression, task.options),
    )


def describe_schedule(trigger: Trigger, options: TaskOptions) -> str:
    """Return a text that is equal for schedules with the same slots.

    An interval that counts from its start has other slots in each life.
    """
    described = _describe_trigger(trigger)
    if options.exclude is None:
        return described
    return f"{described} {options.on_excluded} {options.exclude.text}"


def _describe_trigger(trigger: Trigger) -> str:
    if not isinstance(trigger, CronExpression):
        return repr(describe_trigger(trigger))
    parts = trigger.text, str(trigger.timezone), trigger.day_or
    return repr((*parts, trigger.hash_id))


def describe_job(source: Source) -> tuple[str, str | None]:
    """Return the kind of a job, and a hash of its code; None if that is unknown."""
    if isinstance(source, Inline):
        cell = getattr(getattr(source.function, "__self__", None), "cell_source", None)
        if isinstance(cell, str):
            return "cell", _hash(cell)
        code = find_code(source.function)
        return "function", None if code is None else hash_code(code)
    if isinstance(source.job, CellJob):
        return "cell", _hash(source.job.source)
    if isinstance(source.job, FileJob):
        return _describe_file(os.fsdecode(source.job.path))
    return "function", None if source.code is None else hash_code(source.code)


def _describe_file(path: str) -> tuple[str, str | None]:
    try:
        text = read_source(path)
        kind = "file" if binds_task(text, path) else "script"
    except (OSError, SyntaxError, ValueError):
        return "file", None  # it may be written by the time it runs
    return kind, hashlib.sha256(text).hexdigest()[:_HASH_LENGTH]


def _hash(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:_HASH_LENGTH]


def hash_code(code: CodeType) -> str:
    """Return a hash of what a function does, wherever it stands in its file."""
    digest = hashlib.sha256()
    parts = [code]
    while parts:
        part = parts.pop()
        constants = [c for c in part.co_consts if not isinstance(c, CodeType)]
        parts += [c for c in part.co_consts if isinstance(c, CodeType)]
        digest.update(part.co_code)
        # Sets of constants have no order of their own.
        shown = [sorted(map(repr, c)) if type(c) is frozenset else c for c in constants]
        names = part.co_names, part.co_varnames
        digest.update(repr((names, shown)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:_HASH_LENGTH]


def find_origin() -> str | None:
    """Return the path of the notebook or script that this process runs, if known."""
    notebook = os.environ.get(_NOTEBOOK_VARIABLE, "")
    if notebook.endswith(".ipynb"):
        return show_surrogates(os.path.abspath(notebook))  # noqa: PTH100 - see jobs
    main = sys.modules.get("__main__")
    for name in (_EDITOR_VARIABLE, "__file__"):
        path = getattr(main, name, None)
        if isinstance(path, str):
            with contextlib.suppress(OSError):  # the working directory is gone
                return show_surrogates(os.path.abspath(path))  # noqa: PTH100 - as above
    return None
