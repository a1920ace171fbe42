"""One heap of slots and one timer for all tasks."""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from ipycron.scheduling.plan import CORRECTION
from ipycron.scheduling.standby import find_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipycron.scheduling.ports import Clock, Timer

    Owner = Callable[[float], Callable[[], None] | None]
    Armed = tuple[int, int]  # a slot and its position in the order of arming

# Longest sleep in seconds. A suspend or a step of the wall clock does not affect
# monotonic timers, so a due slot is noticed within this time (R2).
LONGEST_SLEEP = 5.0

# Seconds after which a long series of due slots yields to other work on the loop: after
# a suspend, a thousand tasks may have a hundred missed slots each to report. Starting
# one run of each of a thousand tasks takes less time, and must not be interrupted: the
# first runs' ends must not delay the last run's start.
BURST = 0.1

# If more than MANY slots were due together, the work that follows them waits for REST
# seconds, so that the jobs just started get the interpreter first. Measured with a
# thousand inline tasks: the last one begins 5 ms earlier.
MANY = 50
REST = 0.002

# Cancelled slots that the heap may contain before it is rebuilt.
_SWEEP_AT = 64


class Timetable:
    """Calls back at slots of the wall clock: never early, and as punctually as it can.

    A thousand slots in one second cost one wake-up. Slots of the same second are called
    in the order in which they were armed. A callback may return follow-up work that no
    slot should wait for: it is called after all slots that are due at the same time,
    slightly later if there are many.

    Args:
        clock: the source of time.
        on_set_back: called before anything that is due if the wall clock was set back
            by more than `CORRECTION` (C3). Receives the seconds, and the instant of the
            last reading of the clock in terms of the new time.
    """

    def __init__(
        self, clock: Clock, on_set_back: Callable[[float, float], None] | None = None
    ) -> None:
        self._clock = clock
        self._on_set_back = on_set_back
        # The latest reading of the wall clock, and its monotonic time.
        self._newest = self._looked_at = 0.0
        self._heap: list[Armed] = []  # armed slots, and cancelled ones
        self._orders = count()
        self._armed: dict[Owner, Armed] = {}  # owners and their armed slots
        self._owners: dict[Armed, Owner] = {}  # the other way round
        self._latest = 0  # the slot that was armed last
        self._timer: Timer | None = None
        self._timer_deadline = 0.0
        self._standby_count = 0
        self._is_waking = False

    def arm(self, owner: Owner, slot: int) -> int:
        """Call `owner(now)` once at `slot`, instead of at its previous slot.

        Returns:
            The slot, for the owner to keep: consecutive owners of one slot share one
            int object. A thousand tasks keep the dates of twenty thousand runs.
        """
        if slot == self._latest:
            slot = self._latest
        else:
            self._latest = slot
        if owner in self._armed:
            del self._owners[self._armed[owner]]
        armed = slot, next(self._orders)
        self._armed[owner] = armed
        self._owners[armed] = owner
        heapq.heappush(self._heap, armed)
        if not self._is_waking:
            self._sweep()
            self._advance_timer(slot)
        return slot

    @property
    def standby_count(self) -> int:
        """The number of workers that stand by for the next slot."""
        return self._standby_count

    def note_standby(self) -> int:
        """Count a worker that stands by for the next slot; return its number."""
        self._standby_count += 1
        return self._standby_count - 1

    def disarm(self, owner: Owner) -> None:
        """Forget the owner's slot, if it has one."""
        armed = self._armed.pop(owner, None)
        if armed is None:
            return
        del self._owners[armed]
        if not self._armed:
            self._heap.clear()
            self._cancel_timer()

    def _advance_timer(self, slot: int) -> None:
        """Make sure that the timer expires at `slot` or earlier."""
        now = self._clock.now()
        if now >= self._newest:
            self._newest, self._looked_at = now, self._clock.monotonic()
        delay = min(slot - now, LONGEST_SLEEP)
        if self._timer is None or (
            self._clock.monotonic() + delay < self._timer_deadline
        ):
            self._set_timer(delay)

    def _set_timer(self, delay: float) -> None:
        self._cancel_timer()
        delay = max(delay, 0.0)
        self._timer_deadline = self._clock.monotonic() + delay
        self._timer = self._clock.call_punctually(delay, self._wake)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        """Call the owners of due slots, then sleep until the next slot."""
        self._timer = None
        standby_count, self._standby_count = self._standby_count, 0
        if rest := find_rest(standby_count):
            self._clock.rest(rest)
        self._work(self._call_due)

    def _work(self, work: Callable[[], None]) -> None:
        """Do `work`, and set the timer once for everything that it arms."""
        self._is_waking = True
        try:
            work()
        finally:
            # Also after a callback that raised: the other owners' slots still count.
            self._is_waking = False
            if self._armed:
                self._drop_cancelled()
                self._advance_timer(self._heap[0][0])

    def _call_due(self) -> None:
        afterwards: list[Callable[[], None]] = []
        follow = partial(call_all, afterwards)
        self._notice_correction()
        try:
            self._call_slots(afterwards)
        finally:
            if len(afterwards) > MANY:
                self._clock.call_later(REST, partial(self._work, follow))
            else:
                follow()

    def _notice_correction(self) -> None:
        """Report the clock being set back by more than `CORRECTION` (C3)."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        since = monotonic - self._looked_at
        back = self._newest + since - now
        if back > CORRECTION:
            self._newest, self._looked_at = now, monotonic
            if self._on_set_back is not None:
                self._on_set_back(back, now - since)

    def _call_slots(self, afterwards: list[Callable[[], None]]) -> None:
        began = self._clock.monotonic()
        # The clock is read for each slot: the lateness is that of this very task.
        while self._heap and self._heap[0][0] <= (now := self._clock.now()):
            armed = heapq.heappop(self._heap)
            if armed not in self._owners:
                continue
            owner = self._owners.pop(armed)
            del self._armed[owner]
            after = owner(now)
            if after is not None:
                afterwards.append(after)
            if self._clock.monotonic() - began > BURST:
                return

    def _drop_cancelled(self) -> None:
        while self._heap[0] not in self._owners:
            heapq.heappop(self._heap)

    def _sweep(self) -> None:
        """Rebuild the heap once most of it is cancelled slots."""
        if len(self._heap) > _SWEEP_AT + 2 * len(self._armed):
            self._heap = [armed for armed in self._heap if armed in self._owners]
            heapq.heapify(self._heap)


def call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call all of them, then raise the first error."""
    failures: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the other calls still count
            failures.append(error)
    if failures:
        raise failures[0]
