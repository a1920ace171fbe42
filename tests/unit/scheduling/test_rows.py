"""The rows that a scheduler's reports become (H1)."""

import asyncio
import random

import pytest

from ipycron.errors import OverlapError, Snooze
from ipycron.runlog.recorder import ORPHANED, TAIL_BYTES, Recorder
from ipycron.runlog.rows import OPEN, RunOutcome, RunRow, TaskEnd, TaskRow
from ipycron.scheduling.events import ScheduledExecution
from ipycron.scheduling.retry import Retry
from ipycron.testing import Every, RecordedEvents


class Table(RecordedEvents):
    """A receiver of notices that also makes rows, and keeps the last one of each id."""

    def __init__(self):
        super().__init__()
        self.changes = []
        self.recorder = Recorder(self.changes.append)

    def __call__(self, notice):
        """Keep the notice and what becomes of it."""
        super().__call__(notice)
        self.recorder.note(notice)

    def declare(self, key="t"):
        """Record a task."""
        self.recorder.declare(
            TaskRow(
                key=key,
                task_id=key,
                name=key,
                origin=None,
                kind="function",
                pattern="* * * * *",
                zone="UTC",
                schedule="* * * * *",
                code_hash=None,
                declared_at=3600,
            )
        )

    @property
    def rows(self):
        """The newest row of each id, in the order of the first ones."""
        rows = [change for change in self.changes if isinstance(change, RunRow)]
        return list({row.id: row for row in rows}.values())

    @property
    def told(self):
        """Slot in seconds since the hour, trigger and outcome of each row."""
        return [
            (None if row.slot is None else row.slot - 3600, row.trigger, row.outcome)
            for row in self.rows
        ]

    @property
    def ends(self):
        """How the task's life ended, each time."""
        return [change.end for change in self.changes if isinstance(change, TaskEnd)]


@pytest.fixture
def table(world):
    """The rows of the world's scheduler, which records the task `t`."""
    world.events = Table()
    world.events.declare()
    return world.events


async def test_run_is_open_from_its_start_and_closed_at_its_end(world, table):
    """One id, two rows: the second one closes the first."""
    world.script.run_seconds = 5
    await world.start()
    await world.clock.advance(60)
    assert table.told == [(60, "scheduled", "running")]
    await world.clock.advance(5)
    assert table.told == [(60, "scheduled", "finished")]
    (row,) = table.rows
    assert (row.started_at, row.finished_at) == (3660, 3665)


async def test_call_has_no_slot(world, table):
    """A manual run's row is in its place by its start."""
    await world.start()
    await world.clock.advance(7)
    await world.scheduler.execute("t")
    assert table.told == [(None, "invoked", "finished")]
    assert table.rows[0].at == 3607


async def test_failure_tells_its_error(world, table):
    """Type and text of the error, in columns of their own."""
    world.script.error = ValueError("no: never")
    await world.start()
    await world.clock.advance(60)
    (row,) = table.rows
    assert (row.outcome, row.error_type, row.error) == (
        "failed",
        "ValueError",
        "no: never",
    )


async def test_run_that_takes_too_long_has_timed_out(world, table):
    """A timeout is no failure of the job's own."""
    world.script.run_seconds = None
    await world.start(timeout=10)
    await world.clock.advance(75)
    assert table.told == [(60, "scheduled", "timed_out")]


async def test_death_of_a_worker_is_a_crash(world, table):
    """The row has the signal that ended it."""
    world.script.run_seconds = None
    await world.start()
    await world.clock.advance(60)
    world.worker.die(signal_name="SIGSEGV")
    await world.clock.advance()
    assert table.told == [(60, "scheduled", "crashed")]
    assert table.rows[0].signal == "SIGSEGV"


async def test_stop_ends_a_run_and_a_life(world, table):
    """Neither is a failure."""
    world.script.run_seconds = None
    await world.start(stop_timeout=1)
    await world.clock.advance(60)
    await world.clock.pass_until(world.scheduler.stop("t"))
    assert table.told == [(60, "scheduled", "stopped")]
    assert table.ends == [None, "stopped"]


async def test_pending_run_is_queued_then_stopped(world, table):
    """A slot in its random delay leaves a row, whatever becomes of it."""
    await world.start(jitter=20)
    await world.clock.advance(61)
    assert table.told == [(60, "scheduled", "queued")]
    await world.scheduler.stop("t")
    assert table.told == [(60, "scheduled", "stopped")]


async def test_run_that_waits_too_long_is_missed_in_the_same_row(world, table):
    """The row of a pending run and that of its missed slot are one."""
    await world.start(jitter=20, tolerance=1)
    await world.clock.advance(61)
    world.clock.step(3000)
    await world.clock.advance(30)
    assert table.told[0] == (60, "scheduled", "missed")
    assert len({row.slot for row in table.rows}) == len(table.rows)


async def test_overlap_is_a_row_only_where_the_slot_does_not_run(world, table):
    """With overlaps allowed the slot runs, and that is its row."""
    world.script.run_seconds = 70
    await world.start()
    await world.clock.advance(120)
    assert [row.outcome for row in table.rows] == ["running", "running"]


async def test_overlap_that_is_skipped_is_a_row(world, table):
    """`no_overlap` leaves a row that says so; a refused call leaves none."""
    world.script.run_seconds = 70
    await world.start(no_overlap=True)
    await world.clock.advance(120)
    with pytest.raises(OverlapError):
        world.scheduler.execute_nowait("t")
    assert table.told == [(60, "scheduled", "running"), (120, "scheduled", "overlap")]


async def test_run_does_not_end_before_it_began_when_the_clock_is_set_back(
    world, table
):
    """Its row says how long it took, by a clock that nobody sets."""
    world.script.run_seconds = 30
    await world.start()
    await world.clock.advance(65)
    world.clock.step(-600)
    await world.clock.advance(30)
    (row,) = [row for row in table.rows if row.outcome == "finished"]
    assert row.finished_at - row.started_at == pytest.approx(30, abs=0.01)


async def test_no_attempt_ends_before_it_began_when_the_clock_is_set_back(world, table):
    """Nor does its run: all of them go by the clock that nobody sets."""
    world.script.run_seconds, world.script.error = 5, OSError("no")
    retry = Retry(2, delay=10, backoff=1, jitter=0, past_next=True)
    await world.start(every=3600, retry=retry)
    await world.clock.advance(3600 + 7)
    world.clock.step(-600)
    await world.clock.advance(30)
    took = {row.id: row.finished_at - row.started_at for row in table.rows}
    assert took == {
        "r1": pytest.approx(35, abs=0.01),
        **{f"r1/{number}": pytest.approx(5, abs=0.01) for number in (1, 2, 3)},
    }
    begun = [row.started_at - 7200 for row in table.rows if row.run == "r1"]
    assert begun == pytest.approx([0, 15, 30], abs=0.01)


async def test_long_gap_is_one_row_with_a_count(world, table):
    """A hundred missed slots are told one by one, the rest as a count."""
    await world.start(every=1)
    world.clock.step(1000)
    await world.clock.advance(1)
    await world.clock.advance(0.1)  # the rest is counted in steps
    counts = [row.missed_count for row in table.rows if row.outcome == "missed"]
    assert len(counts) == 101
    assert sum(count or 1 for count in counts) + 1 == 1001


@pytest.mark.parametrize(("is_clean", "end"), [(True, "shutdown"), (False, None)])
async def test_end_of_the_process_is_no_end_by_the_user(world, table, is_clean, end):
    """Only who asked for it decides how the life ended."""
    await world.start()
    table.recorder.expect_end(is_clean=is_clean)
    await world.scheduler.destroy("t")
    assert table.ends == [None, end, end]


async def test_attempt_that_ends_with_its_client_is_lost_and_its_run_with_it(
    world, table
):
    """The attempts before it stay what they were."""
    world.script.error = OSError("no")
    await world.start(retry=Retry(2, delay=10, jitter=0), stop_timeout=1)
    await world.clock.advance(60)
    world.script.error, world.script.run_seconds = None, None
    await world.clock.advance(10)
    table.recorder.expect_end(is_clean=False)
    await world.clock.pass_until(world.scheduler.destroy("t"))
    found = {row.id: (row.outcome, row.error, row.attempts) for row in table.rows}
    assert found == {
        "r1": ("lost", ORPHANED, 2),
        "r1/1": ("failed", "no", None),
        "r1/2": ("lost", ORPHANED, None),
    }


@pytest.mark.parametrize("made", [1, 2])
@pytest.mark.parametrize("end", ["stop", "destroy", "replace"])
async def test_attempt_that_never_began_is_no_row(world, table, end, made):
    """A run that ends between two attempts has as many as were made."""
    world.script.run_seconds, world.script.error = 2, OSError("no")
    retry = Retry(9, delay=10, backoff=1, jitter=0)
    await world.start(retry=retry, overlap="replace")
    await world.clock.advance(60 + made * 12 - 5)
    if end == "replace":
        world.scheduler.execute_nowait("t")
    else:
        await world.clock.pass_until(getattr(world.scheduler, end)("t"))
    (run,) = [row for row in table.rows if row.id == "r1"]
    outcome = "replaced" if end == "replace" else "failed"
    assert (run.outcome, run.attempts, run.attempt) == (outcome, made, made)
    attempts = [row for row in table.rows if row.run == "r1"]
    assert [(row.id, row.outcome) for row in attempts] == [
        (f"r1/{number + 1}", "failed") for number in range(made)
    ]
    took = [row.finished_at - row.started_at for row in attempts]
    assert took == pytest.approx([2] * made, abs=0.01)


@pytest.mark.parametrize("is_clean", [True, False])
async def test_run_that_rests_when_its_process_ends(world, table, is_clean):
    """What has failed stays failed; what was to run again is lost, or cancelled."""
    for error, outcome in (
        (OSError("no"), "failed"),
        (Snooze(10), "cancelled" if is_clean else "lost"),
    ):
        table.declare()
        world.script.error = error
        await world.start(retry=Retry(2, delay=10, jitter=0))
        await world.clock.advance(65)
        table.recorder.expect_end(is_clean=is_clean)
        await world.scheduler.destroy("t")
        run = [row for row in table.rows if row.run is None][-1]
        assert (run.outcome, run.attempts) == (outcome, 1)
        tries = [row.attempt for row in table.rows if row.run == run.id]
        assert tries == ([1] if outcome == "failed" else [])
        assert (run.error == ORPHANED) == (outcome == "lost")


async def test_cancelled_run_of_a_scheduler_that_is_gone_has_no_error(table):
    """What its job said is its result."""
    run = ScheduledExecution(id="r1", date=3660, reason="scheduled", started_at=3660)
    run.finished_at = 3661
    table.recorder.note_past("t", run, RunOutcome.CANCELLED, "nothing: new")
    (row,) = table.rows
    assert (row.outcome, row.summary) == ("cancelled", "nothing: new")
    assert (row.error_type, row.error) == (None, None)


async def test_output_is_kept_head_and_tail(world, table):
    """Of a megabyte, sixteen and forty-eight kilobytes, in whole lines."""
    world.script.run_seconds = 5
    await world.start()
    await world.clock.advance(60)
    run_id = table.rows[0].id
    for number in range(10_000):
        table.recorder.add_output(run_id, b"%099d\n" % number, 0, 0)
    await world.clock.advance(5)
    (row,) = table.rows
    assert row.output.startswith(f"{0:099d}\n")
    assert row.output.endswith(f"{9_999:099d}\n")
    assert len(row.output) < 1.5 * TAIL_BYTES
    kept = sum(line.isdigit() for line in row.output.splitlines())
    assert row.output_left_out == 100 * (10_000 - kept)
    table.recorder.add_output(run_id, b"late", 0, 0)
    table.recorder.add_output("another", b"nobody's", 0, 0)
    assert table.recorder._outputs == {}


async def test_task_that_was_not_declared_leaves_no_row(world, table):
    """With `history=False` a task is not declared."""
    await world.start("u")
    await world.clock.advance(60)
    assert table.rows == []


@pytest.mark.parametrize("seed", range(30))
async def test_every_slot_leaves_exactly_one_row(world, table, seed):
    """Whatever happens to a task, its books balance."""
    rng = random.Random(seed)
    await world.start(
        every=Every(10),
        jitter=rng.choice([0, 4, 25]),
        tolerance=rng.choice([1, 10]),
        no_overlap=rng.random() < 0.5,
        timeout=rng.choice([None, 12]),
        stop_timeout=2,
        max_restarts=1000,
    )
    started = [(3600, None)]
    for _ in range(60):
        world.script.run_seconds = rng.choice([0, 0, 1, 15, None])
        world.script.error = ValueError("no") if rng.random() < 0.2 else None
        action = rng.randrange(12)
        if action == 0:
            world.clock.step(rng.choice([5, 33, 2000]))
        elif action == 1 and world.status() != "stopped":
            before = started.pop()[0]
            started.append((before, world.clock.now()))
            await world.clock.pass_until(world.scheduler.stop("t"))
            await world.scheduler.start("t")
            started.append((world.clock.now(), None))
        elif action == 2 and world.launcher.alive:
            world.worker.die()
        await world.clock.advance(rng.choice([1, 7, 10, 31]))
    started.append((started.pop()[0], world.clock.now()))
    await world.clock.pass_until(world.scheduler.destroy("t"))
    assert not [row for row in table.rows if row.outcome in OPEN]
    slots = [row for row in table.rows if row.slot is not None]
    seen = [row.slot for row in slots]
    assert len(seen) == len(set(seen))
    # A count stands for the slots up to its own.
    told = sum(row.missed_count or 1 for row in slots)
    expected = sum(int(end // 10) - int(begin // 10) for begin, end in started)
    assert told == expected
    await asyncio.sleep(0)


async def test_each_slot_that_is_caught_up_on_has_one_row(world, table):
    """Queued until its turn comes; missed in the same row if the task is stopped."""
    world.script.run_seconds = 10
    await world.start(catch_up="all")
    await world.clock.advance(30)
    world.clock.step(148)
    await world.clock.advance(16)
    assert table.told == [
        (60, "catch_up", "finished"),
        (120, "catch_up", "running"),
        (180, "catch_up", "queued"),
    ]
    await world.clock.pass_until(world.scheduler.stop("t"))
    assert [(slot, outcome) for slot, _, outcome in table.told] == [
        (60, "finished"),
        (120, "stopped"),
        (180, "missed"),
    ]


async def test_run_that_waited_too_long_keeps_its_row_when_it_is_caught_up_on(
    world, table
):
    """Its random delay ended during a suspend."""
    await world.start(catch_up="all", jitter=40)
    await world.clock.advance(65)
    world.clock.step(40)
    await world.clock.advance(5)
    assert table.told == [(60, "catch_up", "finished")]


async def test_row_of_a_slot_that_has_not_come_is_closed(world, table):
    """The clock was wrong: the slot is counted anew."""
    world.script.run_seconds = 100
    await world.start(every=7200, catch_up="all")
    world.clock.step(5 * 7200)
    await world.clock.advance(10)
    world.clock.step(-5 * 7200)
    await world.clock.advance(200)
    assert not {row.outcome for row in table.rows} & OPEN


async def test_what_an_earlier_life_has_missed_is_reported_after_the_start(
    world, table
):
    """From there to the first start; a later start changes nothing about it."""
    await world.clock.advance(30)
    world.add()
    world.scheduler.report_missed("t", 3600 - 130)  # too early: it waits
    await world.scheduler.start("t")
    assert table.told == [
        (-120, "scheduled", "missed"),
        (-60, "scheduled", "missed"),
        (0, "scheduled", "missed"),
    ]
    await world.clock.advance(60)
    world.scheduler.report_missed("t", 3600 - 190)
    assert [slot for slot, _, _ in table.told] == [-120, -60, 0, 60, -180]


async def test_task_that_was_stopped_stays_stopped_when_its_process_ends(world, table):
    """The user has ended it; nothing is owed for the time after that."""
    await world.start()
    await world.scheduler.stop("t")
    table.recorder.expect_end(is_clean=True)
    await world.scheduler.destroy("t")
    assert table.ends == [None, "stopped"]


async def test_task_that_never_started_leaves_nothing(world, table):
    """Not even its life: the one before is still the last."""
    world.add()
    await world.scheduler.destroy("t")
    assert table.changes == []


async def queue_attempt(world):
    """Have the second attempt of `t` wait for the place of `h`, which it gets at 75."""
    world.script.error = OSError("no")
    world.scheduler.set_pool("gpu", 1)
    retry = Retry(1, delay=5, jitter=0)
    await world.start("t", every=60, pool="gpu", retry=retry)
    await world.start("h", every=7200, pool="gpu")
    await world.clock.advance(60)
    world.script.error, world.script.run_seconds = None, 15
    world.scheduler.execute_nowait("h")
    await world.clock.advance()
    world.script.run_seconds = 2


async def test_row_of_a_queued_attempt_is_queued(world, table):
    """Then it is running again, then over: one row, and one for each attempt."""
    await queue_attempt(world)

    def read():
        return {row.id: (row.outcome, row.attempt) for row in table.rows}

    assert read()["r1"] == ("running", 2)
    await world.clock.advance(5)
    assert read()["r1"] == ("queued", 2)
    await world.clock.advance(10)
    assert read()["r1"] == ("running", 2)
    await world.clock.advance(2)
    assert read() == {
        "r1": ("finished", 2),
        "r1/1": ("failed", 1),
        "r1/2": ("finished", 2),
    }
    (row,) = [row for row in table.rows if row.id == "r1/2"]
    assert (row.started_at, row.finished_at) == (3675, 3677)
    (row,) = [row for row in table.rows if row.id == "r1"]
    assert row.started_at == 3660


async def test_rows_of_a_queued_attempt_that_does_not_begin(world, table):
    """It has none; its run has failed."""
    await queue_attempt(world)
    await world.clock.advance(6)
    await world.scheduler.stop("t")
    told = {row.id: (row.outcome, row.attempt) for row in table.rows}
    assert told == {"r1": ("failed", 1), "r1/1": ("failed", 1)}
