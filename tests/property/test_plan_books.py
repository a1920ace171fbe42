"""Every slot and run is accounted for, whatever is done to the scheduler.

A player starts, stops, calls and destroys tasks, lets workers hang, fail and die,
and moves both clocks. Afterwards every slot of every task is in the books exactly
once, every run has one beginning and one end, and nothing is left.
"""

import asyncio
from collections import Counter, defaultdict
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipycron.client.state import ObservedState
from ipycron.errors import Cancel, IpycronError, Snooze
from ipycron.scheduling.aio import sleep
from ipycron.scheduling.policy import CatchUp, Policy
from ipycron.scheduling.retry import Retry
from ipycron.scheduling.scheduler import Scheduler
from ipycron.scheduling.state import RunStage
from ipycron.testing import Every, FakeClock, FakeLauncher, RecordedEvents

HOUR = 3600

retries = st.builds(
    Retry,
    st.sampled_from([1, 3]),
    delay=st.sampled_from([0, 0.5, 5, 50]),
    max_delay=st.sampled_from([1, 600]),
    past_next=st.booleans(),
    deadline=st.sampled_from([None, None, 3, 30]),
    on=st.sampled_from([None, None, "timeout", ("crash", "ValueError")]),
)
policies = st.builds(
    Policy,
    retry=st.sampled_from([0, 0, 2]) | retries,
    overlap=st.sampled_from(["allow", "skip", "queue", "replace"]),
    pool=st.sampled_from([None, "gpu"]),
    priority=st.sampled_from([0, 0, 1]),
    max_executions=st.sampled_from([None, None, 1, 2, 9]),
    jitter=st.sampled_from([0, 0, 3, 30]),
    tolerance=st.sampled_from([1, 0, 5, 60]),
    timeout=st.sampled_from([None, None, 0.5, 4, 20]),
    start_timeout=st.sampled_from([2, 5]),
    stop_timeout=st.sampled_from([0, 1, 10]),
    max_restarts=st.sampled_from([3, 1, 0]),
    distributed=st.sampled_from([False, False, True]),
    catch_up=st.sampled_from(
        [
            *("none", "latest", "all"),
            CatchUp("latest", window=30),
            CatchUp("all", window=100, limit=3),
        ]
    ),
)


class Elector:
    """Answers yes, no, not at all, or fails, as told."""

    def __init__(self, clock):
        self.clock = clock
        self.answer = True
        self.seconds = 0.0
        self.claimed = Counter()

    async def should_run(self, _task_id, key, _lease):
        """Answer after a delay."""
        await sleep(self.clock, self.seconds)
        if self.answer == "error":
            raise ConnectionError
        if self.answer is True:
            self.claimed[key] += 1
        return self.answer

    async def on_complete(self, _task_id, key):
        """Release a claim."""
        self.claimed[key] -= 1


# The actions and their arguments. Most of them succeed most of the time, so that
# stories get long instead of ending early.
numbers = st.integers(0, 99)
actions = st.sampled_from(
    [
        *["start", "execute", "behave", "call"] * 3,
        *["answer", "show", "give_in", "limit", "pause", "resume"],
        *["stop", "force", "load", "run", "fail", "die", "stubborn", "sway", "kill"],
        *["forward", "back"],
    ]
)
# Seconds that pass after it; None: the next follows in the same loop iteration.
pauses = st.sampled_from([0.3, 0, None, 1, 2.5, 7, 31, 60])
steps = st.tuples(actions, numbers, pauses)
tasks = st.lists(
    st.tuples(policies, st.sampled_from([1, 7, 60])), min_size=1, max_size=2
)


class WatchedAdmission:
    """An `Admission` that reports what it drops."""

    def __init__(self, gate, drop):
        self._gate = gate
        self.drop = drop

    def __getattr__(self, name):
        return getattr(self._gate, name)


class Books:
    """Some tasks, their scheduler, and the notices so far.

    Of a limited pool, `allowed` is the most runs that may be in progress: runs that
    were in progress when the limit was set continue.
    """

    def __init__(self, tasks, *, is_shared, stands_by):
        self.complaints = []
        self.clock = FakeClock(HOUR)
        self.events = RecordedEvents()
        self.launcher = FakeLauncher(self.clock, is_shared=is_shared)
        self.script = self.launcher.script
        self.script.stands_by = stands_by
        self.elector = Elector(self.clock)
        self.scheduler = Scheduler(
            clock=self.clock,
            launcher=self.launcher,
            emit=self.hear,
            note_attempt=self.hear_attempt,
            elector=self.elector,
            uniform=lambda low, high: (low + high) / 3,
        )
        self.every, self.policy = {}, {}
        self.views = {}
        self.status = {}
        self.dropped = defaultdict(list)
        self.allowed = None
        self.calls = []
        self.went_back = False
        self.called_count = 0
        # A step of the clock is noticed within five seconds; then all is settled.
        self.unnoticed = 5.0
        self.noticed = defaultdict(list)
        for number, (policy, every) in enumerate(tasks):
            task_id = f"t{number}"
            self.every[task_id], self.policy[task_id] = every, policy
            self.scheduler.add(
                task_id, name=task_id, schedule=Every(every), policy=policy
            )
            self.watch_drops(task_id)
            self.views[task_id] = ObservedState(
                task_id, zone=UTC, runs_left=policy.max_executions, defer=lambda _: None
            )

    async def play(self, story):
        """Execute the story, end everything, check the accounts."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        for task_id in self.every:
            self.spawn(self.scheduler.start(task_id))
        for action, number, pause in story:
            getattr(self, action)(number)
            if pause is not None:
                await self.advance(pause)
                self.check_statuses()
                self.check_workers()
                self.check_pool()
        await self.close()
        assert self.complaints == []
        for task_id in self.every:
            self.balance(task_id)
        assert not +self.elector.claimed, "a claim was kept"

    async def close(self):
        """Shut down and check that nothing is left."""
        await self.clock.pass_until(self.scheduler.shutdown(3))
        await self.clock.advance(10)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert self.launcher.alive == []
        assert self.launcher.loading == 0
        for call in self.calls:
            if call.exception() is not None:
                assert isinstance(call.exception(), (IpycronError, OSError))

    def hear(self, notice):
        """Keep a notice, and show it as a client does."""
        self.events(notice)
        self.status[notice.task_id] = notice.status
        self.views[notice.task_id].follow(notice)

    def hear_attempt(self, began):
        """Show that an attempt has begun."""
        self.status[began.task_id] = began.status
        self.views[began.task_id].follow_attempt(began)

    async def advance(self, seconds):
        """Let time pass, and note by when each earlier clock step must be noticed."""
        await self.clock.advance(seconds)
        self.unnoticed -= seconds
        if self.unnoticed <= 0:
            place = len(self.events.notices)
            for task_id, life in self.scheduler._lifecycles.items():
                if life.state.phase == "started":
                    self.noticed[task_id].append((place, self.clock.now()))

    # --- what is done to it ------------------------------------------------------

    def spawn(self, work):
        """Start a call."""
        self.calls.append(asyncio.ensure_future(work))

    def pick(self, number):
        """Return one of the tasks."""
        return f"t{number % len(self.every)}"

    def watch_drops(self, task_id):
        """Record the slots that a stop drops silently because they have not begun."""
        life = self.scheduler._lifecycles[task_id]
        drop = life._admission.drop

        def note_and_drop(error, *, is_missed=False):
            place = len(self.events.notices)
            for run in life.state.runs.values():
                is_dropped = run.execution.reason == "scheduled" and not is_missed
                if is_dropped and run.stage is RunStage.PENDING:
                    self.dropped[task_id].append((place, run.execution.date))
            drop(error, is_missed=is_missed)

        life._admission = WatchedAdmission(life._admission, note_and_drop)

    def start(self, number):
        """Start a task."""
        self.spawn(self.scheduler.start(self.pick(number)))

    def stop(self, number, *, force=False):
        """Stop a task."""
        self.spawn(self.scheduler.stop(self.pick(number), force=force))
        if number > 60:
            self.start(number)
        if number > 80:
            self.execute(number)

    def force(self, number):
        """Stop a task by force, or sometimes destroy it."""
        if number < 80:
            self.stop(number, force=True)
        else:
            self.spawn(self.scheduler.destroy(self.pick(number), force=number < 90))

    def execute(self, number):
        """Call a task."""
        self.spawn(self.scheduler.execute(self.pick(number)))

    def call(self, number):
        """Start a run on a task's worker directly."""
        life = self.scheduler._lifecycles.get(self.pick(number))
        if life is not None and life._workers.main is not None:
            self.called_count += 1
            life._workers.main.call(f"called-{self.called_count}")

    def answer(self, _number):
        """Let workers end direct runs before the scheduler notices them."""
        for worker in self.launcher.alive:
            worker.answer()

    def show(self, number):
        """Let a worker show that its direct run has begun."""
        for worker in self.launcher.alive[number % 2 :]:
            if worker.is_called:
                worker.hold()

    def forward(self, number):
        """Suspend the machine."""
        self.clock.step((0.4, 3, 65, 300)[number % 4])
        self.unnoticed = 5.0

    def back(self, number):
        """Set the clock back."""
        self.clock.step((-0.4, -3, -65)[number % 3])
        self.went_back = True
        self.unnoticed = 5.0

    def give_in(self, number):
        """Let jobs cancel their runs, or ask to be run again."""
        self.script.error = Cancel("no") if number < 50 else Snooze(number / 10)

    def limit(self, number):
        """Change the limit of the pool."""
        limit = (1, 2, None)[number % 3]
        self.scheduler.set_pool("gpu", limit)
        held = self.scheduler._services.pools.get("gpu").held
        self.allowed = None if limit is None else max(limit, held)

    def pause(self, number):
        """Pause a task, for a while or until it is resumed."""
        until = None if number < 50 else int(self.clock.now()) + number
        self.scheduler.pause(self.pick(number), until=until)

    def resume(self, number):
        """Resume a task."""
        self.scheduler.resume(self.pick(number))

    def load(self, number):
        """Change how loads behave."""
        self.script.load_seconds = (0.5, 0, 3, None)[number % 4]
        self.script.load_error = OSError("no") if number > 50 else None

    def run(self, number):
        """Change how long runs take."""
        self.script.run_seconds = (0.5, 3, 10, 90, None)[number % 5]

    def fail(self, _number):
        """Let jobs raise."""
        self.script.error = ValueError("no")

    def die(self, _number):
        """Let jobs kill their workers."""
        self.script.dies = not self.launcher._is_shared

    def stubborn(self, _number):
        """Let workers ignore the signal."""
        self.script.is_stubborn = not self.launcher._is_shared

    def behave(self, number):
        """Let everything work again."""
        script = self.script
        script.load_seconds, script.load_error, script.error = 0, None, None
        script.dies = script.is_stubborn = False
        script.run_seconds = 0 if number < 50 else 2

    def sway(self, number):
        """Change the coordinator's answer and its delay."""
        self.elector.answer = (True, False, "error")[number % 3]
        self.elector.seconds = (0, 2, 6)[number // 3 % 3]

    def kill(self, number):
        """Kill a worker, busy or idle."""
        alive = [worker for worker in self.launcher.alive if not worker.is_shared]
        if alive:
            how = {"exit_code": 0} if number < 50 else {"signal_name": "SIGKILL"}
            alive[number % len(alive)].die(**how)

    # --- what must hold ----------------------------------------------------------

    def check_statuses(self):
        """What was told last is a task's current status, and so are its runs."""
        for task_id, told in self.status.items():
            status = self.scheduler.get_status(task_id)
            life = self.scheduler._lifecycles.get(task_id)
            if life is not None and life.state.phase == "stopping":
                continue  # reported once its workers are gone
            assert told == status
            active = {run.id for run in self.scheduler.get_executions(task_id)}
            assert bool(active) == (status == "running")
            view = self.views[task_id]
            assert {run.id for run in view.running} == active
            begun = {run.id for run in view.queued if run.started_at is not None}
            runs = () if life is None else life.state.runs.values()
            assert begun == {run.execution.id for run in runs if run.is_queued}

    def check_workers(self):
        """There is one for the task, one per run, and those about to end."""
        for task_id in self.every:
            own = [w for w in self.launcher.alive if w.task_id == task_id]
            runs = self.scheduler.get_executions(task_id)
            life = self.scheduler._lifecycles.get(task_id)
            ending = 0 if life is None else len(life._workers._tasks or ())
            if life is not None and life.state.phase == "stopping":
                ending = len(own)  # it ends them all, however long that takes
            assert len(own) <= 1 + len(runs) + ending
            assert life is None or len(life._workers._workers) <= len(own) + ending
            for worker in own:
                # Whoever has a run, or waits for one, has held the worker first.
                assert not (worker.is_called and life.state.runs)

    def check_pool(self):
        """No more workers are busy than places are held, and no more than allowed."""
        pool = self.scheduler._services.pools.get("gpu")
        if self.allowed is None:
            return
        busy = sum(
            len(worker._busy)
            for worker in self.launcher.alive
            if self.policy[worker.task_id].pool == "gpu"
        )
        assert busy <= pool.held <= self.allowed
        if pool.limit is not None and pool.held <= pool.limit:
            self.allowed = pool.limit
        assert not (pool.waiting and pool.held < pool.limit), "a place is free"

    def balance(self, task_id):
        """Check one task's accounts."""
        told = enumerate(self.events.notices)
        placed = [(place, n) for place, n in told if n.task_id == task_id]
        notices = [notice for _, notice in placed]
        self.balance_slots(task_id, placed)
        self.balance_runs(task_id, notices)
        names = Counter(str(n.event) for n in notices)
        assert names["task:destroyed"] == 1
        assert notices[-1].event == "task:destroyed"
        ends = names["task:stopped"] + names["task:failed"]
        assert names["task:started"] == ends

    def balance_slots(self, task_id, placed):
        """Each slot is accounted for once, and none in between is missing."""
        every, policy = self.every[task_id], self.policy[task_id]
        settled, overlaps = Counter(), Counter()
        entries = [(place, [slot]) for place, slot in self.dropped[task_id]]
        for place, notice in placed:
            told = self.slots_of(notice, every)
            if notice.event == "execution:overlap":
                overlaps.update(told)
            else:
                settled.update(told)
            entries.append((place, told))
        settled.update(slot for _, slot in self.dropped[task_id])
        assert all(count == 1 for count in settled.values()), "a slot came twice"
        assert all(count == 1 for count in overlaps.values())
        if not policy.skips_overlap and policy.max_executions is None:
            assert set(overlaps) <= set(settled)
        self.balance_spans(task_id, placed, entries)

    def balance_spans(self, task_id, placed, entries):
        """From each start to its end, all slots are reported up to the last one."""
        every, last = self.every[task_id], 0
        for begin, end, notice in self.spans(placed):
            after = max(notice.triggered_at, last)
            first = Every(every).find_next(after)
            told = {
                s for place, slots in entries if begin <= place <= end for s in slots
            }
            noticed = [w for place, w in self.noticed[task_id] if begin < place <= end]
            if told:
                last = max(told)
                assert told == set(range(first, int(last) + 1, every))
            if noticed and not self.is_exhausted(task_id, placed, end):
                assert max(last, first - every) >= max(noticed) // every * every

    def spans(self, placed):
        """Yield each start with its index and the index of its end."""
        for number, (place, notice) in enumerate(placed):
            if notice.event == "task:started":
                rest = placed[number:]
                ends = ("task:stopped", "task:failed")
                yield place, next(p for p, n in rest if n.event in ends), notice

    def is_exhausted(self, task_id, placed, end):
        """Return whether the limit was reached at an index."""
        limit = self.policy[task_id].max_executions
        left = [n.runs_left for place, n in placed if place <= end]
        return limit is not None and left[-1] == 0

    def slots_of(self, notice, every):
        """Return the slots that a notice settles or that overlap."""
        if notice.event == "execution:missed":
            return [notice.date - every * k for k in range(notice.missed_count)]
        if notice.event in ("execution:skipped", "execution:overlap"):
            count = notice.missed_count or 1
            return [notice.date - every * k for k in range(count)]
        if notice.event == "execution:started":
            scheduled = notice.execution.is_scheduled
            return [notice.date] if scheduled else []
        return []

    def balance_runs(self, task_id, notices):  # noqa: C901 - one branch for each event
        """Each run has one start and one end; limits hold at all times."""
        policy = self.policy[task_id]
        open_runs, ended, scheduled = set(), set(), 0
        is_alone = policy.overlap_mode != "allow"
        # A call that waits is reported as begun and failed when it is given up.
        given_up = {
            notice.execution.id
            for notice in notices
            if notice.event == "execution:failed"
            and notice.outcome.manner in ("stopped", "replaced")
            and notice.execution.started_at == notice.execution.finished_at
        }
        overtaken = set()  # runs that were in progress at a later slot
        for notice in notices:
            run = notice.execution
            if notice.event == "execution:started":
                assert run.id not in open_runs | ended
                open_runs.add(run.id)
                scheduled += run.is_scheduled
                if is_alone:
                    assert len(open_runs - given_up) == 1 or run.id in given_up
                if run.is_scheduled and not self.went_back:
                    assert notice.triggered_at >= notice.date, "a slot came early"
            elif notice.event in ("execution:finished", "execution:failed"):
                open_runs.remove(run.id)
                ended.add(run.id)
            elif notice.event == "execution:overlap":
                overtaken |= open_runs
            elif notice.event == "execution:retry":
                assert run.id in open_runs
                is_last = run.id in overtaken and not policy.retries.past_next
                assert not is_last, "a ladder outlived the next slot"
                if notice.outcome is not None:
                    assert run.attempt <= policy.retries.times
            elif notice.event in ("task:stopped", "task:failed", "task:destroyed"):
                assert open_runs == set()
        assert open_runs == set()
        if policy.max_executions is not None:
            assert scheduled <= policy.max_executions
            reached = [n for n in notices if n.event == "execution:max_reached"]
            assert len(reached) == (scheduled == policy.max_executions)


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None)
@given(tasks, st.booleans(), st.booleans(), st.lists(steps, min_size=30, max_size=80))
def test_every_slot_and_run_is_accounted_for(tasks, is_shared, stands_by, story):
    """Whatever happens in between, every slot and every run is accounted for."""
    books = Books(tasks, is_shared=is_shared, stands_by=stands_by)
    asyncio.run(books.play(story))
