"""Readers beside real writers: other processes that write on, and are killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from polling import eventually

import ipycron
from ipycron.runlog.following import Follower

SUPPORT = Path(__file__).parents[1] / "support"
WRITE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(SUPPORT)!r})
from history_rows import BEGAN, make_run, make_task
from ipycron.runlog.store import open_store
from ipycron.scheduling.clock import SystemClock

name, path = sys.argv[1:]
began = SystemClock().now() - 1_000_000
store = open_store(Path(path), now=began, tell=print)
store.apply([make_task(name, name=name)])
for number in range(0, 1_000_000, 2):
    store.apply([
        make_run(n, id=f"{{name}}-{{n}}", task=name, at=began + n, output="x" * 900)
        for n in (number, number + 1)
    ])
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file that this process reads."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))
    return path


@pytest.fixture
def start(path):
    """Start processes that write pairs of rows until they are killed."""
    started = []

    def write(name):
        started.append(subprocess.Popen([sys.executable, "-c", WRITE, name, path]))
        return started[-1]

    yield write
    for writer in started:
        writer.kill()
        writer.wait()


def test_reader_sees_whole_batches_whatever_happens_to_the_writers(path, start):
    """Two write at once, one is killed in the middle; no question fails or lies."""
    first, _ = start("first"), start("second")
    counts = []

    def count():
        found = ipycron.history(limit=None)
        for name in ("first", "second"):
            numbers = [
                int(r.id.partition("-")[2]) for r in found if r.task_name == name
            ]
            assert numbers == list(range(len(numbers)))[::-1]
            assert len(numbers) % 2 == 0
        counts.append(len(found))
        return len(found)

    eventually(lambda: count() > 300)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    reached = count()
    eventually(lambda: count() > reached + 200)
    assert counts == sorted(counts)


def test_follower_tells_each_row_of_a_busy_process_once(path, start):
    """However often it looks, and wherever the writer is meanwhile."""
    follower = Follower(path, "busy")
    writer = start("busy")
    told = []
    eventually(
        lambda: told.extend(run.id for run in follower.read()) or len(told) > 400
    )
    writer.kill()
    writer.wait()
    told += [run.id for run in follower.read()]
    assert sorted(told) == sorted(run.id for run in ipycron.history(limit=None))


OPEN = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(SUPPORT)!r})
from history_rows import make_run, make_task
from ipycron.runlog.store import open_store
from ipycron.scheduling.clock import SystemClock

store = open_store(Path(sys.argv[1]), now=SystemClock().now(), tell=print)
rows = [make_run(n, o, id=o) for n, o in enumerate(("finished", "queued", "running"))]
store.apply([make_task(), *rows])
print("written", flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""


@pytest.fixture
def leave_open(path):
    """Start a process that leaves two rows open."""
    started = []

    def begin(end):
        command = [sys.executable, "-c", OPEN, path, end]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"written\n"
        if end == "killed":
            process.wait()

    yield begin
    for process in started:
        process.communicate()


def test_reader_finds_the_runs_that_were_lost(path, leave_open):
    """Nobody may write again for days: until then "running" would be wrong."""
    leave_open("killed")
    lost = ipycron.history(outcome="lost")
    assert [run.id for run in lost] == ["running", "queued"]
    assert lost[0].error == "the process that ran it vanished"
    assert [run.id for run in ipycron.history(outcome="running")] == []
    assert [run.id for run in ipycron.history()] == ["running", "queued", "finished"]


def test_reader_leaves_the_runs_of_others_open(path, leave_open):
    """Their process is there: it goes on writing, and nothing is written here."""
    leave_open("alive")
    assert [run.outcome for run in ipycron.history()] == [
        "running",
        "queued",
        "finished",
    ]
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("SELECT count(*) FROM writers").fetchone() == (1,)


def test_reader_answers_where_it_cannot_close_what_was_lost(path, leave_open):
    """It does not wait for long, and says what the file says."""
    leave_open("killed")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(ipycron.history()) == 3
        other.execute("ROLLBACK")
    assert len(ipycron.history(outcome="lost")) == 2
