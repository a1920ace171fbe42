"""Tasks in a terminal: the output of their runs is printed as it comes.

Each line begins with the task's name. While IPython waits for input, the lines are
printed above the prompt.
"""

from __future__ import annotations

import codecs
import sys
import threading
from typing import TYPE_CHECKING, Any

from ipycron.client.registry import registry
from ipycron.notebook.display.ansi import strip_ansi
from ipycron.notebook.display.feed import Feed
from ipycron.notebook.display.static import format_leftovers, settle_lines
from ipycron.notebook.display.tracebacks import tidy
from ipycron.notebook.display.words import format_name, format_run, get_now
from ipycron.process.wire.printable import keep_colours

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ipycron.api.task import Task
    from ipycron.client.executions import RunLike
    from ipycron.notebook.display.task_display import Interpretation
    from ipycron.process.wire.displays import DisplayData

IDLE = 3600.0
_LONGEST = 10_000  # characters of a line that has not ended
_STREAMS = ("stdout", "stderr")
_make_decoder = codecs.getincrementaldecoder("utf-8")


class _Run:
    """How far a run has been printed.

    Attributes:
        position: the position in its output.
        partial: by stream, the unfinished line.
        decoders: by stream.
    """

    def __init__(self) -> None:
        self.position = 0
        self.partial = dict.fromkeys(_STREAMS, "")
        self.decoders = {name: _make_decoder("replace") for name in _STREAMS}

    def read(self, run: RunLike) -> list[str]:
        """Return the lines that have been completed since the last call."""
        pieces, self.position = run.output.read(self.position)
        lines: list[str] = []
        for piece in pieces:
            if piece.kind == "display":
                lines += _get_lines(piece.display)
                continue
            text = self.partial[piece.kind]
            if piece.missing:
                text += f"\n… {piece.missing:,} bytes left out …\n"
            text += self.decoders[piece.kind].decode(piece.data)
            *ended, rest = settle_lines(text).split("\n")
            # Of an unfinished line (a progress bar) only the end matters.
            self.partial[piece.kind] = rest[-_LONGEST:]
            lines += ended
        return lines

    def finish(self) -> list[str]:
        """Return the unfinished lines: nothing will follow them."""
        return [text for text in self.partial.values() if text]


def _get_lines(display: DisplayData | None) -> list[str]:
    """Return the plain text of a display; nothing for an update."""
    if display is None or display.kind in ("update", "clear"):
        return []
    return str(display.data.get("text/plain", "")).splitlines()


class Printer:
    """Prints the runs of one task: a `View` of the feed."""

    outlives_process = False

    def __init__(self, task: Task, *, is_coloured: bool) -> None:
        self.task = task
        self._is_coloured = is_coloured
        self._lock = threading.RLock()
        self._runs: dict[str, _Run] = {}
        self._printed = {run.id for run in task.history}

    def note(self, task_ids: set[str]) -> None:
        """Do nothing: checking costs next to nothing."""

    def push(self, now: float) -> float:
        """Print what is new; return when to call this again."""
        self.flush()
        if self.task.status == "destroyed" and not self.task.is_busy:
            registry.get_single(Feed).detach(self)
        return now + IDLE

    def flush(self) -> None:
        """Print what is new."""
        with self._lock:
            ended = [r for r in self.task.history if r.id not in self._printed]
            for run in ended:
                self._print_new(run)
                self._print_end(run)
            for current in self.task.running:
                self._print_new(current)

    def _print_new(self, run: RunLike) -> None:
        self.print_lines(self._runs.setdefault(run.id, _Run()).read(run))

    def _print_end(self, run: RunLike) -> None:
        self.print_lines(self._runs.pop(run.id).finish())
        self._printed = {past.id for past in self.task.history}
        if run.outcome == "failed":
            self.print_lines(format_run(run, get_now()).splitlines())
            self.print_lines(tidy(run.traceback_text or "").splitlines())

    def print_lines(self, lines: list[str]) -> None:
        """Print lines, each prefixed with the task's name."""
        name = format_name(self.task)
        filtered = keep_colours if self._is_coloured else strip_ansi
        lines = [filtered(line) for line in lines]
        if lines:
            sys.stdout.write("".join(f"[{name}] {line}\n" for line in lines))
            sys.stdout.flush()


class TerminalDisplay:
    """The display of a session at a prompt; see `TaskDisplay`."""

    def __init__(self, shell: Any) -> None:
        is_plain = str(getattr(shell, "colors", "")).casefold() == "nocolor"
        self._is_coloured = not is_plain and sys.stdout.isatty()
        self._printers: dict[str, Printer] = {}

    def show(self, task: Task, interpretation: Interpretation) -> None:
        """Print how a declaration was understood, and from now on the runs' output."""
        print(interpretation.line)  # noqa: T201 - what the cell has done
        if task.id in self._printers:
            return
        for task_id, printer in list(self._printers.items()):
            if printer.task.status == "destroyed":
                del self._printers[task_id]
        printer = self._printers[task.id] = Printer(task, is_coloured=self._is_coloured)
        registry.get_single(Feed).attach(printer)

    def show_leftovers(self, cell: Hashable, leftovers: Mapping[Task, str]) -> None:  # noqa: ARG002 - see `TaskDisplay`
        """Print a line for each."""
        print(format_leftovers(leftovers))  # noqa: T201 - what the cell has done

    def has(self, name: str) -> bool:
        """Return whether a task of this name is shown."""
        return any(p.task.name == name for p in list(self._printers.values()))

    def prints(self, task: Task) -> bool:
        """Return whether a task's output is printed here anyway."""
        return task.id in self._printers

    def show_trouble(self, task: Task, text: str) -> None:
        """Print why a task did not start."""
        printer = self._printers.get(task.id)
        if printer is not None:
            printer.print_lines(["did not start", *text.splitlines()])

    def leave(self, cell: Hashable) -> None:
        """Do nothing: what was printed stays."""

    def flush(self) -> None:
        """Print everything that is new."""
        for printer in list(self._printers.values()):
            printer.flush()

    def close(self) -> None:
        """Print what is left, then stop printing."""
        self.flush()
        for printer in self._printers.values():
            registry.get_single(Feed).detach(printer)
        self._printers.clear()
