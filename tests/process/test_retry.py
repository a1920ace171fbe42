"""Retries, cancelled and snoozed runs of every kind of job, in real processes (Y)."""

import _thread
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually
from stalls import LONG

import ipycron
from ipycron.api.history import read_tries
from ipycron.errors import (
    CaptureError,
    ExecutionTimeout,
    InvalidOption,
    WorkerCrashed,
)
from ipycron.runlog import reading

pytestmark = pytest.mark.usefixtures("supervisor")

SOON = {"delay": 0.05, "backoff": 1, "jitter": 0}
"""Attempts in quick succession."""


class Flaky(Exception):
    """What the jobs of this file raise."""


class VeryFlaky(Flaky):
    """One of its kinds."""


def succeed_third(ctx):
    """Fail twice; say which attempt it is."""
    print("attempt", ctx.attempt)  # noqa: T201 - what is recorded
    if ctx.attempt < 3:
        raise VeryFlaky(f"no {ctx.attempt}")
    return ctx.attempt


def fail(ctx):
    """Fail each time."""
    raise LookupError("no")


def cancel(ctx):
    """Decide that there is nothing to do."""
    raise ipycron.Cancel("a holiday")


def read_attempts(task):
    """Return the rows of a task's last run, without the run's own."""
    (run,) = ipycron.history(task.name, limit=1)
    return read_tries(run)


# --- every kind of job --------------------------------------------------------------


def test_failed_run_of_every_kind_is_repeated(house):
    """One run, and its job knows which attempt it is."""
    retry = ipycron.Retry(5, **SOON, on=Flaky)
    task = house.start(succeed_third, retry=retry, name=f"third {house.kind}")
    record = Record(task)
    assert task.execute().result(SECONDS) == 3
    record.wait("execution:finished")
    runs = [name for name in record.names if name.startswith("execution:")]
    assert runs == ["execution:started", *["execution:retry"] * 2, "execution:finished"]
    first, second = record.of("execution:retry")
    assert (first.attempt, second.attempt) == (1, 2)
    assert type(first.error) is VeryFlaky
    assert first.next_attempt_at <= second.triggered_at
    (run,) = task.history
    assert run.attempt == 3
    assert run.output.stdout == "attempt 1\nattempt 2\nattempt 3\n"


def test_attempts_of_every_kind_are_rows_under_their_run(house):
    """Each with its own error and its own output."""
    retry = ipycron.Retry(5, **SOON)
    task = house.start(succeed_third, retry=retry, name=f"rows {house.kind}")
    task.execute().result(SECONDS)
    (run,) = ipycron.history(task.name)
    assert (run.outcome, run.attempt, run.attempts) == ("finished", 3, 3)
    rows = eventually(
        lambda: (
            len(found := read_attempts(task)) == 3
            and all(row.traceback for row in found[:2])
            and found
        ),
        "the attempts are written",
    )
    assert [row.outcome for row in rows] == ["failed", "failed", "finished"]
    assert [row.error for row in rows] == ["no 1", "no 2", None]
    assert [row.output for row in rows] == [f"attempt {n}\n" for n in (1, 2, 3)]
    assert "VeryFlaky: no 2" in rows[1].traceback
    assert rows[0].started_at == run.started_at
    assert rows[-1].finished_at == run.finished_at


def test_run_of_every_kind_fails_after_the_last_attempt(house):
    """With the error of the last one."""
    task = house.start(fail, retry=ipycron.Retry(2, **SOON))
    error = task.execute().exception(SECONDS)
    assert type(error) is LookupError
    assert task.last_run.attempt == 3


def test_failure_of_another_kind_is_not_repeated(house):
    """`on` is matched where the exception is alive."""
    retry = ipycron.Retry(5, **SOON, on=[Flaky, "OSError"])
    task = house.start(fail, retry=retry)
    assert task.execute().exception(SECONDS)
    assert task.last_run.attempt == 1


def test_cancelled_run_of_every_kind_is_no_failure(house):
    """Neither for listeners nor for the history."""
    task = house.start(cancel, retry=5, name=f"cancel {house.kind}")
    record = Record(task)
    assert task.execute().result(SECONDS) is None
    record.wait("execution:finished")
    assert record.count("execution:failed") == record.count("execution:retry") == 0
    assert task.last_run.outcome == "cancelled"
    assert task.last_run.summary == "a holiday"
    assert (task.history.cancelled, task.history.finished) == (1, 0)
    (row,) = ipycron.history(task.name)
    assert (row.outcome, row.summary, row.error) == ("cancelled", "a holiday", None)


def test_snoozed_run_of_every_kind_is_the_same_attempt(house):
    """It is run again, and no attempt is used."""
    marks = house.folder / "marks"
    marks.touch()

    def snooze_twice(ctx):
        marks.write_text(f"{marks.read_text()}{ctx.attempt} ")
        if len(marks.read_text().split()) < 3:
            raise ipycron.Snooze(0.1)
        return "done"

    task = house.start(snooze_twice)
    assert task.execute().result(SECONDS) == "done"
    assert marks.read_text() == "1 1 1 "
    assert task.last_run.attempt == 1


def test_bad_snooze_is_the_failure_of_its_run(house):
    """The line says what is wrong with it."""

    def snooze(ctx):
        raise ipycron.Snooze(float("nan"))

    task = house.start(snooze)
    error = task.execute().exception(SECONDS)
    assert type(error) is InvalidOption
    assert "Snooze: got nan" in str(error)


@pytest.mark.parametrize("what", ["stop", "destroy", "pause"])
def test_ladder_of_every_kind_ends_with_its_task(house, what):
    """At once, and the row says what has ended it."""
    retry = ipycron.Retry(3, delay=3600, past_next=True)
    task = house.start(fail, retry=retry, name=f"{what} {house.kind}")
    record = Record(task)
    call = task.execute()
    record.wait("execution:retry")
    assert task.status == "running"
    getattr(task, what)().result(SECONDS)
    assert type(call.exception(SECONDS)) is LookupError
    (row,) = ipycron.history(task.name)
    assert (row.outcome, row.attempts) == ("failed", 1)
    assert [attempt.attempt for attempt in read_attempts(task)] == [1]
    assert row.summary.startswith("no further attempt: ended by the ")
    assert (task.last_run.remark, task.last_run.attempt) == (row.summary, 1)
    assert task.history[-1].remark == row.summary


def test_next_slot_of_every_kind_ends_the_ladder(house, sleeper):
    """No run of a slot overlaps with one that waits for its next attempt."""
    retry = ipycron.Retry(9, delay=3, backoff=1)
    task = house.start(fail, EVERY_SECOND, retry=retry)
    record = Record(task)
    record.wait("execution:failed", 3)
    assert record.count("execution:retry") == 0
    # A run itself may take a second where the machine stands still.
    assert record.count("execution:overlap") == 0 or sleeper.end() > LONG


def test_class_made_in_a_function_is_matched(house):
    """No dotted name leads to it, here or where the job runs."""

    class Local(Exception):
        pass

    def fail_once(ctx):
        if ctx.attempt == 1:
            raise Local
        return ctx.attempt

    task = house.start(fail_once, retry=ipycron.Retry(1, **SOON, on=Local))
    assert task.execute().result(SECONDS) == 2


# --- jobs in processes --------------------------------------------------------------


def test_timeout_of_an_attempt_is_repeated_in_a_new_process(workers):
    """The first attempt hangs and is killed; the second one returns."""

    def hang_once(ctx):
        if ctx.attempt == 1:
            signal.pause()
        return os.getpid()

    task = workers.start(
        # More than one: a machine that stands still has other attempts time out, too.
        hang_once,
        timeout=1.5,
        retry=ipycron.Retry(9, **SOON, on="timeout"),
    )
    record = Record(task)
    assert task.execute().result(SECONDS) != os.getpid()
    retries = record.wait("execution:retry")
    assert {type(retry.error) for retry in retries} == {ExecutionTimeout}


def test_death_is_repeated_and_does_not_end_the_task(workers):
    """More deaths than `max_restarts`, in one run."""

    def die_often(ctx):
        if ctx.attempt <= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return ctx.attempt

    retry = ipycron.Retry(5, **SOON, on="crash")
    task = workers.start(die_often, retry=retry, max_restarts=1)
    record = Record(task)
    assert task.execute().result(SECONDS) == 4
    assert [type(c.error) for c in record.of("execution:retry")] == [WorkerCrashed] * 3
    assert record.count("task:failed") == 0


def test_deadline_ends_the_attempt_in_progress(workers):
    """It is for all attempts together."""

    def hang(ctx):
        signal.pause()

    retry = ipycron.Retry(99, **SOON, deadline=1)
    task = workers.start(hang, retry=retry, name=f"deadline {workers.kind}")
    error = task.execute().exception(SECONDS)
    assert type(error) is ExecutionTimeout
    (row,) = ipycron.history(task.name)
    assert row.outcome == "timed_out"
    assert "its deadline" in row.summary


def test_direct_call_that_fails_is_repeated(workers):
    """The supervisor takes it over, and the caller waits for all attempts."""

    def fail_if_asked(ctx):
        if flag.exists() and ctx.attempt == 1:
            raise Flaky
        return ctx.attempt

    flag = workers.folder / "flag"
    task = workers.start(fail_if_asked, retry=ipycron.Retry(1, **SOON))
    for _ in range(5):
        assert task.execute().result(SECONDS) == 1
    flag.touch()
    assert task.execute().result(SECONDS) == 2


@pytest.mark.parametrize(
    ("line", "on", "attempts"),
    [
        ("sys.exit(3)", 3, 2),
        ("sys.exit(4)", 3, 1),
        ("sys.exit('no')", 1, 2),
        ("os._exit(3)", 3, 2),
        ("1 / 0", 1, 2),
        ("1 / 0", "ArithmeticError", 2),
        ("1 / 0", "__main__.Own", 1),
        ("raise Own", "__main__.Own", 2),
        ("os.kill(os.getpid(), 9)", "crash", 2),
    ],
)
def test_script_is_repeated_by_exit_code(write, line, on, attempts):
    """As programs report failures; each attempt is a process of its own."""
    path = write(
        f"import os, sys\nclass Own(Exception): pass\nprint(os.getpid())\n{line}\n"
    )
    task = ipycron.create_task(NEVER, path, retry=ipycron.Retry(1, **SOON, on=on))
    task.start().result(SECONDS)
    error = task.execute().exception(SECONDS)
    assert error is not None
    assert task.last_run.attempt == attempts
    pids = task.last_run.output.stdout.split()
    assert len(set(pids)) == attempts


def test_task_of_a_file_is_repeated_by_its_own_class(write):
    """The file's module is the one that its class is looked up in."""
    path = write(
        """
        class Busy(Exception):
            pass

        def task(ctx):
            if ctx.attempt < 3:
                raise Busy
            return ctx.attempt
        """,
        name="fetching.py",
    )
    retry = ipycron.Retry(5, **SOON, on="fetching.Busy")
    task = ipycron.create_task(NEVER, path, retry=retry)
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == 3


def test_run_on_an_executor_is_repeated():
    """The process of the pool judges the exception."""
    with ProcessPoolExecutor(1) as pool:
        retry = ipycron.Retry(5, **SOON, on=Flaky)
        task = ipycron.create_task(NEVER, succeed_third, executor=pool, retry=retry)
        task.start().result(SECONDS)
        assert task.execute().result(SECONDS) == 3
        other = ipycron.create_task(NEVER, cancel, executor=pool)
        other.start().result(SECONDS)
        assert other.execute().result(SECONDS) is None
        assert other.last_run.outcome == "cancelled"
        for one in (task, other):
            one.destroy().result(SECONDS)


def die_once(ctx):
    """Take a process of the pool along."""
    if ctx.attempt == 1:
        os._exit(3)
    return ctx.attempt


def test_pool_that_breaks_is_made_anew_for_the_next_attempt():
    """The death of its process is a crash, too."""
    retry = ipycron.Retry(3, **SOON, on="crash")
    task = ipycron.create_task(
        NEVER, die_once, executor=lambda: ProcessPoolExecutor(1), retry=retry
    )
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == 2
    task.destroy().result(SECONDS)


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
@pytest.mark.parametrize("on", ["no_such_module.Busy", "json.NoSuchError"])
def test_class_that_a_worker_cannot_import_fails_the_start(on, launcher):
    """In one line, before the first failure would need it."""
    retry = ipycron.Retry(1, on=on)
    options = {"background": True, "launcher": launcher, "retry": retry}
    task = ipycron.create_task(NEVER, fail, **options)
    error = task.start().exception(SECONDS)
    assert type(error) is InvalidOption
    assert f'retry: got "on={on!r}"' in str(error)
    assert task.status == "stopped"


def test_class_that_cannot_be_imported_here_fails_the_declaration():
    """An inline job runs in this process: it is known at once."""
    with pytest.raises(InvalidOption, match="no_such_module"):
        ipycron.create_task(NEVER, fail, retry=ipycron.Retry(1, on="no_such_module.X"))


def test_class_that_cannot_be_sent_is_refused():
    """It holds something that only this process has."""
    names = {"__module__": "__main__", "lock": _thread.allocate_lock()}
    bad = type(
        "Bad",
        (Exception,),
        names,
    )
    with pytest.raises(CaptureError, match="dotted names"):
        ipycron.create_task(
            NEVER, fail, background=True, retry=ipycron.Retry(1, on=bad)
        )


def test_deadline_for_a_thread_is_refused():
    """A thread cannot be ended, as with `timeout`."""
    with pytest.raises(InvalidOption, match="a thread cannot be killed"):
        ipycron.create_task(NEVER, fail, retry=ipycron.Retry(1, deadline=5))


@pytest.mark.parametrize("background", [False, True])
def test_class_of_the_script_is_matched_by_its_name(background, tmp_path):
    """Also in a worker, whose main module is another one."""
    script = tmp_path / "script.py"
    script.write_text(f"""if True:
        import ipycron
        class Flaky(Exception):
            pass
        def fail_once(ctx):
            if ctx.attempt == 1:
                raise Flaky
            return ctx.attempt
        retry = ipycron.Retry(1, delay=0, on="__main__.Flaky")
        task = ipycron.schedule(
            "@yearly", fail_once, background={background}, retry=retry, history=False
        )
        print(task.execute().result({SECONDS}))
        ipycron.shutdown()
    """)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


def test_run_that_was_killed_between_attempts_is_lost(tmp_path):
    """Kill everything: whoever opens the file next says what is known."""
    path = tmp_path / "history.sqlite"
    program = """if True:
        import os, signal, sys, time, ipycron
        def fail():
            raise LookupError("no")
        task = ipycron.schedule("@yearly", fail, background=True, name="lost",
                                retry=ipycron.Retry(3, delay=3600, past_next=True))
        task.on("execution:retry", lambda ctx: os.write(1, b"x"))
        task.start().result(20)
        task.execute()
        time.sleep(3600)
    """
    environment = {**os.environ, "IPYCRON_HISTORY": str(path)}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment
    )
    with process:
        assert process.stdout.read(1) == b"x"

        def is_written():
            rows = list_rows(path)
            return any("/" in row for row in rows)

        eventually(is_written, "the attempt is written")
        process.kill()
    rows = list_rows(path)
    run = next(row for row in rows if "/" not in row)
    assert [row.error for row in reading.read_attempts(path, run)] == ["no"]


def list_rows(path):
    """Return the ids of all rows."""
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row for (row,) in connection.execute("SELECT id FROM runs")]
    except sqlite3.Error:
        return []
    finally:
        connection.close()
