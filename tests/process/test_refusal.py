"""Temporary refusals by the system: nothing stops, and the operation is retried."""

import contextlib
import logging
import subprocess
import sys
from shlex import quote

import psutil
import pytest
from house import EVERY_SECOND, NEVER, Record
from polling import eventually, pause
from shortage import ProcessLimit, limited_descriptors
from trouble import get_supervisor, get_zygote, strike

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import StartRefused, SupervisorLost
from ipycron.process.wire.protocol import Preload

QUICK = "def task(): return 1"


@pytest.fixture
def python(tmp_path, monkeypatch):
    """A Python on a disk that can disappear; return a context without the disk."""
    path, away = tmp_path / "python", tmp_path / "away"
    path.write_text(f'#!/bin/sh\nexec {quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))

    @contextlib.contextmanager
    def gone():
        path.rename(away)
        try:
            yield
        finally:
            if away.exists():
                away.rename(path)

    return gone


def start_two(write, **options):
    """Start a task that is due every second, and one for manual runs."""
    path = write(QUICK)
    tasks = [
        ipycron.create_task(EVERY_SECOND, path, name="busy", **options),
        ipycron.create_task(NEVER, path, name="quiet", **options),
    ]
    for task in tasks:
        task.start().result(20)
    return tasks


@pytest.mark.parametrize(
    ("victim", "refused"),
    [(get_supervisor, "No such file"), (get_zygote, "Too many open files")],
)
def test_tasks_go_on_when_a_replacement_was_refused(
    write, python, caplog, victim, refused
):
    """Neither a lost supervisor nor a lost zygote ends a task, for any time.

    Each slot meanwhile is told once, and one line says what is refused.
    """
    busy, quiet = start_two(write, max_restarts=1, tolerance=0.3)
    slots = []
    for event in ("started", "missed"):
        busy.on(f"execution:{event}", lambda c: slots.append(c.date.timestamp()))
    events = [Record(task) for task in (busy, quiet)]
    events[0].wait("execution:finished")
    supervisor = get_supervisor()
    away = python() if victim is get_supervisor else limited_descriptors(supervisor)
    with caplog.at_level(logging.WARNING, "ipycron"), away:
        strike(victim())
        pause(3)
        assert not {str(task.status) for task in (busy, quiet)} & {"stopped"}
    for heard in events:
        heard.wait("task:restarted")
        assert not heard.count("task:failed")
    assert quiet.execute().result(20) == 1
    busy.stop().result(20)
    assert sorted(slots) == list(range(int(min(slots)), int(max(slots)) + 1))
    warnings = [r.getMessage() for r in caplog.records if "Retrying" in r.message]
    assert len(warnings) == 1
    assert refused in warnings[0]


def test_stop_and_destroy_end_while_no_supervisor_can_be_started(write, python):
    """Nothing runs, so there is nothing to wait for; the task stays stopped."""
    busy, quiet = start_two(write)
    events = Record(busy)
    with python():
        strike(get_supervisor())
        eventually(lambda: registry.client.supervisor_pid is None, "the loss")
        pause(0.3)
        busy.stop().result(20)  # none can be started before this block ends
        quiet.destroy().result(20)
        assert (str(busy.status), str(quiet.status)) == ("stopped", "destroyed")
    other = ipycron.create_task(NEVER, write(QUICK), name="other")
    other.start().result(20)
    assert other.execute().result(20) == 1
    assert str(busy.status) == "stopped"
    events.wait("task:stopped")
    assert events.count("task:stopped") == 1
    busy.start().result(20)


def test_first_start_names_the_task_when_it_is_refused(write, python):
    """The caller gets the error at once, with advice; the next try succeeds."""
    task = ipycron.create_task(NEVER, write(QUICK), name="report")
    with python():
        for end in (task.start(), task.execute()):
            error = end.exception(20)
            assert isinstance(error, SupervisorLost)
            assert "'report'" in str(error)
            assert "disk is mounted" in str(error)
    task.start().result(20)
    assert task.execute().result(20) == 1


LIMITED = """
import os, resource
if not os.path.exists(__file__ + ".off"):
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if os.getuid() == 0:
        os.setuid(65534)  # nothing is refused to root
"""


def test_worker_is_back_when_forks_were_refused(write, monkeypatch, caplog):
    """A dead worker is replaced as soon as forks succeed again."""
    path = write(QUICK.replace("return 1", "import os; return os.getpid()"))
    write(LIMITED, "limited.py")
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    task = ipycron.create_task(NEVER, path, name="report", max_restarts=1)
    events = Record(task)
    task.start().result(20)
    pid = task.execute().result(20)
    registry.client.warm(Preload(("limited",)))
    other = ipycron.create_task(NEVER, path, name="other")
    with pytest.raises(StartRefused, match=r"'other'.*temporarily.*ulimit -u"):
        other.start().result(20)
    strike(pid)
    eventually(lambda: "Retrying" in caplog.text, "the replacement is refused")
    pause(1.5)
    assert str(task.status) != "stopped"
    path.with_name("limited.py.off").touch()
    strike(get_zygote())  # the next one may fork
    events.wait("task:restarted StartRefused")
    assert task.execute().result(20) != pid


CROWDED = """
import sys
import ipycron

tasks = [
    ipycron.schedule("* * * * * *", lambda: 1, background=True, name=f"a{i}")
    for i in range(3)
]
for task in tasks:
    task.start().result(20)
ipycron.wait(tasks, runs=1, timeout=20)
print("ready", flush=True)
sys.stdin.readline()
for task in tasks:
    runs = task.history.finished
    # The first end may be that of a run that the loss has cut short.
    while task.history.finished == runs and ipycron.wait(task, runs=1, timeout=30):
        pass
    print(task.status, task.history.finished > runs)
ipycron.shutdown()
"""


@pytest.mark.timeout(90)
@pytest.mark.parametrize("victim", ["supervisor", "worker"])
def test_tasks_run_again_when_there_may_be_processes_again(tmp_path, victim):
    """The kernel refuses every fork, even root's, during a replacement."""
    program = tmp_path / "client.py"
    program.write_text(CROWDED)
    limit = ProcessLimit()
    with subprocess.Popen(
        [sys.executable, program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=limit.enter,  # noqa: PLW1509 - no thread of ours has its locks
    ) as client:
        try:
            assert client.stdout.readline() == "ready\n"
            supervisor = psutil.Process(client.pid).children()[0]
            worker = supervisor.children()[0].children()[0]
            limit.set(1)
            strike((supervisor if victim == "supervisor" else worker).pid)
            pause(1.5)
            limit.set(None)
            said, _ = client.communicate("go on\n", timeout=60)
        finally:
            client.kill()
    eventually(lambda: not limit.is_used, "all have ended")
    limit.close()
    lines = said.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.split() in (["idle", "True"], ["running", "True"]), said


THREADS = """
import threading
start = threading.Thread.start
refused = True

def refuse(thread):
    if refused and thread.name.startswith({prefix!r}):
        raise RuntimeError("can't start new thread")
    start(thread)

threading.Thread.start = refuse
import ipycron

def work():
    return 1

task = ipycron.schedule("* * * * * *", work, name="report", background={background})
finished = threading.Event()
task.on("execution:finished", lambda context: finished.set())
for end in (task.start(), task.execute()):
    error = end.exception(20)
    print(type(error).__name__, error)
refused = False
task.start().result(20)
print(task.execute().result(20))
print(finished.wait(20))
ipycron.shutdown()
"""


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("prefix", ["ipycron", "ipycron-events", "ipycron-job"])
def test_refused_thread_is_reported(tmp_path, background, prefix):
    """With the task and advice; once threads can be started, all is well."""
    program = tmp_path / "client.py"
    program.write_text(THREADS.format(prefix=prefix, background=background))
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *errors, result, heard = done.stdout.splitlines() or [done.stderr] * 2
    assert (result, heard) == ("1", "True"), done
    for line in errors:
        if not line.startswith("NoneType"):
            assert "'report'" in line
            assert "ulimit -u" in line or "TaskNotStarted" in line
