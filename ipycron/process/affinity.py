"""Where a crowd of workers waits for its slot.

The kernel wakes a process on the core where it fell asleep. Beside a client that holds
a core, all workers fell asleep on the others, and all of them were woken there: twice
as late with two cores. Waiting on every core alike, each wakes in front of whoever has
it, as anybody does who has slept.
"""

from __future__ import annotations

import os

Cores = set[int]


def wait_on_one(number: int, crowd: int) -> Cores | None:
    """Have this thread wait on the core of its number, if it may use that.

    Args:
        number: this worker's place in the crowd.
        crowd: how many will be woken together. The kernel finds better places for
            fewer than there are cores.

    Returns:
        what to `return_to` when it is awake; None where nothing was changed.
    """
    try:
        cores = os.sched_getaffinity(0)
        if not 1 < len(cores) < crowd:
            return None
        os.sched_setaffinity(0, [sorted(cores)[number % len(cores)]])
    except (AttributeError, OSError):
        return None  # macOS; a sandbox; a core that is being taken away
    return cores


def count_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def return_to(cores: Cores) -> None:
    """Let this thread be on any of these cores again."""
    try:  # noqa: SIM105 - at the slot, where microseconds count
        os.sched_setaffinity(0, cores)
    except OSError:
        pass  # all of them were taken away: the kernel has chosen others
