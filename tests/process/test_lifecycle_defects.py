"""The seventeen defects reproduced in node-cron 4.6.0: ipycron has none of them.

Numbers are those of the table in node-cron.md, section 14.
"""

import io
import logging
import subprocess
import sys
import threading
from datetime import datetime

import pytest
from house import ASYNC, EVERY_SECOND, FORKED, NEVER, Record, drain, submit_to_client
from polling import SECONDS, eventually
from watching import find_children

import ipycron
from ipycron.errors import (
    ExecutionStopped,
    OverlapError,
    RemoteError,
    WorkerCrashed,
)
from ipycron.scheduling.clock import SystemClock

inline = pytest.mark.parametrize("house", [ASYNC], indirect=True)
background = pytest.mark.parametrize("house", [FORKED], indirect=True)
both = pytest.mark.parametrize("house", [ASYNC, FORKED], indirect=True)


def answer(ctx):
    """The simplest job."""
    return 42


@inline
def test_01_once_fires_once(house):
    """Defect 1: a `once` listener of an inline task fired every time (3 of 3)."""
    task = house.start(answer)
    heard = []
    task.once("execution:finished", heard.append)
    for _ in range(3):
        task.execute().result(SECONDS)
    drain()
    assert len(heard) == 1


@background
def test_02_destroy_never_times_out(house):
    """Defect 2: a background `destroy` was a race that was lost 12 times of 20."""
    tasks = [house.schedule(answer) for _ in range(20)]
    for task in tasks[:10]:
        task.execute().result(SECONDS)
    for destroy in [task.destroy() for task in tasks]:
        destroy.result(SECONDS)
    assert {task.status for task in tasks} == {"destroyed"}
    assert not ipycron.get_tasks()


@both
def test_03_restart_during_a_run_is_not_lost(house):
    """Defect 3: a start after a stop during a run resolved, and did nothing."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return 42

    task = house.start(wait)
    run = task.execute()
    eventually(lambda: task.running)
    stop, start = task.stop(), task.start()
    gate.open()
    assert run.result(SECONDS) == 42
    stop.result(SECONDS)
    start.result(SECONDS)
    assert task.status == "idle"
    assert task.execute().result(SECONDS) == 42


@background
def test_04_stop_that_times_out_leaves_nothing(house):
    """Defect 4: a stop timeout left the state idle, the run unsettled, an orphan."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, stop_timeout=0.1)
    run = task.execute()
    eventually(lambda: task.running)
    task.stop().result(SECONDS)
    assert task.status == "stopped"
    with pytest.raises(ExecutionStopped):
        run.result(SECONDS)
    # The leak guard looks for the orphan that the next cycle used to leave.
    gate.open()
    task.start().result(SECONDS)
    task.execute().result(SECONDS)
    task.stop().result(SECONDS)


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 15)"])
def test_05_quiet_death_is_noticed(write, end):
    """Defect 5: a child ended by exit 0 or SIGTERM looked idle for ever."""
    path = write(f"import os\nruns = 0\ndef task():\n    {end}\n")
    task = ipycron.schedule(NEVER, path)
    record = Record(task)
    with pytest.raises(WorkerCrashed):
        task.execute().result(SECONDS)
    record.wait("task:restarted")
    with pytest.raises(WorkerCrashed):
        task.execute().result(SECONDS)


@background
def test_06_what_cannot_be_sent_loses_no_event(house):
    """Defect 6: a result or an error that cannot be serialised hung everything."""
    bad_result = house.start(lambda _: threading.Lock(), name="result")
    record = Record(bad_result)
    value = bad_result.execute().result(SECONDS)
    assert isinstance(value, ipycron.Unserializable)
    record.expect("execution:started", "execution:finished")

    def fail(ctx):
        raise LookupError(threading.Lock())

    bad_error = house.start(fail, name="error")
    record = Record(bad_error)
    error = bad_error.execute().exception(SECONDS)
    assert "LookupError" in str(error)
    record.expect("execution:started", "execution:failed")
    assert not bad_error.is_busy


def test_07_documented_example_works(tmp_path):
    """Defect 7: the documentation's schedule-then-execute example rejected."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "backup.py").write_text("def task():\n    return 'saved'\n")
    script = tmp_path / "example.py"
    script.write_text(
        "import asyncio, ipycron\n"
        "async def main():\n"
        '    task = ipycron.schedule("0 3 * * *", "./tasks/backup.py")\n'
        "    result = await task.execute()\n"
        "    print(result)\n"
        "    await task.destroy()\n"
        "asyncio.run(main())\n"
    )
    # From another folder: the path is relative to the script.
    done = subprocess.run(
        [sys.executable, script],
        check=True,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("saved\n", "")


@both
@pytest.mark.parametrize("job", ["slow", "failing"])
def test_08_limit_is_a_limit(house, job):
    """Defect 8: a limit of 1 ran 4 times with overlaps, and failures never ended."""
    gate = house.gate()

    def slow(ctx):
        yield from gate.pass_through()

    def failing(ctx):
        raise ValueError("always")

    if job == "slow":
        task = house.create(slow, EVERY_SECOND, max_executions=1)
    else:
        task = house.create(failing, EVERY_SECOND, max_executions=2)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:started")
    if job == "slow":
        slot = record.of("execution:started")[0].date.timestamp()
        eventually(
            lambda: SystemClock().now() > slot + 2.2
        )  # two more slots have passed
        gate.open()
    record.wait("task:destroyed")
    drain()
    assert record.names.count("execution:started") == (1 if job == "slow" else 2)
    assert record.names.count("execution:max_reached") == 1
    assert task.runs_left == 0


@background
def test_09_shutdown_waits_for_manual_runs_and_ends_stuck_ones(house):
    """Defect 9: a shutdown saw no manual run, returned early, left a stuck child."""
    before = find_children()
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()
        return "whole"

    run = house.start(wait, name="waited for").execute()
    stuck = house.start(lambda _: threading.Event().wait(), name="stuck").execute()
    eventually(lambda: all(t.running for t in ipycron.get_tasks().values()))
    opener = threading.Timer(0.1, gate.open)
    opener.start()
    ipycron.shutdown(2)
    opener.join()
    assert run.result(0) == "whole"
    assert isinstance(stuck.exception(0), ExecutionStopped)
    assert find_children() == before


@both
def test_10_no_overlap_holds_for_manual_runs_and_over_restarts(house):
    """Defect 10: `noOverlap` was lost over stop/start, and ignored manual runs."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, no_overlap=True)
    task.stop().result(SECONDS)
    task.start().result(SECONDS)
    run = task.execute()
    assert isinstance(task.execute().exception(SECONDS), OverlapError)
    gate.open()
    run.result(SECONDS)


@background
def test_11_instants_are_datetimes(house):
    """Defect 11: instants of background events were strings, durations NaN."""
    task = house.start(answer)
    record = Record(task)
    task.execute().result(SECONDS)
    drain()
    execution = record.of("execution:finished")[0].execution
    assert isinstance(execution.started_at, datetime)
    assert 0 <= (execution.finished_at - execution.started_at).total_seconds() < 5
    assert 0 <= execution.duration < 5


@background
def test_12_listener_that_raises_harms_nobody(house, caplog):
    """Defect 12: a listener that threw on a background task crashed the host."""
    called = []

    def fail(context):
        called.append(context)
        raise RuntimeError("mine")

    task = house.start(answer)
    task.on("execution:finished", fail)
    for _ in range(2):
        assert task.execute().result(SECONDS) == 42
    drain()
    assert len(called) == 2
    assert len(caplog.records) == 1  # a minute


def test_13_unref_lets_a_script_end(tmp_path):
    """Defect 13: `unref: true` did nothing for background tasks."""
    (tmp_path / "job.py").write_text("def task(): pass\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import ipycron\nipycron.schedule('* * * * * *', 'job.py', unref=True)\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=60)


@inline
@pytest.mark.alone
def test_14_tolerance_is_exact(house):
    """Defect 14: a tolerance of 1000 ms let slots run 1.85 s late.

    A loop that is held up is the honest way to be late: one slot just within the
    tolerance runs, one just beyond it is missed.
    """
    task = house.start(answer, EVERY_SECOND, tolerance=0.3)
    record = Record(task)
    clock = SystemClock()
    record.wait("execution:finished")

    def hold_up():
        # From before a slot until 0.5 s after it.
        now = clock.now()
        end = int(now) + 1.5
        while clock.now() < end:
            threading.Event().wait(0.01)

    submit_to_client(hold_up)
    (missed, *_) = record.wait("execution:missed")
    task.destroy().result(SECONDS)
    drain()
    for context in record.of("execution:started"):
        lateness = (context.execution.started_at - context.date).total_seconds()
        assert lateness < 0.45  # decided at 0.3, and then the machine has its say
    assert missed.date not in [c.date for c in record.of("execution:started")]


@both
def test_15_nothing_raised_is_not_a_success(house):
    """Defect 15: a thrown undefined was recorded as a success without a result.

    The nearest in Python: an exception without a word, and a SystemExit of None.
    """

    def leave(ctx):
        raise SystemExit

    def fail(ctx):
        raise Exception  # noqa: TRY002 - the emptiest of all

    for job in (fail, leave):
        task = house.start(job)
        assert task.execute().exception(SECONDS) is not None
        assert task.last_run.is_ok is False
        assert task.last_run.error is not None


@both
@pytest.mark.parametrize("code", [None, 0, 3])
def test_function_that_leaves_has_failed_whatever_its_code(house, code):
    """A function is not a program: `sys.exit` is a failure, with any code."""

    def leave(ctx):
        sys.exit(code)

    task = house.start(leave)
    error = task.execute().exception(SECONDS)
    assert isinstance(error, RemoteError)
    assert error.type_name == "SystemExit"
    assert task.last_run.outcome == "failed"


@background
def test_16_events_without_a_worker_have_a_context(house):
    """Defect 16: stop and destroy events came without context when no child ran."""
    task = house.create(answer)
    record = Record(task)
    task.stop().result(SECONDS)
    task.destroy().result(SECONDS)
    drain()
    (context,) = record.contexts
    assert (context.event, context.task) == ("task:destroyed", task)
    assert context.date.tzinfo is not None


def test_17_missing_task_is_found_at_the_start(write):
    """Defect 17: a missing `task` export was found only when the task ran.

    A file that binds no `task` at all is a script here; one that binds something
    that cannot be called does not start.
    """
    task = ipycron.create_task(NEVER, write("task = 'a typo'"))
    error = task.start().exception(SECONDS)
    assert isinstance(error, TypeError)
    assert "job.py defines task as str, expected a function" in str(error)
    assert task.status == "stopped"
    stream = io.StringIO()
    logger = logging.getLogger("test.defect17")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    ipycron.schedule(NEVER, write("task = 3"), logger=logger)
    eventually(lambda: "job.py defines task as int" in stream.getvalue())
    logger.removeHandler(handler)
