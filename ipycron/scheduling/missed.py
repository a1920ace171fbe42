"""Counts long gaps of missed slots in small chunks."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from ipycron.scheduling.plan import count_slots, merge_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from ipycron.scheduling.plan import Gap
    from ipycron.scheduling.ports import Clock, Schedule, Timer

# Slots per chunk: takes about a millisecond.
CHUNK = 500

# Seconds between two chunks, so that the loop spends most of its time on runs.
PAUSE = 0.002


class _Count(msgspec.Struct, eq=False):
    owner: Hashable
    schedule: Schedule
    gap: Gap  # what is left of it
    report: Callable[[int, int], None]
    since: int
    total: int = 0


class MissedCounter:
    """Counts gaps in turn and reports each total once, with its newest slot.

    A gap of up to `CHUNK` slots is reported before `add` returns. A month of
    ``* * * * * *`` has 2.6 million slots, which take seconds of CPU time, spread out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: deque[_Count] = deque()
        self._timer: Timer | None = None

    def add(
        self,
        owner: Hashable,
        schedule: Schedule,
        gap: Gap,
        *,
        report: Callable[[int, int], None],
    ) -> None:
        """Count `gap`, then call `report(total, newest)`."""
        self._count(_Count(owner, schedule, gap, report, gap.after))

    def has(self, owner: Hashable) -> bool:
        """Return whether a count for this owner is in progress."""
        return any(count.owner == owner for count in self._queue)

    def leave_out(self, owner: Hashable, slots: Iterable[int]) -> None:
        """Do not count these slots in the counts in progress for this owner."""
        spans = [(slot - 1, slot) for slot in slots]
        for count in self._queue:
            if count.owner == owner:
                # From its beginning: some of them may have been counted already.
                settled = merge_spans(*count.gap.settled, *spans)
                count.gap = msgspec.structs.replace(
                    count.gap, after=count.since, settled=settled
                )
                count.total = 0

    def end_at(self, owner: Hashable, instant: float) -> None:
        """Count only what is not after `instant`, for this owner."""
        before = math.floor(instant) + 1
        for count in self._queue:
            if count.owner == owner and count.gap.before > before:
                # From its beginning, as above.
                count.gap = msgspec.structs.replace(
                    count.gap, after=count.since, before=before
                )
                count.total = 0

    def cut(self, owner: Hashable) -> None:
        """Stop counting for this owner and report the count so far."""
        cut = [count for count in self._queue if count.owner == owner]
        self._queue = deque(c for c in self._queue if c.owner != owner)
        if not self._queue and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for count in cut:
            count.report(count.total, count.gap.after)

    def _count(self, count: _Count) -> None:
        """Count one chunk; report the total or queue the rest."""
        found, last, is_done = count_slots(count.schedule, count.gap, limit=CHUNK)
        count.total += found
        count.gap = msgspec.structs.replace(count.gap, after=last)
        if is_done:
            count.report(count.total, last)
        else:
            self._queue.append(count)
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(PAUSE, self._continue)

    def _continue(self) -> None:
        self._timer = None
        self._count(self._queue.popleft())
        if self._queue:
            self._set_timer()
