"""Ends of inline runs reach the loop in batches, after pending starts."""

import asyncio

import pytest

from ipycron.client import inline
from ipycron.client.inline import CompletionQueue, make_failure
from ipycron.errors import RemoteError


class InlineRun:
    """A run that has ended in some thread."""

    def __init__(self, complete):
        self.complete = complete


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([False], 1),  # nothing waits: at once
        ([True, True, False], 3),  # after the last beginning
        ([True] * 100, inline.MAX_PAUSES),  # they may wait for a long time
    ],
)
def test_ends_stand_back_for_beginnings(looks, expected):
    """Ends wait a few milliseconds, and keep their order."""
    left = list(looks)
    completed = []

    async def live():
        queue = CompletionQueue(
            asyncio.get_running_loop(), has_waiting=lambda: left.pop(0)
        )
        is_done = asyncio.Event()
        for number in range(3):
            queue.add(InlineRun(lambda number=number: completed.append(number)))
        queue.add(InlineRun(is_done.set))
        await is_done.wait()
        return len(looks) - len(left)

    asked = asyncio.run(live())
    assert (asked, completed) == (expected, [0, 1, 2])


def test_ends_are_brought_together():
    """A hundred ends wake the loop only once."""
    asked = []

    async def live():
        completed = []
        queue = CompletionQueue(
            asyncio.get_running_loop(), has_waiting=lambda: asked.append(1)
        )
        for number in range(100):
            queue.add(InlineRun(lambda number=number: completed.append(number)))
        await asyncio.sleep(0.01)
        return completed

    assert asyncio.run(live()) == list(range(100))
    assert asked == [1]


def test_failure_whose_text_fails_is_a_failure():
    """An error is reported as text even if producing its text fails."""

    class Mute(BaseException):
        def __str__(self):
            raise ValueError

    outcome = make_failure(Mute())
    assert not outcome.is_ok
    assert isinstance(outcome.value, RemoteError)
    assert "str() raised ValueError" in str(outcome.value)
