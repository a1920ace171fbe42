"""The clocks that a job can read never show the second before its slot."""

import concurrent.futures
import multiprocessing
import multiprocessing.resource_tracker
from functools import partial

import jobs
import pytest
from polling import eventually

import ipycron
from ipycron.client.jobs import Cell
from ipycron.process.wire.payload import pack_object

EVERY_SECOND = "* * * * * *"
RUNS = 3

READ = """
import datetime, os, subprocess, tempfile, time
def read_clocks():
    handle, path = tempfile.mkstemp()
    os.close(handle)
    written = os.stat(path).st_mtime
    os.unlink(path)
    def local(parts):  # of what is shown twice when clocks go back, the present
        found = [time.mktime((*parts[:8], is_dst)) for is_dst in (0, 1)]
        return min(found, key=lambda shown: abs(shown - time.time()))
    return {
        "mtime": written,
        "localtime": local(time.localtime()),
        "ctime": local(time.strptime(time.ctime())),
        "strftime": local(time.strptime(time.strftime("%Y-%m-%d %H:%M:%S"), FORM)),
        "asctime": local(time.strptime(time.asctime())),
        "now": datetime.datetime.now().timestamp(),
        "time": time.time(),
        "date": float(subprocess.check_output(["date", "+%s.%N"])),
        "touch": touch(path),
    }
FORM = "%Y-%m-%d %H:%M:%S"
def touch(path):
    subprocess.check_call(["touch", path])
    written = os.stat(path).st_mtime
    os.unlink(path)
    return written
"""
FUNCTION = READ + "def task(ctx): return ctx.date.timestamp(), read_clocks()\n"
SCRIPT = READ + "print(read_clocks())\n"
CELL = READ + "ctx.date.timestamp(), read_clocks()\n"


def make_function():
    """Return the job as a function that is sent by value."""
    scope = {}
    exec(FUNCTION, scope)
    return scope["task"]


async def run_async(function, ctx):
    """Call the job on a loop."""
    return function(ctx)


def make_jobs(write, pool):
    """Return each kind of job, with its options."""
    script, file = write(SCRIPT, "script.py"), write(FUNCTION)
    cell = Cell(source=CELL, filename="<cell>", payload=pack_object({}))
    for launcher in ("fork", "spawn"):
        options = {"background": True, "launcher": launcher}
        yield f"file {launcher}", file, options
        yield f"script {launcher}", script, options
        yield f"cell {launcher}", cell, options
        yield f"function {launcher}", make_function(), options
    yield "inline", make_function(), {}
    yield "delayed", file, {"jitter": 0.001}
    for name, job in (
        ("file", file),
        ("script", script),
        ("function", make_function()),
    ):
        yield f"{name} pool", job, {"executor": pool}


@pytest.fixture(scope="module", autouse=True)
def tracker():
    """Python starts it once and keeps it: no test leaks it."""
    multiprocessing.resource_tracker.ensure_running()


@pytest.fixture
def pool():
    """A pool whose processes already exist."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        list(pool.map(jobs.as_function, [print] * 4))
        yield pool
        ipycron.shutdown()


def test_no_clock_shows_the_second_before_the_slot(write, pool):
    """Every kind of job and clock: `time`, `localtime`, `date`, file times."""
    ends, tasks = {}, []
    for name, job, options in make_jobs(write, pool):
        # Without overlaps: a busy machine would have ever more runs at once.
        task = ipycron.create_task(
            EVERY_SECOND, job, name=name, no_overlap=True, **options
        )
        ends[name] = []
        task.on("execution:finished", partial(lambda n, c: ends[n].append(c), name))
        task.on("execution:failed", partial(lambda n, c: ends[n].append(c), name))
        tasks.append(task)
    starts = [task.start() for task in tasks]
    for start in starts:
        start.result(30)
    eventually(lambda: all(len(e) >= RUNS for e in ends.values()), "the runs", 60)
    early = [
        (name, clock, shown - end.date.timestamp())
        for name, contexts in ends.items()
        for end in contexts
        for clock, shown in read_report(end).items()
        if shown < end.date.timestamp()
    ]
    assert early == []


def read_report(end):
    """Return the clock readings of a run."""
    execution = end.execution
    if execution.result is None:
        return eval(execution.output.stdout)
    date, clocks = execution.result
    assert date == end.date.timestamp()
    return clocks
