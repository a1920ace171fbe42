"""The history's file in real trouble: full disks, killed and crowded processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from shlex import quote

import pytest
from history_rows import BEGAN, make_run, make_task, read
from lengths import choose
from polling import eventually

from ipycron.runlog import file
from ipycron.runlog.settings import make_settings
from ipycron.runlog.store import Store, to_text
from ipycron.runlog.writer import HistoryWriter

SUPPORT = str(Path(__file__).parents[1] / "support")
MOUNT = ("unshare", "--mount", "sh", "-ec")
"""Runs a script that may mount what it likes, and nobody else sees it."""

PROGRAM = """\
import json, os, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from history_rows import make_run, make_task
from polling import eventually
from ipycron.runlog.settings import make_settings
from ipycron.runlog.writer import HistoryWriter

path, told = Path(sys.argv[2]), []
settings = make_settings(path, keep_runs=10**6, keep_days=1e6)
writer = HistoryWriter(settings, warn=told.append)

def say(**facts):
    print(json.dumps(facts | {"told": told, "lost": writer.lost}), flush=True)
"""
FULL = """
ballast = path.parent / "ballast"
ballast.write_bytes(bytes(1 << 20))
writer.put(make_task())
count = 0
while not told:
    count += 1
    writer.put(make_run(count, output="x" * 20_000))
    assert count < 10_000
    writer.flush(1)
ballast.unlink()
eventually(lambda: writer.flush(1), told)
say(count=count, closed=writer.close(20))
"""


def run(program, path, *, mount="", **options):
    """Run the program with a writer for that path; return what it says at its end."""
    command = [sys.executable, "-c", PROGRAM + program, SUPPORT, str(path)]
    if mount:
        command = [*MOUNT, f'{mount}\nexec "$@"', "sh", *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check(path):
    """Return how many runs there are, in a file that is sound and doubles none."""
    with closing(file.connect_to_read(path, busy=20)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count, distinct = reader.execute(
            "SELECT count(*), count(DISTINCT id) FROM runs"
        ).fetchone()
        assert count == distinct
        return count


@pytest.fixture
def mounts():
    """Skip where nothing may be mounted."""
    if shutil.which("unshare") is None or subprocess.call([*MOUNT, "true"]):
        pytest.skip("needs the right to mount")


@pytest.mark.usefixtures("mounts")
def test_rows_wait_while_the_disk_is_full(tmp_path):
    """It is said once, with the way out, and they are written when there is space."""
    script = f"mount -t tmpfs -o size=3m tmpfs {quote(str(tmp_path))}"
    program = FULL + "import shutil\nshutil.copy(path, os.environ['COPY'])\n"
    copy = tmp_path.with_name("copy.sqlite")
    path = tmp_path / "history.sqlite"
    said = run(program, path, mount=script, env=os.environ | {"COPY": str(copy)})
    full, again = said["told"]
    assert full.startswith(f"history: {path}: ")
    assert "full. Free some space, or set a smaller max_bytes. " in full
    assert again == f"history: {path} is written again. Rows that were lost: 0."
    assert (said["lost"], said["closed"]) == (0, True)
    assert check(copy) == said["count"]


def test_rows_wait_while_the_file_may_not_grow(tmp_path):
    """A quota, here as the process's own limit, which it then lifts."""
    lift = "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))"
    program = f"""
import resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
writer.put(make_task())
assert writer.flush(20)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
{FULL.replace("ballast.unlink()", lift)}
"""
    path = tmp_path / "history.sqlite"
    said = run(program, path)
    assert (
        said["told"][-1] == f"history: {path} is written again. Rows that were lost: 0."
    )
    assert (said["lost"], said["closed"]) == (0, True)
    assert check(path) == said["count"]


@pytest.mark.usefixtures("mounts")
def test_folder_that_cannot_be_written_is_said(tmp_path):
    """Read-only from the start: runs go on, rows are counted."""
    path = tmp_path / "ipycron" / "history.sqlite"
    script = f"mount -t tmpfs -o ro tmpfs {quote(str(tmp_path))}"
    program = """
for number in range(3):
    writer.put(make_run(number))
    assert not writer.flush(20)
say(closed=writer.close(20))
"""
    said = run(program, path, mount=script)
    (line,) = said["told"]
    assert line == (
        f"history: {path}: Read-only file system. It needs a folder that this user may "
        "write to: set IPYCRON_HISTORY to another path, or to off. Rows that wait: 1; "
        "lost: 0."
    )
    assert (said["lost"], said["closed"]) == (3, False)


def test_file_that_becomes_read_only_is_written_later():
    """Somebody takes the permissions away, and gives them back.

    What is open stays open, but a fork has it closed. Root may write anyway, so the
    program is nobody.
    """
    program = """
import fcntl, urllib.parse  # nobody may not read where Python is
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
writer.put(make_task())
writer.put(make_run(1))
assert writer.flush(20)
path.chmod(0o400)
path.parent.chmod(0o500)
writer.put(make_run(2))
assert writer.flush(20)
if not os.fork():
    os._exit(0)
os.wait()
writer.put(make_run(3))
assert not writer.flush(20)
path.parent.chmod(0o700)
path.chmod(0o600)
eventually(lambda: writer.flush(1), told)
say(closed=writer.close(20))
"""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        path = Path(folder, "history.sqlite")
        said = run(program, path)
        assert check(path) == 3
    warning, again = said["told"]
    assert "set IPYCRON_HISTORY to another path" in warning
    assert again == f"history: {path} is written again. Rows that were lost: 0."
    assert (said["lost"], said["closed"]) == (0, True)


def test_folder_in_the_way_is_said_until_it_is_gone(tmp_path):
    """A file where the folder should be, for whoever may write anywhere, too."""
    blocked = tmp_path / "ipycron"
    blocked.write_text("a file")
    told = []
    path = blocked / "history.sqlite"
    history = HistoryWriter(make_settings(path), warn=told.append)
    history.put(make_run())
    assert not history.flush(20)
    assert told[0].startswith(f"history: {path}: ")
    assert "It needs a folder that this user may write to" in told[0]
    blocked.unlink()
    eventually(lambda: history.flush(20), "the folder")
    assert history.close(20)
    assert check(path) == 1


@pytest.mark.parametrize(
    "name",
    [b"with space.sqlite", b"what?#%41;&.sqlite", b"\xff\xfe.sqlite", "é🕰".encode()],
)
def test_file_may_have_any_name(tmp_path, name):
    """Its path is a path, not an address, and need not be text."""
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))  # noqa: PTH118
    history = HistoryWriter(make_settings(path), warn=print)
    history.put(make_run())
    assert history.close(20)
    assert os.listdir(os.fsencode(tmp_path)) == [name]  # noqa: PTH208
    assert check(path) == 1


def test_link_to_the_file_is_followed(tmp_path):
    """Its log is beside the file, where whoever opens it directly looks for it."""
    (tmp_path / "disk").mkdir()
    path, link = tmp_path / "disk" / "real.sqlite", tmp_path / "history.sqlite"
    link.symlink_to(path)
    for number in range(2):
        history = HistoryWriter(make_settings(link), warn=print)
        history.put(make_run(number))
        assert history.close(20)
    assert link.is_symlink()
    assert check(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.timeout(choose(90, 300))  # two hundred interpreters take a while to start
def test_many_processes_write_at_once(tmp_path):
    """Each has all its rows in the file, which they create together."""
    path, members, rows = tmp_path / "state" / "history.sqlite", choose(24, 200), 20
    program = f"""
sys.stdin.readline()
name = str(os.getpid())
writer.put(make_task(name, name=name))
for number in range({rows}):
    writer.put(make_run(task=name, id=name + "-" + str(number), outcome="running"))
    if number % 5 == 0:
        writer.flush(60)
    writer.put(make_run(number, task=name, id=name + "-" + str(number)))
say(closed=writer.close(60))
"""
    command = [sys.executable, "-c", PROGRAM + program, SUPPORT, str(path)]
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started = [
            stack.enter_context(subprocess.Popen(command, **pipes))
            for _ in range(members)
        ]
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.stdout.readline()) for process in started]
    assert all(each["closed"] and each["lost"] == 0 for each in said), said
    assert check(path) == members * rows
    with closing(sqlite3.connect(path)) as reader:
        outcomes = reader.execute("SELECT DISTINCT outcome FROM runs").fetchall()
        assert outcomes == [("finished",)]
        names = reader.execute("SELECT count(DISTINCT name) FROM runs").fetchone()
        assert names == (members,)


def test_nothing_but_the_last_moment_is_lost_when_the_writer_is_killed(tmp_path):
    """Again and again, at any moment: no damage, no row twice, and its runs are lost.

    A row that was put 200 ms before is there (on a busy machine: before the last flush
    that was answered).
    """
    path, rounds = tmp_path / "history.sqlite", choose(8, 50)
    program = """
base = int(sys.argv[3])
writer.put(make_task("life%d" % base, name="report"))
number = base
while True:
    writer.put(make_run(number, "running", task="life%d" % base, output="x" * 3000))
    writer.put(make_run(number, task="life%d" % base))
    number += 1
    if number % 20 == 0:
        writer.put(make_run(number, "running", task="life%d" % base))
        number += 1
        if writer.flush(20):
            print(number, flush=True)
"""
    expected = 0
    for turn in range(rounds):
        base = turn * 1_000_000
        command = [sys.executable, "-c", PROGRAM + program, SUPPORT, str(path)]
        with subprocess.Popen(
            [*command, str(base)], stdout=subprocess.PIPE, text=True
        ) as process:
            number = int(process.stdout.readline())
            # Somewhere in what it does then, another place each time.
            time_out = time.monotonic() + turn * 0.003
            while time.monotonic() < time_out:
                number = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            told = process.stdout.read().split()
        number = int(told[-1]) if told and told[-1].isdigit() else number
        expected += number - base
        assert check(path) >= expected
    with closing(Store(path, now=BEGAN)) as store:
        outcomes = set(read(store, "outcome, error", "runs"))
        assert outcomes == {
            ("finished", None),
            ("lost", "the process that ran it vanished"),
        }
        assert read(store, "DISTINCT ending", "tasks", "1") == [None]
        kept = {int(name.removeprefix("run-")) for name in read(store, "id")}
    last = (rounds - 1) * 1_000_000
    assert set(range(last, number)) <= kept


@pytest.mark.parametrize("name", ["n" * 10_000, "\ud800", "a\0b", 'it\'s\n"x"'])
def test_name_of_any_sort_reaches_the_file(tmp_path, name):
    """Through the writer, as a task's name and in its texts."""
    path = tmp_path / "history.sqlite"
    history = HistoryWriter(make_settings(path), warn=print)
    history.put(make_task(name=name, origin=name))
    history.put(make_run(error=name, output=name, summary=name))
    assert history.close(20)
    assert history.lost == 0
    with closing(sqlite3.connect(path)) as reader:
        statement = "SELECT name, error, output, summary FROM runs"
        assert reader.execute(statement).fetchall() == [(to_text(name),) * 4]


def test_year_of_minutes_is_queried_fast(tmp_path):
    """By name and day: far under the 20 ms that are promised, whatever the file holds.

    The promise is for a year; by default the file is smaller, and the bound the same.
    """
    path, count = tmp_path / "history.sqlite", choose(50_000, 525_600)
    with closing(Store(path, now=BEGAN)) as store:
        store.apply([make_task(), make_task("b", name="other")])
        for first in range(0, count, 10_000):
            numbers = range(first, min(first + 10_000, count))
            store.apply([make_run(n, task=("life", "b")[n % 97 == 0]) for n in numbers])
        day = BEGAN + 60 * (count // 2)
        query = (
            "SELECT * FROM runs WHERE run IS NULL AND name = 'report' "
            "AND at >= ? AND at < ? ORDER BY at DESC"
        )
        times = []
        for _ in range(5):
            began = time.process_time()
            rows = store.connection.execute(query, (day, day + 86400)).fetchall()
            times.append(time.process_time() - began)
    assert 1400 < len(rows) < 1440
    assert min(times) < 0.020
