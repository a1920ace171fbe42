"""Waiting with the clock of the scheduler: fake time reaches every deadline."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ipycron.scheduling.ports import Clock

T = TypeVar("T")


async def sleep(clock: Clock, seconds: float) -> None:
    """Return after so many monotonic seconds."""
    over = asyncio.get_running_loop().create_future()
    timer = clock.call_later(seconds, partial(settle, over))
    try:
        await over
    finally:
        timer.cancel()


async def until(clock: Clock, seconds: float, future: asyncio.Future[Any]) -> None:
    """Return when `future` is over, or after so many seconds. Touches it not."""
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

    Does not wait for the cancelled work to end: what refuses to be cancelled must
    not hold up a deadline. The task's owner waits for it where that matters.
    A cancelled caller cancels the work too.
    """
    try:
        await until(clock, seconds, work)
        if not work.done():
            raise late()
    finally:
        work.cancel()
    if work.cancelled():
        # Cancelled by others. Raised as it is, it would read as the caller's own.
        raise RuntimeError("the call was cancelled from inside")
    return work.result()


async def share(task: asyncio.Task[T]) -> T:
    """Return the result of a task that has several waiters.

    One of them that is cancelled neither cancels the task nor has its failure
    reported to the loop, as `asyncio.shield` would from Python 3.14 on.
    """
    await asyncio.wait({task})
    return task.result()


async def drain(tasks: set[asyncio.Task[Any]]) -> None:
    """Return when a set of tasks, which may still grow, is empty."""
    while tasks:
        await asyncio.wait(set(tasks))


def settle(future: asyncio.Future[None]) -> None:
    """Resolve a future that may be over already."""
    if not future.done():
        future.set_result(None)


def look_at(future: asyncio.Future[Any]) -> None:
    """Mark a future's failure as seen; asyncio would report it otherwise."""
    if not future.cancelled():
        future.exception()


def spawn(
    home: set[asyncio.Task[Any]], work: Coroutine[Any, Any, T]
) -> asyncio.Task[T]:
    """Start a task that `home` holds until it is done; its failure is seen."""
    task = asyncio.get_running_loop().create_task(work)
    home.add(task)
    task.add_done_callback(home.discard)
    task.add_done_callback(look_at)
    return task
