"""Every way in which a run can end its process, by fork and by spawn (R9).

Each ends as one finished or failed execution with a true reason, within three
seconds; the schedule goes on with another run; of the worker's process group nobody
is left. What happened is printed as a table.
"""

import contextlib
import os
import time
import uuid
from pathlib import Path

import pytest
from house import NEVER, WORKERS, Record, drain
from polling import SECONDS, eventually
from scores import scored
from watching import SESSION, find_marked

import ipycron
from ipycron.errors import ExecutionTimeout, RemoteError, WorkerCrashed

pytestmark = pytest.mark.usefixtures("supervisor")

LIMIT = 10.0
"""Seconds from the fatal act to its event."""
TABLE = "ways to die"
LAUNCHERS = dict(zip(WORKERS, ("fork", "spawn"), strict=True))

HEAD = """
import ctypes, faulthandler, os, resource, signal, stat, sys, time
MARK = "PATH"

def die():
"""
TAIL = """
def task():
    # The first run only: the next one shows that the schedule goes on.
    if not os.path.exists(MARK):
        open(MARK, "w").close()
        return die()
    return "alive"
"""

FINISHED = "finished"
DEEP = """
    faulthandler.disable()
    sys.setrecursionlimit(10**8)
    # Through C and back at every level, so that no limit of Python's counts it.
    call = ctypes.PYFUNCTYPE(ctypes.py_object)
    def descend():
        return call(descend)()
    descend()
"""
MEMORY = """
    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
    blocks = []
    while True:
        blocks.append(bytearray(8 << 20))
"""
CLOSED = """
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) < 3 or stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.close(int(name))
        except OSError:
            pass
    return "done"
"""
ORPHAN = """
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    return "done"
"""
DAEMON = """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open(MARK + ".daemon", "w") as file:
                file.write(str(os.getpid()))
            os.closerange(0, 3)
            time.sleep(600)
        os._exit(0)
    os.wait()
    return "done"
"""
BLOCKED = """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(600)
"""
IGNORED = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
"""

WAYS = {
    "exception": ("    raise LookupError('no more')", LookupError, "no more"),
    "SystemExit": ("    sys.exit('bye')", RemoteError, "SystemExit: bye"),
    "KeyboardInterrupt": ("    raise KeyboardInterrupt", RemoteError, "KeyboardI"),
    "os._exit(0)": ("    os._exit(0)", WorkerCrashed, "exited with code 0"),
    "os._exit(3)": ("    os._exit(3)", WorkerCrashed, "exited with code 3"),
    "SIGSEGV": ("    ctypes.string_at(0)", WorkerCrashed, "killed by SIGSEGV"),
    "abort": ("    os.abort()", WorkerCrashed, "killed by SIGABRT"),
    "SIGTERM": ("    os.kill(os.getpid(), 15)\n    time.sleep(600)", WorkerCrashed,
                "killed by SIGTERM"),
    "SIGKILL": ("    os.kill(os.getpid(), 9)\n    time.sleep(600)", WorkerCrashed,
                "killed by SIGKILL"),
    "its whole group": ("    os.killpg(0, 9)\n    time.sleep(600)", WorkerCrashed,
                        "killed by SIGKILL"),
    "exec of another program": ("    os.execv('/bin/true', ['true'])", WorkerCrashed,
                                "exited with code 0"),
    "stack overflow": (DEEP, WorkerCrashed, "killed by SIGSEGV"),
    "memory limit": (MEMORY, MemoryError, ""),
    "descriptors 0 to 2 and sockets closed": (CLOSED, WorkerCrashed, "with code 70"),
    "fork that outlives the run": (ORPHAN, FINISHED, "done"),
    "daemonised grandchild": (DAEMON, FINISHED, "done"),
    "blocked signals, timeout": (BLOCKED, ExecutionTimeout, "longer than 1 s"),
    "ignored SIGTERM, timeout": (IGNORED, ExecutionTimeout, "longer than 1 s"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", WORKERS)
def test_run_ends_once_and_the_schedule_goes_on(way, kind, tmp_path, request):
    """One event with the true reason, in time; then the next run works."""
    source, expected, text = WAYS[way]
    with scored(request, TABLE, f"{way}, {kind}") as notes:
        mark = tmp_path / "mark"
        path = tmp_path / f"job_{uuid.uuid4().hex}.py"
        path.write_text(HEAD.replace("PATH", str(mark)) + source + TAIL)
        # On a busy machine, the job has to begin and the next run to end within it.
        timeout = 1 if "timeout" in way else None
        task = ipycron.create_task(
            NEVER, path, launcher=LAUNCHERS[kind], timeout=timeout
        )
        task.start().result(SECONDS)
        _check_end(task, mark, expected, text, notes)
    if "daemon" in way:
        # It has left the worker's session on purpose, so nothing ends it.
        daemon = Path(f"{mark}.daemon")
        os.kill(int(eventually(lambda: daemon.exists() and daemon.read_text())), 9)


def _check_end(task, mark, expected, text, notes):
    record = Record(task)
    run = task.execute()
    (started,) = record.wait("execution:started")
    eventually(mark.exists)
    begin = time.monotonic()
    error = run.exception(SECONDS)
    took = time.monotonic() - begin
    notes.append(f"{took:.2f} s")
    assert took < LIMIT
    if expected is FINISHED:
        assert run.result() == text
    else:
        assert isinstance(error, expected), error
        assert text in str(error)
        assert error.__cause__ is not None or not isinstance(error, RemoteError)
    assert task.execute().result(SECONDS) == "alive"
    pid = started.execution.pid
    drain()
    ends = [
        context.event
        for context in record.contexts
        if context.execution and context.execution.id == started.execution.id
    ]
    end = "execution:finished" if expected is FINISHED else "execution:failed"
    assert ends == ["execution:started", end]
    task.stop().result(SECONDS)
    eventually(lambda: not find_group(pid), "of the worker's group nobody is left")


def find_group(leader):
    """Return the members of a process group."""
    members = []
    for pid in find_marked(os.environ[SESSION]):
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == leader:
                members.append(pid)
    return members
