"""Coordinators that record their calls."""

from __future__ import annotations

import threading


class Voter:
    """Gives the answers it is told to, and records its calls.

    Args:
        answer: returned by `should_run`; an exception is raised, a function called.
    """

    def __init__(self, answer=True):  # noqa: FBT002 - the answer itself
        self.answer = answer
        self.asked = []
        self.completed = []
        self.renewed = []
        self.closed = threading.Event()
        self.on_end = lambda: None

    def should_run(self, key, lease):
        """Answer."""
        self.asked.append((key, lease))
        answer = self.answer() if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def renew(self, key, lease):  # noqa: ARG002 - the protocol's
        """Return True."""
        self.renewed.append(key)
        return True

    def on_complete(self, key):
        """Record the key."""
        self.on_end()
        self.completed.append(key)

    def close(self):
        """Record the call."""
        self.closed.set()


class AsyncVoter(Voter):
    """The same, with coroutines, on the calling loop."""

    async def should_run(self, key, lease):
        """Answer."""
        return super().should_run(key, lease)

    async def renew(self, key, lease):
        """Return True."""
        return super().renew(key, lease)

    async def on_complete(self, key):
        """Record the key."""
        super().on_complete(key)
