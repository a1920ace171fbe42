"""Every slot has one row in the history's file, whatever becomes of a pause (H1).

A player pauses and resumes a task, lets the machine sleep, stops and starts the task,
and corrects a clock that was ahead.
Its rows go to a real file, in batches that are cut anywhere. Afterwards the rows, and
the slots that they stand for, are the slots of the schedule: each one once.
"""

import asyncio
import tempfile
from itertools import count
from pathlib import Path

import pytest
from history_rows import make_task, read
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lengths import choose

from ipycron.runlog.merging import Pending
from ipycron.runlog.recorder import Recorder
from ipycron.runlog.rows import OPEN, find_since
from ipycron.runlog.store import open_store
from ipycron.scheduling.events import Event
from ipycron.scheduling.plan import Recounted
from ipycron.scheduling.policy import NO_CATCH_UP, CatchUp, Policy
from ipycron.scheduling.retry import Retry
from ipycron.scheduling.scheduler import Scheduler
from ipycron.scheduling.timetable import LONGEST_SLEEP
from ipycron.testing import Every, FakeClock, FakeLauncher, Script

EVERY = 10
LIFE = "life"
AGE = 30 * 86400.0

RESUMES = [
    NO_CATCH_UP,
    CatchUp("latest"),
    CatchUp("latest", window=60),
    CatchUp("all", window=AGE),
    CatchUp("all", window=AGE, limit=3),
    CatchUp("all", window=1500),  # in the middle of a count, to its end
    CatchUp("all", window=4000, limit=40),  # in the middle of a count
    CatchUp("all", window=5),  # nothing
]
SLEEPS = [33, 700, 1020, 5000, 30_000, 200_000]

numbers = st.integers(0, 99)
actions = st.sampled_from(
    [
        *["pause", "sleep", "resume", "sleep_and_resume", "nap"] * 3,
        *["pause_until", "restart", "back", "behave", "fail", "write"],
        *["correct", "correct_and_restart"],
    ]
)
steps = st.tuples(actions, numbers, st.sampled_from([6, 10, 31]))
policies = st.builds(
    Policy,
    overlap=st.sampled_from(["allow", "skip", "queue", "replace"]),
    retry=st.sampled_from([0, 0, 2, Retry(2, delay=3, past_next=True)]),
    pool=st.sampled_from([None, None, "gpu"]),
    jitter=st.sampled_from([0, 0, 4, 25]),
    tolerance=st.sampled_from([1, 10]),
    stop_timeout=st.just(2),
    max_restarts=st.just(1000),
    catch_up=st.sampled_from(["none", "latest", CatchUp("all", window=AGE, limit=5)]),
)


class Books:
    """One task, what is done to it, and its rows in a file."""

    def __init__(self, folder, policy, key):
        self.clock = FakeClock(3600)
        self.script = Script()
        self.recorder = Recorder(self.put)
        ids = count()
        self.scheduler = Scheduler(
            clock=self.clock,
            launcher=FakeLauncher(self.clock, script=self.script),
            emit=self.emit,
            note=self.note,
            note_attempt=self.recorder.note_attempt,
            uniform=lambda low, high: (low + high) / 2,
            new_id=lambda: f"r{next(ids)}",
        )
        self.scheduler.set_pool("gpu", 1)
        self.recorder.declare(make_task(key, task_id=LIFE))
        self.scheduler.add(LIFE, name=LIFE, schedule=Every(EVERY), policy=policy)
        self.changes = []
        self.pending = Pending()
        self.store = open_store(folder / "history.sqlite", now=0, tell=print)
        self.expected = set()
        self.floor = 0  # of the slots that are to come
        self.begun = {}  # slots by the runs' ids
        self.ahead = set()  # runs whose slots were to come once more
        self.since = self.newest = self.clock.now()
        self.went_back = False

    def emit(self, notice):
        """Take an event."""
        if notice.event is Event.EXECUTION_STARTED:
            self.begun[notice.execution.id] = notice.date
        self.recorder.note(notice)

    def note(self, pending):
        """Take what is for the history only."""
        self.recorder.note_pending(pending)
        if not isinstance(pending, Recounted):
            return
        since, now = pending.since, self.clock.now()
        # Steps that were too small for a correction may have been a part of it.
        unseen = self.clock.monotonic() if self.went_back else LONGEST_SLEEP
        assert now - unseen <= since <= now
        self.expect()
        self.expected = {slot for slot in self.expected if slot <= since}
        self.ahead |= {name for name, slot in self.begun.items() if slot > since}
        self.since, self.newest, self.floor = since, now, since

    def put(self, change):
        """Take a row, as the writer's queue does."""
        self.changes.append(change)

    async def play(self, story):
        """Execute the story, end the task, and check its rows."""
        await self.scheduler.start(LIFE)
        for action, number, pause in story:
            await getattr(self, action)(number)
            await self.pass_time(pause)
        self.expect()
        await self.clock.pass_until(self.scheduler.destroy(LIFE))
        await self.clock.pass_until(self.scheduler.shutdown(3))
        await self.write(100)
        self.store.close()

    async def pass_time(self, seconds):
        """Let time pass, and note how far it came."""
        await self.clock.advance(seconds)
        self.newest = max(self.newest, self.clock.now())

    def expect(self):
        """Note the slots of the time in which the task was started."""
        first = Every(EVERY).find_next(self.since)
        self.expected |= set(range(int(first), int(self.newest) + 1, EVERY))

    # --- what is done to it -----------------------------------------------------------

    async def pause(self, _number):
        """Pause until a resume."""
        self.scheduler.pause(LIFE)

    async def pause_until(self, number):
        """Pause for a while."""
        self.scheduler.pause(LIFE, until=int(self.clock.now()) + 50 * number + 1)

    async def sleep(self, number):
        """Suspend the machine."""
        self.clock.step(SLEEPS[number % len(SLEEPS)])

    async def nap(self, number):
        """Let slots pass one by one."""
        await self.pass_time(number)

    async def resume(self, number):
        """End the pause."""
        self.scheduler.resume(LIFE, RESUMES[number % len(RESUMES)])

    async def sleep_and_resume(self, number):
        """End the pause while its slots are still being counted."""
        await self.sleep(5)
        await self.pass_time(0.01)
        await self.resume(number)

    async def restart(self, _number):
        """Stop and start."""
        self.expect()
        await self.clock.pass_until(self.scheduler.stop(LIFE))
        await self.scheduler.start(LIFE)
        # Where the clock was set back a little, the slots up to then are settled.
        self.since = max(self.clock.now(), self.floor, *self.expected)
        self.newest = self.since

    async def back(self, number):
        """Set the clock back a little."""
        self.clock.step((-3, -65, -1000)[number % 3])
        self.went_back = True

    async def correct(self, number):
        """Set back a clock that was hours ahead, or days, or that was right."""
        back = (10_900, 20_000, 86_400, 190_000)[number % 4]
        self.clock.step(-min(back, self.clock.now() - 600))

    async def correct_and_restart(self, number):
        """Stop and start before the scheduler has noticed the correction."""
        await self.correct(number)
        await self.restart(number)

    async def behave(self, number):
        """Change how long runs take."""
        self.script.run_seconds = (0, 1, 15, 90)[number % 4]

    async def fail(self, number):
        """Have runs fail from now on, or not."""
        self.script.error = ValueError("no") if number % 2 else None

    async def write(self, number):
        """Write what there is, or a part of it: the rest comes with the next batch."""
        size = len(self.changes) * number // 99
        self.pending.add(self.changes[:size])
        del self.changes[:size]
        assert self.store.apply(self.pending.changes) == 0
        self.pending.clear()


def list_slots(rows):
    """Return the slots that rows stand for, each as often as told."""
    slots = [int(slot) for slot, _, counted in rows if counted is None]
    own = set(slots)
    for slot, name, counted in rows:
        newest, left = int(slot), counted or 0
        while left:
            assert newest > find_since(name), "a row stands for slots before its own"
            if newest not in own:
                slots.append(newest)
                left -= 1
            newest -= EVERY
    return slots


def check(path, expected, ahead=frozenset()):
    """Compare the rows of a file with the slots that there were.

    Args:
        path: the file.
        expected: the slots.
        ahead: the ids of the runs of no slot: begun by a clock that was ahead.
    """
    store = open_store(path, now=0, tell=print)
    try:
        everything = read(store, "slot, id, missed_count, outcome, run")
    finally:
        store.close()
    rows = [row[:-1] for row in everything if row[-1] is None]
    of_runs = {name: slot for slot, name, *_ in rows}
    assert all(row[0] == of_runs[row[-1]] for row in everything if row[-1] is not None)
    assert not {outcome for *_, outcome in rows} & OPEN
    # One missed slot is told as a count of 1.
    counts = [
        (s, i, None if find_since(i) is None else n)
        for s, i, n, _ in rows
        if s is not None
    ]
    assert {i for s, i, *_ in rows if s is None} == set(ahead)
    slots = list_slots(counts)
    assert sorted(slots) == sorted(set(slots)), "a slot came twice"
    assert (sorted(set(slots) - expected), sorted(expected - set(slots))) == ([], [])


SET_BACK = [("sleep", 0, 6), ("back", 1, 6)]
LONG_PAUSE = [("pause", 0, 6), ("sleep", 4, 6), ("write", 99, 6)]


@pytest.mark.timeout(300)
# A kept task has one id in all of its lives, which have keys of their own.
@pytest.mark.parametrize("key", [LIFE, f"{LIFE}.1"], ids=["ordinary", "kept"])
@settings(max_examples=choose(10, 100), deadline=None)
@given(policies, st.lists(steps, min_size=10, max_size=40))
@example(Policy(), [*LONG_PAUSE, ("resume", 1, 31)])
@example(Policy(), [*LONG_PAUSE, ("behave", 3, 6), ("resume", 3, 31)])
@example(Policy(), [*LONG_PAUSE, ("behave", 3, 6), ("resume", 5, 6), ("restart", 0, 6)])
@example(Policy(), [*LONG_PAUSE, ("resume", 6, 31)])
@example(Policy(), [("pause", 0, 6), ("sleep_and_resume", 5, 6)])
@example(Policy(), [("pause", 0, 6), ("sleep_and_resume", 1, 6)])
@example(Policy(), [("pause", 0, 6), ("sleep_and_resume", 6, 6)])
@example(Policy(), [*SET_BACK, ("pause", 0, 31), ("resume", 1, 6)])
@example(Policy(), [("pause", 0, 31), ("behave", 3, 6), ("resume", 3, 6)])
@example(Policy(), [("sleep", 3, 31), ("correct", 0, 31)])  # within a count
@example(Policy(), [("sleep", 4, 31), ("write", 99, 6), ("correct", 1, 31)])
@example(Policy(), [*LONG_PAUSE, ("correct", 1, 31), ("resume", 3, 31)])
@example(Policy(), [("sleep", 4, 31), ("correct_and_restart", 1, 31)])
@example(Policy(), [("sleep", 5, 6), ("correct", 3, 6), ("correct_and_restart", 0, 6)])
@example(Policy(jitter=25), [("sleep", 4, 6), ("correct", 1, 31)])
def test_every_slot_of_a_pause_has_one_row(key, policy, story):
    """Skipped, or caught up on, or missed after all; one by one or in a count."""
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder), policy, key)
        asyncio.run(books.play(story))
        check(Path(folder) / "history.sqlite", books.expected, books.ahead)
