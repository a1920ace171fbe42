"""All direct connections from a client to its workers.

`DirectConnections.try_call` is the entry point. If it returns False, the caller asks
the supervisor, as it always does with ``IPYCRON_DIRECT=0``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.process.direct.client_end import REPORT_SECONDS, DirectConnection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ipycron.process.direct.client_end import (
        Answer,
        CallState,
        Ending,
        LazyResult,
        Waiting,
    )
    from ipycron.process.wire.payload import Payload
    from ipycron.process.wire.protocol import DirectOpened


class DirectConnections:
    """The connections of all tasks. A replaced worker's connection is closed.

    Args:
        get_waiters: returns the waiters of a task's manual runs; None if the task is
            gone.
        handle_answers: receives a task's runs that have ended, in their order.
        wrap_result: wraps a result that is not decoded yet.
        loop: the client's.
        submit: calls a function on the loop, from any thread.
        report: reports a call (task, run, state) to the supervisor, from any thread;
            returns False if the message is left to the loop.
    """

    def __init__(
        self,
        *,
        get_waiters: Callable[[str], Waiting | None],
        handle_answers: Callable[[str, list[Answer]], None],
        wrap_result: Callable[[Payload], LazyResult],
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Callable[[], object]], object],
        report: Callable[[str, str, CallState], bool],
    ) -> None:
        self._get_waiters = get_waiters
        self._handle_answers = handle_answers
        self._by_task: dict[str, DirectConnection] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.wrap_result = wrap_result
        self.loop = loop
        self.submit = submit
        self.report = report

    # --- in any thread --------------------------------------------------------------

    def try_call(
        self, task_id: str, completion: Ending, waiters: Waiting, *, is_watched: bool
    ) -> bool:
        """Call a task's worker; return whether the call was made.

        If not, nothing has changed.

        Args:
            task_id: the task.
            completion: ends with the run.
            waiters: where the run is added before it can end.
            is_watched: whether the end must be reported without delay, to listeners.
        """
        connection = self._by_task.get(task_id)
        return connection is not None and connection.call(
            completion, waiters, is_watched=is_watched
        )

    def find(self, task_id: str) -> DirectConnection | None:
        """Return the connection to a task's worker, or None without one."""
        return self._by_task.get(task_id)

    def watch(self) -> None:
        """Have the loop poll the connections for as long as there are calls."""
        # Only the loop notes whether it polls: a thread might stand still until that is
        # long over, and the loop would never poll again.
        if self._timer is None:
            self.submit(self._poll_soon)

    def report_call(self, task_id: str) -> bool:
        """Report the call in progress; see `DirectConnection.report`."""
        connection = self._by_task.get(task_id)
        return connection is None or connection.report()

    # --- on the loop ----------------------------------------------------------------

    def open(self, opened: DirectOpened, payload: Payload) -> None:
        """Use a connection to a task's worker instead of the previous one."""
        self.close(opened.task_id)
        waiters = self._get_waiters(opened.task_id)
        if waiters is None or payload.fd is None:
            return
        self._by_task[opened.task_id] = DirectConnection(
            self,
            opened.task_id,
            fd=payload.detach(),
            name=opened.name,
            pid=opened.pid,
            waiters=waiters,
        )

    def _poll_soon(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(REPORT_SECONDS, self._poll)

    def _poll(self) -> None:
        # Armed first: if this poll raises, there is another one.
        timer = self._timer = self.loop.call_later(REPORT_SECONDS, self._poll)
        now = self.loop.time()
        polls = [each.poll(now) for each in tuple(self._by_task.values())]
        if any(polls):
            return
        timer.cancel()
        self._timer = None
        if any(each.is_busy for each in tuple(self._by_task.values())):
            self.watch()  # a call was made since the poll

    def deliver(self, connection: DirectConnection) -> None:
        """Add a connection's runs that have ended to the task's history."""
        try:
            answers = connection.take_answers()
            if answers:
                self._handle_answers(connection.task_id, answers)
        finally:
            connection.is_delivering = False

    def catch_up(self, task_id: str) -> None:
        """Add every run of a task that has ended so far to its history."""
        connection = self._by_task.get(task_id)
        if connection is not None:
            while connection.read():
                pass
            self.deliver(connection)

    def catch_up_all(self) -> None:
        """Add every run that has ended so far to its task's history."""
        for task_id in tuple(self._by_task):
            self.catch_up(task_id)

    def has_answers(self, task_id: str) -> bool:
        """Return whether a task's history lacks runs that have ended. In any thread."""
        connection = self._by_task.get(task_id)
        return connection is not None and connection.has_answers

    def close(self, task_id: str) -> None:
        """Close a task's connection, if it has one. May be repeated."""
        connection = self._by_task.get(task_id)
        if connection is None:
            return
        try:
            connection.close()
            self.deliver(connection)
        finally:
            # Last: whoever has received the result of one of these runs waits until the
            # history contains it, see `has_answers`.
            if self._by_task.get(task_id) is connection:
                del self._by_task[task_id]

    def close_all(self) -> None:
        """Close all connections: the supervisor is gone, or shut down."""
        for task_id in tuple(self._by_task):
            self.close(task_id)

    def close_in_child(self) -> None:
        """Close all sockets in a process that the client forked."""
        for connection in tuple(self._by_task.values()):
            connection.close_in_child()
