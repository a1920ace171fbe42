"""On which cores a crowd of workers waits for its slot.

The kernel wakes a process on the core on which it went to sleep. Next to a client that
occupies one core, all workers went to sleep on the other cores and were all woken
there: on two cores, twice as late. If they wait evenly on all cores, each is scheduled
ahead of the process that occupies its core, since it has been asleep.
"""

from __future__ import annotations

import os

Cores = set[int]


def wait_on_one(number: int, crowd: int) -> Cores | None:
    """Pin this thread to the core that its number selects, if that is allowed.

    Args:
        number: this worker's place in the crowd.
        crowd: how many workers will be woken together. If they are fewer than the
            cores, the kernel places them better itself.

    Returns:
        The cores for `return_to` after waking up; None if nothing was changed.
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
    """Let this thread run on any of these cores again."""
    try:  # noqa: SIM105 - at the slot, where microseconds count
        os.sched_setaffinity(0, cores)
    except OSError:
        pass  # none of them is available any more: the kernel has chosen others
