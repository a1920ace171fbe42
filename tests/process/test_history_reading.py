"""Readers beside real writers: other processes that write on, and are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
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
