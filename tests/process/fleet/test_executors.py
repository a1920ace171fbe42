"""Jobs on executors with other processes: Python's pools and loky's (D3)."""

import concurrent.futures
import logging
import multiprocessing
import os
import re
import threading
import time
from functools import partial
from pathlib import Path

import executors
import loky
import pytest
from executors import Answering, Blocking, Boom, Rejecting, Silent, note_and_wait, pause
from executors import read_runs as read
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.client.jobs import Cell
from ipycron.errors import (
    CaptureError,
    ExecutionStopped,
    ExecutionTimeout,
    ExecutorError,
    InvalidOption,
    OverlapError,
)
from ipycron.process.wire.payload import pack_object
from ipycron.scheduling.clock import SystemClock

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def pools():
    """Two processes of Python's pool, spawned, and two of joblib's engine."""
    pools = {
        "spawn": concurrent.futures.ProcessPoolExecutor(2, mp_context=SPAWN),
        "loky": loky.ProcessPoolExecutor(2),
    }
    for pool in pools.values():
        list(pool.map(pause, [0.1] * 4))
    yield pools
    for pool in pools.values():
        pool.shutdown()


@pytest.fixture(params=["spawn", "loky"])
def pool(request, pools):
    """Each of the pools."""
    return pools[request.param]


@pytest.fixture
def loky_pool(pools):
    """One of them, where both behave alike."""
    return pools["loky"]


def test_run_comes_home_with_everything_when_it_succeeds(pool, start, caplog):
    """Result, context, output and log are the same as for a local run."""
    caplog.set_level(logging.INFO)
    task = start(executors.talk, pool, timezone="Asia/Tokyo")
    ctx = task.execute().result(SECONDS)
    assert ctx.execution.pid not in (os.getpid(), None)
    assert ctx.task.name == "report"
    assert ctx.task.timezone == "Asia/Tokyo"
    assert ctx.date.utcoffset().total_seconds() == 9 * 3600
    assert ctx.execution.reason == "invoked"
    run = task.last_run
    assert run.output.stdout == "to stdout report\nbytes\n"
    assert run.output.stderr == "to stderr\n"
    assert run.pid is None
    (record,) = eventually(lambda: [r for r in caplog.records if r.name == "talker"])
    assert record.getMessage() == "to the log, 7"
    assert record.process == ctx.execution.pid


def test_run_comes_home_with_its_error_when_it_fails(pool, start):
    """Type, attributes, cause and remote traceback; the schedule continues."""
    task = start(executors.fail, pool)
    with pytest.raises(Boom) as caught:
        task.execute().result(SECONDS)
    assert (caught.value.args, caught.value.extra) == ((3,), [1, 2])
    assert isinstance(caught.value.__cause__, KeyError)
    text = task.last_run.traceback_text
    assert "    raise boom from error\n" in text
    assert "guest.py" not in text


def test_functions_travel_as_they_are(pool, start):
    """Closures, lambdas, coroutine functions, those of `__main__`."""
    rate = 7
    assert start(lambda: rate * 6, pool).execute().result(SECONDS) == 42
    awaited = start(executors.wait_a_little, pool).execute().result(SECONDS)
    assert awaited == "awaited"
    scope = {"__name__": "__main__"}
    exec("class Mine:\n    x = 3\ndef job():\n    return Mine()", scope)
    assert start(scope["job"], pool).execute().result(SECONDS).x == 3


def test_results_leave_their_classes_as_they_are(pool, start):
    """Classes return as references; those made in a run are new each time."""
    scope = {"__name__": "__main__"}
    exec(
        "class Mine:\n    n = 0\n    def f(self): return 1\n"
        "def job():\n    Mine.n += 1\n    return Mine(), Mine.n, job",
        scope,
    )
    mine = scope["Mine"]
    task = start(scope["job"], pool)
    first = task.execute().result(SECONDS)
    mine.f = lambda _: 2
    second = task.execute().result(SECONDS)
    assert [type(first[0]), type(second[0])] == [mine, mine]
    assert [first[1], second[1], mine.n, second[0].f()] == [1, 1, 0, 2]
    assert first[2] is second[2] is scope["job"]


def test_result_is_described_when_it_cannot_travel(pool, start):
    """A run never hangs because its result cannot be pickled."""
    stand_in = start(threading.Lock, pool).execute().result(SECONDS)
    assert isinstance(stand_in, ipycron.Unserializable)
    assert "lock" in stand_in.type_name
    large = start(lambda: b"x" * 2000, pool, max_result_bytes=1000)
    assert "max_result_bytes" in large.execute().result(SECONDS).reason


def test_output_is_bounded_when_a_job_floods(pool, start):
    """Head and tail are kept, and the missing bytes are counted."""
    task = start(partial(executors.flood, 30_000), pool)
    task.execute().result(SECONDS)
    text = task.last_run.output.stdout
    assert text.startswith(f"{0:099d}\n{1:099d}\n")
    assert text.endswith(f"{29_999:099d}\n")
    assert "bytes left out" in text
    assert len(text) < 600_000


MODULE = """
import sys
print("loading", __name__, sys.argv[1:])
class Odd(Exception):
    pass
count = 0
def task(ctx):
    global count
    count += 1
    print(ctx.task.name, count)
    if ctx.task.name == "odd":
        raise Odd(count)
    return count
"""


def test_file_travels_as_its_text(pool, start, tmp_path):
    """Loaded afresh for each run, with its current text."""
    path = tmp_path / "job.py"
    path.write_text(MODULE)
    task = start(path, pool, args=["a", "b"])
    assert [task.execute().result(SECONDS) for _ in range(3)] == [1, 1, 1]
    assert task.last_run.output.stdout == "loading job ['a', 'b']\nreport 1\n"
    path.write_text(MODULE.replace("return count", "return 'new'"))
    assert task.execute().result(SECONDS) == "new"
    path.unlink()
    with pytest.raises(ExecutorError, match="refused the run: FileNotFoundError"):
        task.execute().result(SECONDS)


def test_failure_of_a_file_quotes_its_text(pool, start, tmp_path):
    """The executor need not have the file: the traceback has its lines."""
    path = tmp_path / "job.py"
    path.write_text(MODULE)
    task = start(path, pool, name="odd")
    with pytest.raises(Exception, match="1") as caught:
        task.execute().result(SECONDS)
    assert type(caught.value).__name__ == "Odd"
    assert "    raise Odd(count)\n" in task.last_run.traceback_text


def test_script_is_main_and_leaves_nothing_behind(pool, start, tmp_path):
    """It runs from top to bottom with its arguments; no trace is left."""
    path = tmp_path / "script.py"
    path.write_text("import sys\nleft = 1\nprint(__name__, sys.argv[1:])\n")
    task = start(path, pool, args=["x"])
    assert task.execute().result(SECONDS) is None
    assert task.last_run.output.stdout == "__main__ ['x']\n"
    left = start(lambda: hasattr(__import__("__main__"), "left"), pool, name="other")
    assert not any(left.execute().result(SECONDS) for _ in range(4))


def make_cell(source, **variables):
    """Return a notebook's cell with its captured variables."""
    return Cell(source=source, filename="<cell report>", payload=pack_object(variables))


def test_cell_runs_in_a_shell_of_the_far_side(pool, start):
    """Commands, displays, the context and a value all work."""
    source = (
        "from IPython.display import display, HTML\n"
        "print('hello', ctx.task.name)\n"
        "!echo from a shell\n"
        "display(HTML('<b>bold</b>'))\n"
        "left = 1\n"
        "number * 2"
    )
    task = start(make_cell(source, number=21), pool)
    assert task.execute().result(SECONDS) == 42
    output = task.last_run.output
    assert output.stdout == "hello report\nfrom a shell\n"
    assert [shown.kind for shown in output.displays] == ["display", "result"]
    assert output.displays[0].data["text/html"] == "<b>bold</b>"
    trace = start(make_cell("'left' in globals()"), pool, name="other")
    assert [trace.execute().result(SECONDS) for _ in range(4)] == [False] * 4


def test_cell_comes_home_with_its_error(pool, start):
    """With the traceback that a notebook shows."""
    task = start(make_cell("x = 1\n1 / 0"), pool)
    with pytest.raises(ZeroDivisionError):
        task.execute().result(SECONDS)
    assert "ZeroDivisionError" in task.last_run.traceback_text
    assert "1 / 0" in re.sub(r"\x1b\[[0-9;]*m", "", task.last_run.traceback_text)


def test_start_fails_when_the_file_is_not_python(pool, tmp_path):
    """The start reports what can be known before the first run."""
    path = tmp_path / "job.py"
    path.write_text("def task(:\n")
    task = ipycron.create_task(NEVER, path, executor=pool)
    with pytest.raises(SyntaxError):
        task.start().result(SECONDS)
    assert task.status == "stopped"


# --- the schedule's own rules ---------------------------------------------------------


def test_schedule_keeps_its_rules_elsewhere(loky_pool, start, tmp_path):
    """Overlaps are skipped and reported; `max_executions` ends the task."""
    job = partial(note_and_wait, str(tmp_path))
    record = Record(ipycron)  # before the first slot
    task = start(job, loky_pool, EVERY_SECOND, no_overlap=True, max_executions=2)
    record.wait("execution:overlap")
    with pytest.raises(OverlapError):
        task.execute().result(SECONDS)
    (tmp_path / "go").touch()
    record.wait("task:destroyed")
    assert len(read(tmp_path)) == 2
    others = ("execution:overlap", "execution:missed")
    assert [name for name in record.names if name not in others] == [
        "task:started",
        *["execution:started", "execution:finished"] * 2,
        "execution:max_reached",
        "task:stopped",
        "task:destroyed",
    ]


def test_runs_overlap_when_they_may(loky_pool, start, tmp_path):
    """Two processes run two at a time."""
    task = start(partial(note_and_wait, str(tmp_path)), loky_pool)
    runs = [task.execute() for _ in range(2)]
    eventually(lambda: len(read(tmp_path)) == 2)
    assert len(task.running) == 2
    (tmp_path / "go").touch()
    assert len({run.result(SECONDS) for run in runs}) == 2


def test_run_fails_when_it_takes_too_long(loky_pool, start, tmp_path, caplog):
    """The future is cancelled; what still runs elsewhere is ignored."""
    job = partial(note_and_wait, str(tmp_path))
    task = start(job, loky_pool, timeout=1.5)
    with pytest.raises(ExecutionTimeout):
        task.execute().result(SECONDS)
    assert task.status == "idle"
    eventually(lambda: "cannot end it, so it continues" in caplog.text)
    (tmp_path / "go").touch()
    # A machine that stands still has other runs take too long.
    eventually(lambda: task.execute().exception(SECONDS) is None, "a run in time")
    assert len(task.history) >= 2


def test_stop_does_not_wait_for_what_goes_on_elsewhere(start):
    """A run ends with its task, and its future is cancelled."""
    silent = Silent()
    task = start(print, silent, stop_timeout=0.1)
    run = task.execute()
    eventually(lambda: silent.futures)
    started = time.monotonic()
    task.stop().result(SECONDS)
    assert time.monotonic() - started < 10
    assert isinstance(run.exception(SECONDS), ExecutionStopped)
    assert silent.futures[0].cancelled()
    task.start().result(SECONDS)
    run = task.execute()
    ipycron.shutdown(0.1)
    assert isinstance(run.exception(SECONDS), ExecutionStopped)
    assert silent.futures[1].cancelled()


# --- executors in trouble -------------------------------------------------------------


def find_refusal(record):
    """Return whether a broken pool has refused a run."""
    refusal = "the executor refused the run: BrokenProcessPool: "
    return any(refusal in str(c.error) for c in record.of("execution:failed"))


def test_schedule_goes_on_when_the_executor_breaks(start, tmp_path):
    """A dying process breaks Python's pool for good: each run then fails."""
    # Records of the log hold errors, whose frames hold the pool and its pipes.
    quiet = logging.getLogger("test_executors.quiet")
    quiet.setLevel(logging.CRITICAL)
    job = partial(executors.leave, str(tmp_path))
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        task = start(job, pool, EVERY_SECOND, logger=quiet)
        record = Record(task)
        (first, *_) = record.wait("execution:failed")
        # A busy machine starts the process in more than a second: two may be lost.
        eventually(lambda: find_refusal(record), "a run that is refused")
        task.destroy().result(SECONDS)
    assert isinstance(first.error, ExecutorError)
    assert "the executor lost the run: BrokenProcessPool: " in str(first.error)
    assert "terminated abruptly" in str(first.error)
    assert len(list(tmp_path.iterdir())) == 1


def test_schedule_goes_on_when_the_executor_is_shut_down(start):
    """The executor's own error is the reason."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    task = start(print, pool)
    task.execute().result(SECONDS)
    pool.shutdown()
    with pytest.raises(ExecutorError) as caught:
        task.execute().result(SECONDS)
    assert str(caught.value) == (
        "task 'report': the executor refused the run: RuntimeError: cannot schedule "
        "new futures after shutdown."
    )
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert task.status == "idle"


@pytest.mark.parametrize(
    ("executor", "reason"),
    [
        (Rejecting(MemoryError()), "refused the run: MemoryError."),
        (Rejecting(SystemExit(2)), "refused the run: SystemExit: 2."),
        (
            Rejecting(None),
            (
                "refused the run: TypeError: submit() returned a NoneType, expected a "
                "concurrent.futures.Future."
            ),
        ),
        (Answering(OSError("gone")), "lost the run: OSError: gone."),
        (Answering(KeyboardInterrupt()), "lost the run: KeyboardInterrupt."),
        (Answering(b"?"), "lost the run: UnpicklingError: *"),
        (
            Answering(ModuleNotFoundError("No module 'ipycron'", name="ipycron")),
            (
                "lost the run: ModuleNotFoundError: No module 'ipycron'. Install "
                "ipycron where the executor runs its work."
            ),
        ),
        (Answering(None), "cancelled the run."),
    ],
)
def test_run_fails_with_the_reason_when_the_executor_misbehaves(
    start, executor, reason
):
    """Whatever an executor does, each run ends once and the task continues."""
    task = start(print, executor)
    for _ in range(2):
        with pytest.raises(ExecutorError) as caught:
            task.execute().result(SECONDS)
        text = str(caught.value).removeprefix("task 'report': the executor ")
        assert text == reason or text.startswith(reason.rstrip("*"))
    assert task.status == "idle"


def test_other_tasks_go_on_when_an_executor_blocks(start):
    """A `submit` that waits for space blocks only its own run."""
    blocking = Blocking()
    stuck = start(print, blocking, name="stuck", timeout=0.3)
    free = start(lambda: 42, concurrent.futures.ThreadPoolExecutor(1), name="free")
    run = stuck.execute()
    assert free.execute().result(SECONDS) == 42
    assert isinstance(run.exception(SECONDS), ExecutionTimeout)
    started = time.monotonic()
    ipycron.shutdown(0.1)
    assert time.monotonic() - started < 10
    blocking.room.set()
    free.options.executor.shutdown()


# --- what is refused when a task is created -------------------------------------------


class Cluster:
    """Looks like a Dask cluster."""

    def get_client(self):
        """Never called."""


EXPECTED = "expected a concurrent.futures.Executor or a distributed.Client."


@pytest.mark.parametrize(
    ("executor", "text"),
    [
        (3, f"executor: got 3, {EXPECTED}"),
        ("tcp://host:8786", f"executor: got 'tcp://host:8786', {EXPECTED}"),
        (
            concurrent.futures.ThreadPoolExecutor,
            (
                "executor: got <class 'concurrent.futures.thread.ThreadPoolExecutor'>, "
                f"{EXPECTED} Make an object of this class first."
            ),
        ),
        (
            Cluster(),
            f"{EXPECTED} distributed.Client(cluster) makes one from a Dask cluster.",
        ),
    ],
)
def test_task_is_refused_when_its_executor_is_none(executor, text):
    """The check imports nothing, and says what to pass instead."""
    with pytest.raises(InvalidOption) as caught:
        ipycron.create_task(NEVER, print, executor=executor)
    assert str(caught.value).endswith(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("background", True), ("launcher", "spawn"), ("env", {}), ("cwd", "/")],
)
def test_task_is_refused_when_an_option_does_not_go_with_an_executor(name, value):
    """The executor's processes have their own environment and folder."""
    with pytest.raises(InvalidOption) as caught:
        ipycron.create_task(NEVER, print, executor=Silent(), **{name: value})
    assert str(caught.value) == (
        f"{name}: got {value!r}, expected None with an executor, which starts its "
        "own processes."
    )


def test_task_is_refused_when_its_function_cannot_travel():
    """As for a worker: the error names the variable."""
    lock = threading.Lock()
    with pytest.raises(CaptureError, match="'lock'"):
        ipycron.create_task(NEVER, lambda: lock, executor=Silent())


def test_file_is_refused_when_the_executor_is_of_this_process(tmp_path):
    """A script would be `__main__` here while it runs."""
    path = tmp_path / "job.py"
    path.write_text("")
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.raises(InvalidOption, match="an executor of other processes"),
    ):
        ipycron.create_task(NEVER, path, executor=pool)


def test_run_that_has_waited_too_long_in_a_queue_is_missed(start):
    """Checked again when the executor begins it (C2); manual runs never are."""
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(gate.wait)
        patience = {"tolerance": 0.2, "start_timeout": 0.3}
        called = start(executors.pause, pool, **patience).execute()
        task = start(
            executors.pause, pool, EVERY_SECOND, max_executions=1, name="t", **patience
        )
        record = Record(task)
        eventually(lambda: task.running)
        began = task.running[0].started_at.timestamp()
        eventually(lambda: SystemClock().now() > began + 0.6)
        gate.set()
        (failed,) = record.wait("execution:failed")
        eventually(
            lambda: failed.date in [c.date for c in record.of("execution:missed")],
            "its slot is missed",
        )
        called.result(SECONDS)
    error = failed.execution.error
    assert isinstance(error, ExecutorError)
    assert "(0.5 s): it was not run" in str(error)
    assert not record.of("execution:finished")


def _snooze_first(folder):
    """Snooze once a file is there, in the first run."""
    begun = Path(folder, "begun")
    if begun.exists():
        return "again"
    begun.touch()
    while not Path(folder, "go").exists():
        time.sleep(0.01)  # noqa: TID251 - in the executor
    raise ipycron.Snooze(0.01)


def test_snoozed_run_that_waits_in_a_queue_is_not_missed(start, tmp_path):
    """It has begun: only a run that has not can come too late."""
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        record = Record(ipycron)
        task = start(
            partial(_snooze_first, str(tmp_path)),
            pool,
            EVERY_SECOND,
            max_executions=1,
            tolerance=0.2,
            start_timeout=0.3,
        )
        eventually((tmp_path / "begun").exists, "its job runs")
        pool.submit(gate.wait)
        (tmp_path / "go").touch()
        (told,) = record.wait("execution:retry")
        late = told.next_attempt_at.timestamp() + 1
        eventually(lambda: SystemClock().now() > late, "its patience is over")
        gate.set()
        record.wait("task:destroyed")
    assert task.last_run.result == "again"
    assert task.history.missed == 0
