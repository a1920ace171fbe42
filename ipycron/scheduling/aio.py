"""Waiting by the scheduler's clock, so that fake time reaches every deadline."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ipycron.scheduling.ports import Clock

T = TypeVar("T")


async def sleep(clock: Clock, seconds: float) -> None:
    """Return after `seconds` monotonic seconds."""
    over = asyncio.get_running_loop().create_future()
    timer = clock.call_later(seconds, partial(settle, over))
    try:
        await over
    finally:
        timer.cancel()


async def until(clock: Clock, seconds: float, future: asyncio.Future[Any]) -> None:
    """Return when `future` is done or `seconds` have passed. Never cancels it."""
    over = asyncio.get_running_loop().create_future()
    timer = clock.call_later(seconds, partial(settle, over))
    try:
        await asyncio.wait({future, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()


async def within(
    clock: Clock,
    seconds: float,
    work: asyncio.Task[T],
    *,
    late: Callable[[], Exception],
) -> T:
    """Return what `work` returns, or cancel it and raise `late()` after `seconds`.

    Does not wait for the cancelled work to end: work that ignores its cancellation
    must not delay a deadline. The task's owner waits for it where that matters.
    If the caller is cancelled, so is the work.
    """
    try:
        await until(clock, seconds, work)
        if not work.done():
            raise late()
    finally:
        work.cancel()
    if work.cancelled():
        # Cancelled by someone else. Re-raised as it is, the CancelledError would look
        # like the caller's own cancellation.
        raise RuntimeError("the call was cancelled from inside")
    return work.result()


async def share(task: asyncio.Task[T]) -> T:
    """Return the result of a task that several callers wait for.

    Cancelling one of them does not cancel the task. Nor is the task's failure then
    reported to the loop, as it would be by `asyncio.shield` since Python 3.14.
    """
    await asyncio.wait({task})
    return task.result()


async def drain(tasks: set[asyncio.Task[Any]]) -> None:
    """Return once the set is empty. Tasks may be added in the meantime."""
    while tasks:
        await asyncio.wait(set(tasks))


def settle(future: asyncio.Future[None]) -> None:
    """Resolve a future unless it is already done."""
    if not future.done():
        future.set_result(None)


def mark_retrieved(future: asyncio.Future[Any]) -> None:
    """Mark a future's exception as retrieved, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()


def spawn(
    tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, T]
) -> asyncio.Task[T]:
    """Start a task that `tasks` holds until it is done; asyncio logs no failure."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    task.add_done_callback(mark_retrieved)
    return task
