"""`ipycron.testing.time_travel`: users' tasks on a clock that the test moves."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from polling import eventually

import ipycron
from ipycron.coordinate import SQLiteRunCoordinator
from ipycron.errors import BlockingCall, InvalidOption, SelfWait
from ipycron.testing import time_travel

BERLIN = "Europe/Berlin"


def test_task_runs_at_its_slot_and_not_before():
    """Its date is the slot; nothing waits for real time."""
    ran = []
    with time_travel("2026-12-01 08:59", timezone=BERLIN) as clock:
        task = ipycron.schedule(
            "0 9 * * *", lambda ctx: ran.append(str(ctx.date)), timezone=BERLIN
        )
        assert task.seconds_to_next == 60
        clock.advance(59.9)
        assert ran == []
        clock.advance(0.1)
        assert ran == ["2026-12-01 09:00:00+01:00"]
        assert str(task.next_run) == "2026-12-02 09:00:00+01:00"
        assert task.last_run.started_at == clock.now
        clock.advance(timedelta(days=2))
        assert len(ran) == 3
    assert not ipycron.get_tasks()


def test_pause_and_backfill_follow_the_clock_of_the_test():
    """Until when, what is next and what has passed: all by the same clock."""
    ran = []
    with time_travel("2026-12-01 08:59", timezone=BERLIN) as clock:
        task = ipycron.schedule(
            "0 * * * *", lambda ctx: ran.append(f"{ctx.date:%d %H:%M}"), timezone=BERLIN
        )
        task.pause("11:00", "maintenance").result()
        assert str(task.next_run) == "2026-12-01 11:00:00+01:00"
        clock.advance(timedelta(hours=2))
        assert ran == []
        assert task.is_paused
        clock.advance(60)
        assert not task.is_paused
        assert ran == ["01 11:00"]
        backfill = task.backfill("2026-12-01 09:00", clock.now, only="all")
        clock.advance()
        assert backfill.wait()
        assert ran[1:] == ["01 09:00", "01 10:00", "01 11:00"]


def test_listeners_have_been_called_when_time_has_passed():
    """Of the task and of all tasks; what they start is over, too."""
    with time_travel(0) as clock:
        seen = []
        other = ipycron.create_task("0 0 1 1 *", lambda: seen.append("other"))
        other.start().result()
        ipycron.on("execution:finished", lambda c: seen.append(c.event))
        task = ipycron.schedule("* * * * *", lambda: 7)
        task.once("execution:finished", lambda _: other.execute())
        clock.advance(60)
        assert seen.count("other") == 1
        assert seen.count("execution:finished") == 2


@pytest.mark.parametrize(
    ("expression", "at", "seconds", "hours"),
    [
        ("30 2 * * *", "2026-03-29 00:00", 86_400, ["03:00"]),
        ("30 2 * * *", "2026-10-25 00:00", 86_400, ["02:30"]),
        ("30 * * * *", "2026-10-25 01:00", 3 * 3600, ["01:30", "02:30", "02:30"]),
    ],
)
def test_time_passes_as_the_clocks_of_the_zone_do(expression, at, seconds, hours):
    """Through skipped and repeated hours."""
    ran = []
    with time_travel(at, timezone=BERLIN) as clock:
        ipycron.schedule(
            expression, lambda ctx: ran.append(f"{ctx.date:%H:%M}"), timezone=BERLIN
        )
        clock.advance(seconds)
    assert ran == hours


def test_step_misses_the_slots_that_it_passes():
    """Like a laptop's sleep; a slot within the tolerance runs."""
    with time_travel(0, timezone="UTC") as clock:
        missed, ran = [], []
        task = ipycron.schedule(
            "* * * * *",
            lambda ctx: ran.append(ctx.date.minute),
            suppress_missed_warning=True,
            tolerance=30,
        )
        task.on("execution:missed", lambda c: missed.append(c.date.minute))
        clock.step(185)
        clock.advance(5)
        assert (missed, ran) == ([1, 2], [3])
        clock.step(-185)
        clock.advance(5)
        assert clock.now == datetime.fromtimestamp(10, UTC)


def test_background_jobs_run_in_processes(tmp_path):
    """Functions, files with `task` and scripts, with output, result and date."""
    file, script = tmp_path / "file.py", tmp_path / "script.py"
    file.write_text("def task(ctx):\n    return ctx.date.minute")
    script.write_text("import os, sys; print(sys.argv[1:], os.environ['MODE'])")

    def report():
        import os  # noqa: PLC0415 - there

        return os.getpid()

    with time_travel("2030-01-01T00:00:00+00:00") as clock:
        tasks = [
            ipycron.schedule("*/5 * * * *", report, background=True),
            ipycron.schedule("*/5 * * * *", file),
            ipycron.schedule(
                "*/5 * * * *", script, args=["x"], env={"MODE": "test"}, echo=False
            ),
        ]
        clock.advance(300)
        runs = [task.last_run for task in tasks]
        assert [run.outcome for run in runs] == ["finished"] * 3
        assert runs[0].result not in (None, __import__("os").getpid())
        assert runs[1].result == 5
        assert runs[2].output.stdout == "['x'] test\n"


def test_run_that_goes_on_is_waited_for_once():
    """Overlaps can be tested; the end of the block does not hang."""
    gate = threading.Event()
    with time_travel(0, patience=0.2) as clock:
        skipped = []
        task = ipycron.schedule("* * * * *", gate.wait, no_overlap=True)
        task.on("execution:overlap", skipped.append)
        clock.advance(120)
        eventually(lambda: skipped, "the listener is called")  # real time, too
        assert (task.is_busy, len(skipped)) == (True, 1)
        gate.set()
        # It was given up: `advance` no longer waits for it.
        eventually(lambda: task.last_run is not None, "it ends")
        clock.advance(60)
        assert task.last_run.result is True
        gate.clear()
        clock.advance(60)
        gate.set()


def test_fleets_and_delays_live_on_it(tmp_path):
    """An election takes real time, a random delay takes simulated time."""
    claims = SQLiteRunCoordinator(tmp_path / "claims")
    with time_travel(0) as clock:
        task = ipycron.schedule(
            "* * * * *",
            lambda: 1,
            name="t",
            distributed=True,
            run_coordinator=claims,
            jitter=30,
        )
        clock.advance(90)
        assert task.last_run.result == 1


def test_tasks_of_before_are_left_alone():
    """They are not visible in the block, and are back after it."""
    ran = threading.Event()
    before = ipycron.schedule("* * * * * *", ran.set, name="t")
    with time_travel(0) as clock:
        assert not ipycron.get_tasks()
        with time_travel(86_400, timezone="UTC") as inner:
            inner.advance(1)
            assert inner.now.day == 2
        ipycron.schedule("* * * * *", lambda: 1, name="t")
        clock.advance(60)
        ran.clear()
        assert ran.wait(20)
    assert list(ipycron.get_tasks().values()) == [before]


def test_coroutines_run_on_their_loop(monkeypatch):
    """`advance_async` lets the loop run; `advance` would block it and says so."""
    # Another test in this process may have created an IPython shell.
    monkeypatch.setattr("ipycron.client.waits.is_interactive", lambda: False)

    async def main():
        seen = []
        with time_travel(0) as clock:

            async def job():
                await asyncio.sleep(0)
                seen.append("job")

            async def listener(_):
                await asyncio.sleep(0)
                seen.append("listener")

            task = ipycron.schedule("* * * * *", job)
            task.on("execution:finished", listener)
            with pytest.raises(BlockingCall, match="advance_async"):
                clock.advance(60)
            await clock.advance_async(60)
            assert seen == ["job", "listener"]
            await ipycron.shutdown_async()

    asyncio.run(main())


def test_time_goes_on_where_ipycron_is_shut_down_within():
    """A new client starts at the time at which the old one ended."""
    with time_travel(0, timezone="UTC") as clock:
        ipycron.schedule("* * * * *", lambda: 1)
        clock.advance(90)
        ipycron.shutdown()
        assert clock.now.timestamp() == 90
        task = ipycron.schedule("* * * * *", lambda: 2)
        clock.advance_to("1970-01-01 00:02")
        assert task.last_run.result == 2


@pytest.mark.parametrize("at", ["tomorrow", None, True, "25:00"])
def test_invalid_instant_is_refused(at):
    """The error says what is expected."""
    with pytest.raises(InvalidOption, match="at: got"), time_travel(at):
        pass


def test_misuse_is_refused():
    """Time that runs backwards, and a run that would wait for itself."""
    with time_travel(0) as clock:
        with pytest.raises(InvalidOption, match="seconds"):
            clock.advance(-1)
        with pytest.raises(InvalidOption):
            clock.advance_to(-1)
        task = ipycron.create_task("* * * * *", lambda: clock.advance(1))
        task.start().result()
        assert isinstance(task.execute().exception(20), SelfWait)
