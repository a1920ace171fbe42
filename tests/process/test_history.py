"""What real tasks leave in the history: a row for every slot and every call."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from house import NEVER
from polling import SECONDS, eventually

import ipycron
from ipycron.client.lives import hash_code
from ipycron.errors import ExecutionTimeout, WorkerCrashed
from ipycron.runlog.settings import find_settings

pytestmark = pytest.mark.usefixtures("supervisor")


def find(task):
    """Return a task's runs, oldest first."""
    return list(reversed(ipycron.history(task.name)))


def find_ended(task):
    """Return a task's only run once it is over; on a busy machine slots are missed."""
    (row,) = [row for row in find(task) if row.outcome != "missed"] or [None]
    return row if row is not None and row.finished_at else None


def test_runs_of_every_kind_are_recorded(house):
    """A call that returned, with what it said and how long it took."""

    def answer(ctx):
        print("working")  # noqa: T201 - what is recorded
        return 42

    task = house.start(answer, name=f"answer {house.kind}")
    task.execute().result(SECONDS)
    (row,) = find(task)
    assert (row.outcome, row.trigger, row.slot) == ("finished", "invoked", None)
    assert (row.summary, row.output, row.output_left_out) == ("42", "working\n", 0)
    assert row.id == task.last_run.id
    assert row.started_at == task.last_run.started_at
    assert row.duration == pytest.approx(task.last_run.duration, abs=1e-5)
    assert row.task_name == task.name
    assert row.pattern == NEVER
    if house.kind != "inline-async":  # another function, around this one
        assert row.code_hash == hash_code(answer.__code__)
    assert (row.pid is not None) == task.is_background


def test_failures_of_every_kind_are_recorded(house):
    """Type, text and traceback of the error."""

    def fail(ctx):
        raise LookupError("no: such thing")

    task = house.start(fail, name=f"fail {house.kind}")
    assert task.execute().exception(SECONDS)
    (row,) = eventually(
        lambda: [row for row in find(task) if row.traceback], "the traceback is there"
    )
    assert (row.outcome, row.error_type) == ("failed", "LookupError")
    assert row.error == "no: such thing"
    assert 'raise LookupError("no: such thing")' in row.traceback
    assert "ipycron/process" not in row.traceback


def test_slots_are_recorded_with_their_instants(house):
    """One row for each second, none twice."""

    def work(ctx):
        return None

    task = house.start(work, "* * * * * *", name=f"slots {house.kind}")
    eventually(lambda: task.history.finished >= 3, "three slots have run")
    task.stop().result(SECONDS)
    slots = [row.slot for row in find(task)]
    assert len(slots) >= 3
    assert len(slots) == len(set(slots))
    assert {(b - a).total_seconds() for a, b in itertools.pairwise(slots)} == {1}


def test_ends_by_force_are_told_apart(workers):
    """A timeout, a crash, an exit and a stop."""

    def crash(ctx):
        os.kill(os.getpid(), signal.SIGSEGV)

    def leave(ctx):
        os._exit(3)

    def hang(ctx):
        signal.pause()

    crashing = workers.start(crash, name="crash")
    assert isinstance(crashing.execute().exception(SECONDS), WorkerCrashed)
    leaving = workers.start(leave, name="leave")
    assert isinstance(leaving.execute().exception(SECONDS), WorkerCrashed)
    slow = workers.start(hang, name="slow", timeout=0.2)
    assert isinstance(slow.execute().exception(SECONDS), ExecutionTimeout)
    stopped = workers.start(hang, name="stopped", stop_timeout=0)
    run = stopped.execute()
    eventually(lambda: stopped.running, "it runs")
    stopped.stop().result(SECONDS)
    run.exception(SECONDS)
    rows = [find(task)[-1] for task in (crashing, leaving, slow, stopped)]
    assert [row.outcome for row in rows] == [
        "crashed",
        "crashed",
        "timed_out",
        "stopped",
    ]
    assert (rows[0].signal, rows[0].exit_code) == ("SIGSEGV", None)
    assert (rows[1].signal, rows[1].exit_code) == (None, 3)


def test_a_worker_says_what_a_run_used(workers):
    """CPU seconds and memory of one run, not of the ones before it."""

    def use(ctx):
        data = bytearray(200 << 20)
        sum(range(2_000_000))
        return len(data)

    def rest(ctx):
        return None

    task = workers.start(use, "* * * * * *", name="use", max_executions=1)
    row = eventually(lambda: find_ended(task), "it has run")
    assert row.peak_memory > 200 << 20
    assert 0.005 < row.cpu_seconds < 30
    small = workers.start(rest, "* * * * * *", name="rest", max_executions=1)
    row = eventually(lambda: find_ended(small), "it has run")
    assert row.peak_memory < 150 << 20


def test_direct_calls_are_recorded(workers):
    """Also those that go past the supervisor, each one."""

    def answer(ctx):
        return None

    task = workers.start(answer, name="direct")
    ids = set()
    for _ in range(100):
        task.execute().result(SECONDS)
        ids.add(task.last_run.id)
    rows = find(task)
    assert len(rows) == 100
    assert {row.id for row in rows} == ids
    assert {row.outcome for row in rows} == {"finished"}


def test_task_without_history_leaves_no_row(house):
    """`history=False` is per task."""

    def answer(ctx):
        return 42

    task = house.start(answer, name=f"unrecorded {house.kind}", history=False)
    task.execute().result(SECONDS)
    assert find(task) == []


def test_failure_without_history_leaves_no_row(house):
    """Its traceback neither: there is nothing of the task, of no attempt."""

    def fail(ctx):
        raise LookupError("private")

    known = house.start(fail, name=f"recorded {house.kind}")
    task = house.start(
        fail,
        name=f"unrecorded {house.kind}",
        history=False,
        retry=ipycron.Retry(1, delay=0.01),
    )
    for each in (task, known):
        assert each.execute().exception(SECONDS) is not None
    eventually(lambda: find(known) and find(known)[0].traceback, "that is recorded")
    with sqlite3.connect(find_settings().file) as history:
        rows = history.execute("SELECT * FROM runs WHERE task = ?", (task.id,))
        assert rows.fetchall() == []


PROGRAM = """
import os, signal, sys, time
import ipycron

def work():
    print("begun")
    time.sleep(60)

task = ipycron.schedule("* * * * * *", work, name="night", background={background})
while not ipycron.history("night", outcome="running"):
    time.sleep(0.01)
{end}
"""
ENDS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "ended": "ipycron.shutdown(0)",
}


WARNED = """
import ipycron, logging, time
logging.basicConfig(format="%(message)s", stream=open({log!r}, "w"))
tasks = [
    ipycron.schedule("0 0 1 1 *", print, name=str(n), background=bool(n))
    for n in range(2)
]
for task in tasks:
    task.execute()
while any(task.last_run is None or task.last_run.finished_at is None for task in tasks):
    time.sleep(0.01)
time.sleep(1)  # both have tried to write
ipycron.shutdown()
"""


@pytest.mark.parametrize("where", ["of another program", "in no folder"])
def test_bad_file_is_said_once_by_all_who_write(tmp_path, where):
    """The client and its supervisor write to the same file."""
    path, log = tmp_path / "file", tmp_path / "log"
    path.write_text("something else")
    if where == "in no folder":
        path /= "history.sqlite"
    subprocess.run(
        [sys.executable, "-c", WARNED.format(log=str(log))],
        env={**os.environ, "IPYCRON_HISTORY": str(path)},
        timeout=60,
        check=True,
    )
    lines = [x for x in log.read_text().splitlines() if x.startswith("history: ")]
    assert len(lines) == 1, lines
    assert str(path) in lines[0]


@pytest.mark.parametrize("is_background", [True, False], ids=["worker", "inline"])
@pytest.mark.parametrize("end", ENDS)
def test_run_is_closed_when_its_process_is_gone(tmp_path, end, is_background):
    """A run in progress is never left open: whoever opens the file next closes it."""
    path = tmp_path / "history.sqlite"
    program = PROGRAM.format(end=ENDS[end], background=is_background)
    environment = {**os.environ, "IPYCRON_HISTORY": str(path)}
    subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=60, check=False
    )
    reopened = "import ipycron\nipycron.schedule('0 0 1 1 *', print, name='new')\n"
    reopened += "ipycron.shutdown()"

    def read():
        subprocess.run(
            [sys.executable, "-c", reopened], env=environment, timeout=60, check=True
        )
        done = subprocess.run(
            [sys.executable, "-m", "ipycron", "history", "night", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        rows = [row for row in rows if row["outcome"] != "missed"]
        return None if any(row["outcome"] == "running" for row in rows) else rows

    first = eventually(read, "no run is open")[-1]
    expected = "lost" if end == "killed" else "stopped"
    assert first["outcome"] == expected
    assert first["slot"] is not None
