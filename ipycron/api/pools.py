"""`get_pools`: the pools of this process, and how full they are (O2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipycron.api.functions import get_tasks
from ipycron.client.registry import registry

if TYPE_CHECKING:
    from ipycron.client.executions import Execution


class PoolState(NamedTuple):
    """A pool as it is now.

    Attributes:
        limit: how many runs may be in progress at once; None for any number.
        running: how many runs of its tasks are in progress, without those that wait
            for their next attempt.
        queued: how many wait: for a place, or for the run before of their own task.
        tasks: the names of its tasks, oldest first.
    """

    limit: int | None
    running: int
    queued: int
    tasks: tuple[str, ...]


def get_pools() -> dict[str | None, PoolState]:
    """Return the pools that `set_pool` has made, by name, as they are now.

    The name None is that of the tasks without a pool, if they have had a limit.
    """
    client = registry.running_client
    if client is None:
        return {}
    tasks, now = list(get_tasks().values()), client.clock.now()
    states = {}
    for name, limit in client.pools.items():
        own = [task for task in tasks if task.options.pool == name]
        states[name] = PoolState(
            limit=limit,
            running=sum(
                not _is_resting(run, now) for task in own for run in task.running
            ),
            queued=sum(len(task.queued) for task in own),
            tasks=tuple(task.name for task in own),
        )
    return states


def _is_resting(run: Execution, now: float) -> bool:
    """Return whether a run waits for its next attempt, without a place."""
    following = run.next_attempt_at
    return following is not None and following.timestamp() > now
