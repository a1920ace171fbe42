"""All lines to workers, the looks of the loop at them, and their way into the books."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.direct.client_end import SOON, Line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.client.ports import Clerk
    from ipycron.process.direct.client_end import CallState
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import Line as Opened


class DirectConnections:
    """The lines of all tasks, by task: a worker that is replaced takes its own along.

    Args:
        clerk: who is told of runs that have ended.
        loop: the client's.
        submit: calls a function on the loop, from any thread.
        tell: asks the supervisor to see to a call (task, run, what the line says), from
            any thread; returns whether it has been asked, or the loop has yet to.
    """

    def __init__(
        self,
        clerk: Clerk,
        *,
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Callable[[], object]], object],
        tell: Callable[[str, str, CallState], bool],
    ) -> None:
        self._clerk = clerk
        self._by_task: dict[str, Line] = {}
        self._is_watching = False
        self._timer: asyncio.TimerHandle | None = None
        self.loop = loop
        self.submit = submit
        self.tell = tell

    # --- in any thread --------------------------------------------------------------

    def find(self, task_id: str) -> Line | None:
        """Return the line to a task's worker, None where there is none."""
        return self._by_task.get(task_id)

    def watch(self) -> None:
        """Have the loop look at the lines for as long as there are calls."""
        if not self._is_watching:
            self.submit(self._look_soon)
            self._is_watching = True

    def see_to(self, task_id: str) -> bool:
        """Have the supervisor hear of a call before another word; see `Line.tell`."""
        line = self._by_task.get(task_id)
        return line is None or line.tell()

    # --- on the loop ----------------------------------------------------------------

    def open(self, opened: Opened, payload: Payload) -> None:
        """Take a line to a task's worker, in place of the one before."""
        self.close(opened.task_id)
        calls = self._clerk.get_calls(opened.task_id)
        if calls is None or payload.fd is None:
            return
        self._by_task[opened.task_id] = Line(
            self,
            opened.task_id,
            fd=payload.detach(),
            name=opened.name,
            pid=opened.pid,
            calls=calls,
        )

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(SOON, self._look)

    def _look(self) -> None:
        # First: a look that fails must not be the last.
        timer = self._timer = self.loop.call_later(SOON, self._look)
        now = self.loop.time()
        looks = [line.look(now) for line in tuple(self._by_task.values())]
        if any(looks):
            return
        timer.cancel()
        self._timer = None
        self._is_watching = False
        if any(line.is_busy for line in tuple(self._by_task.values())):
            self.watch()  # a call came between the look and this

    def book(self, line: Line) -> None:
        """Have the runs that have ended put into the books."""
        answers = line.take_answers()
        if answers:
            self._clerk.take_answers(line.task_id, answers)

    def catch_up(self, task_id: str) -> None:
        """Put into the books what the line of a task has brought so far."""
        line = self._by_task.get(task_id)
        if line is not None:
            while line.read():
                pass
            self.book(line)

    def has_answers(self, task_id: str) -> bool:
        """Return whether a task's books are behind. In any thread."""
        line = self._by_task.get(task_id)
        return line is not None and line.has_answers

    def close(self, task_id: str) -> None:
        """Give up the line of a task, if it has one. May be repeated."""
        line = self._by_task.pop(task_id, None)
        if line is not None:
            line.close()
            self.book(line)

    def close_all(self) -> None:
        """Give up all lines: their supervisor is gone."""
        for task_id in tuple(self._by_task):
            self.close(task_id)

    def close_in_child(self) -> None:
        """Let go of all in a process that the client forked."""
        for line in tuple(self._by_task.values()):
            line.close_in_child()
