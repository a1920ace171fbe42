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
    Armed = tuple[int, int]  # a slot, and its place in the order of arming

# Longest sleep in seconds. A suspend or a step of the wall clock moves no monotonic
# timer, so a due slot is noticed after at most this long (R2).
LONGEST_SLEEP = 5.0

# Seconds after which a long series of due slots lets the loop do other work: after
# a suspend a thousand tasks may owe a hundred reports each. A thousand tasks that owe
# one run each take less: the ends of the first must not delay the last.
BURST = 0.1

# How many slots have what follows them stand back, and for how many seconds: the
# interpreter is for the jobs that have just been started. Measured with a thousand
# inline tasks: the last begins 5 ms earlier.
MANY = 50
REST = 0.002

# Cancelled slots that the heap may carry before it is swept.
_SWEEP_AT = 64


class Timetable:
    """Calls back at slots of the wall clock: never early, as little late as it can.

    A thousand slots on one second cost one wake-up. Slots of one second are called
    in the order in which they were armed. A callback may return work that no slot needs
    to wait for: it is called after all slots that are due with it, a moment later if
    they are many.

    Args:
        clock: the time.
        on_set_back: called where the wall clock was set back by so much that it is
            a correction (C3), before anything that is due: with the seconds, and the
            new time of the last look at the clock.
    """

    def __init__(
        self, clock: Clock, on_set_back: Callable[[float, float], None] | None = None
    ) -> None:
        self._clock = clock
        self._on_set_back = on_set_back
        # The latest time that the wall clock has shown, and when that was.
        self._newest = self._looked_at = 0.0
        self._heap: list[Armed] = []  # armed slots, and cancelled ones
        self._orders = count()
        self._armed: dict[Owner, Armed] = {}  # owners and their armed slots
        self._owners: dict[Armed, Owner] = {}  # the other way round
        self._latest = 0  # the slot that was armed last
        self._timer: Timer | None = None
        self._timer_deadline = 0.0
        self._standing = 0
        self._is_waking = False

    def arm(self, owner: Owner, slot: int) -> int:
        """Call `owner(now)` once at `slot`, instead of its slot before.

        Returns:
            the slot, for the owner to keep: one object for all that are armed for it
            in a row. A thousand tasks remember the dates of twenty thousand runs.
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
    def standing(self) -> int:
        """How many workers stand by for the next slot."""
        return self._standing

    def note_standby(self) -> int:
        """Count a worker that stands by for the next slot; return its number."""
        self._standing += 1
        return self._standing - 1

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
        """Make sure that the timer is no later than `slot`."""
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
        """Call what is due, then sleep until the next slot."""
        self._timer = None
        standing, self._standing = self._standing, 0
        if rest := find_rest(standing):
            self._clock.rest(rest)
        self._work(self._call_due)

    def _work(self, work: Callable[[], None]) -> None:
        """Do `work`, and set the timer once for all that it arms."""
        self._is_waking = True
        try:
            work()
        finally:
            # Also after a callback that raised: the others' slots go on.
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
        """Report that the clock was set back by more than a few hours (C3)."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        since = monotonic - self._looked_at
        back = self._newest + since - now
        if back > CORRECTION:
            self._newest, self._looked_at = now, monotonic
            if self._on_set_back is not None:
                self._on_set_back(back, now - since)

    def _call_slots(self, afterwards: list[Callable[[], None]]) -> None:
        began = self._clock.monotonic()
        # The clock is read for each: lateness is what the task itself suffers.
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
        """Rebuild the heap once cancelled slots are most of it."""
        if len(self._heap) > _SWEEP_AT + 2 * len(self._armed):
            self._heap = [armed for armed in self._heap if armed in self._owners]
            heapq.heapify(self._heap)


def call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call all of them, then raise the first error."""
    failures: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the others' slots go on
            failures.append(error)
    if failures:
        raise failures[0]
