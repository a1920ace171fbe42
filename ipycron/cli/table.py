"""Tasks as a table in a terminal, once or live."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ipycron.process.wire.printable import show_hidden
from ipycron.scheduling.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipycron.api.task import Task
    from ipycron.client.executions import Execution
    from ipycron.scheduling.events import TaskContext

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN_DURATIONS = 9
_STYLES = {"idle": "green", "running": "cyan", "stopped": "dim", "destroyed": "dim"}


class Watch:
    """Collects what the table shows for each task, from its events."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = list(tasks)
        self._durations = {task.id: deque[float]() for task in self.tasks}
        self.runs = dict.fromkeys(self._durations, 0)
        self.failures = dict.fromkeys(self._durations, 0)
        for task in self.tasks:
            task.on("execution:finished", self._take)
            task.on("execution:failed", self._take)

    def _take(self, context: TaskContext) -> None:
        task_id = context.task.id
        self.runs[task_id] += 1
        self.failures[task_id] += context.execution.outcome == "failed"
        durations = self._durations[task_id]
        durations.append(context.execution.duration or 0.0)
        if len(durations) > _SHOWN_DURATIONS:
            durations.popleft()

    def __rich__(self) -> Table:
        """Return the table as it is now."""
        table = Table(expand=True, box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("task", max_width=24)
        table.add_column("schedule", max_width=16)
        table.add_column("next and last run", no_wrap=True, min_width=17)
        table.add_column("durations", no_wrap=True, min_width=9)
        table.add_column("result or error", ratio=1)
        for task in self.tasks:
            table.add_row(*self._make_row(task))
        return table

    def _make_row(self, task: Task) -> list[Text | str]:
        return [
            Text.assemble((show_hidden(task.name), "bold"), "\n", _format_state(task)),
            Text(task.expression.describe()),
            f"{_format_next(task)}\n{_format_last(task.last_run)}",
            self._format_durations(task),
            _format_attempt((*task.queued, *task.running))
            or _format_outcome(task.last_run),
        ]

    def _format_durations(self, task: Task) -> Text:
        text = Text(draw_bars(self._durations[task.id]))
        count = self.runs[task.id]
        text.append("\n1 run" if count == 1 else f"\n{count} runs")
        if self.failures[task.id]:
            text.append(f"\n{self.failures[task.id]} failed", style="red")
        return text


def draw_bars(values: Iterable[float]) -> str:
    """Return one bar per value, the largest at full height."""
    numbers = list(values)
    top = max(numbers, default=0.0) or 1.0
    steps = len(_BARS) - 1
    return "".join(_BARS[round(number / top * steps)] for number in numbers)


def _format_state(task: Task) -> Text:
    """Return the status, and below it how many runs wait for their turn."""
    status, queued = task.status, len(task.queued)
    text = Text(status, style=_STYLES[status])
    if queued:
        text.append(f"\n{queued} queued", style="yellow")
    return text


def _format_attempt(running: Sequence[Execution]) -> Text | None:
    """Return which attempt the newest repeated run is at, and what the last one said.

    None if no run in progress is repeated.
    """
    run = next((run for run in reversed(running) if run.next_attempt_at), None)
    if run is None or run.next_attempt_at is None:  # it may just have ended
        return None
    left = run.next_attempt_at.timestamp() - SystemClock().now()
    words = f"attempt {run.attempt}" if run.attempt > 1 else "again"
    if run.is_queued:
        words += ", queued"
    text = Text(f"{words} in {left:.1f} s" if left > 0 else words, style="yellow")
    if run.summary:
        text.append(f"\n{show_hidden(run.summary)}", style="red")
    return text


def _format_next(task: Task) -> str:
    seconds = task.seconds_to_next
    return "–" if seconds is None else f"in {seconds:.1f} s"


def _format_last(execution: Execution | None) -> str:
    if execution is None or execution.finished_at is None:
        return "–"
    ago = SystemClock().now() - execution.finished_at.timestamp()
    took = (execution.duration or 0) * 1000
    return f"{max(0.0, ago):.1f} s ago, {took:.0f} ms"


def _format_outcome(execution: Execution | None) -> Text:
    if execution is None:
        return Text("–")
    style = "red" if execution.outcome == "failed" else ""
    text = Text(show_hidden(execution.summary), style=style)
    if execution.attempt > 1:
        text.append(f"\n{execution.attempt} attempts", style="dim")
    return text
