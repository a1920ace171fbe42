"""Workers that resist their end, and workers that attack their supervisor."""

import os
import signal

import pytest
from house import NEVER, Record
from polling import SECONDS, eventually
from scores import score_test
from trouble import get_supervisor, get_zygote, stopped
from watching import count_descriptors, is_dead, read_rss

import ipycron
from ipycron.errors import WorkerCrashed

TABLE = "faults: workers"

FIND_CONTROL = """
import os, socket, struct, array
def find_control():
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            pass
"""


@pytest.fixture(autouse=True)
def row(request):
    """Count each test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


STUBBORN = """
import os, signal, time
from pathlib import Path
def task():
    {prelude}
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    {body}
"""
IN_C = "sum(range(10 ** 12))"  # holds the GIL: no handler of Python's runs
BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"


def run_stubborn(write, prelude="pass", body="time.sleep(60)", **options):
    """Start a run that does not end by itself; return its process."""
    path = write(STUBBORN.format(prelude=prelude, body=body))
    task = ipycron.create_task(NEVER, path, max_restarts=0, **options)
    task.start().result(SECONDS)
    run = task.execute()
    file = path.with_name("pid")
    pid = eventually(lambda: file.exists() and file.read_text(), "a run")
    run.add_done_callback(lambda done: done.exception())
    return int(pid)


def test_lifeline_ends_a_worker_when_python_does_not_listen(write):
    """Without supervisor and with a suspended zygote, the kernel ends it."""
    pid = run_stubborn(write, body=IN_C)
    zygote = get_zygote()
    with stopped(zygote):
        os.kill(get_supervisor(), signal.SIGKILL)
        eventually(lambda: is_dead(pid), "the worker is gone")


def test_zygote_kills_a_worker_when_it_blocks_sigterm(write):
    """The lifeline's SIGTERM stays pending; SIGKILL follows after the grace."""
    pid = run_stubborn(write, prelude=BLOCKED, body=IN_C)
    os.kill(get_supervisor(), signal.SIGKILL)
    eventually(lambda: is_dead(pid), "the worker is gone")


def test_parents_death_kills_a_worker_when_it_blocks_sigterm(write):
    """Without supervisor and zygote, the kernel still kills it."""
    pid = run_stubborn(write, prelude=BLOCKED, body=IN_C)
    zygote = get_zygote()
    with stopped(get_supervisor()):
        os.kill(zygote, signal.SIGKILL)
        eventually(lambda: is_dead(pid), "the worker is gone")


def test_parents_death_kills_a_spawned_worker_when_it_blocks_sigterm(write):
    """A spawned worker's parent is the supervisor."""
    pid = run_stubborn(write, prelude=BLOCKED, body=IN_C, launcher="spawn")
    os.kill(get_supervisor(), signal.SIGKILL)
    eventually(lambda: is_dead(pid), "the worker is gone")


def test_grandchildren_go_with_a_worker_when_both_are_stopped(write, tmp_path):
    """SIGKILL of the group reaches suspended processes."""
    path = write("""
        import os, subprocess
        child = subprocess.Popen(["sleep", "60"])
        def task(): return os.getpid(), child.pid
    """)
    task = ipycron.create_task(NEVER, path)
    task.start().result(SECONDS)
    pids = task.execute().result(SECONDS)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    task.stop().result(30)
    eventually(lambda: all(is_dead(pid) for pid in pids), "both are gone")


HOSTILE = {
    "bytes that are no frame": "find_control().sendall(b'\\xff' * 100)",
    "a header that never ends": (
        "find_control().sendall(struct.pack('<IIBB', 1 << 24, 0, 0, 0))"
    ),
    "a message that is none": (
        "find_control().sendall(struct.pack('<IIBB', 4, 0, 0, 0) + b'\\x94\\xa1xx')"
    ),
    "a message nested without end": (
        "find_control().sendall(struct.pack('<IIBB', 60000, 0, 0, 0)"
        " + b'\\x94\\xa5Ended' + b'\\x91' * 59993)"
    ),
    "another edge's message": (
        "find_control().sendall("
        "struct.pack('<IIBB', 7, 0, 0, 0) + b'\\x92\\xa4Fork\\x01')"
    ),
    "descriptors without a frame": (
        "[find_control().sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,"
        " array.array('i', [0] * 8))]) for _ in range(20)]"
    ),
    "a payload by a descriptor that is missing": (
        "find_control().sendall(struct.pack('<IIBB', 0, 0, 1, 1))"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_supervisor_ends_a_worker_when_it_sends(write, name):
    """A worker that violates the protocol is killed, with the reason."""
    path = write(
        f"{FIND_CONTROL}\nimport time\ndef task():\n    {HOSTILE[name]}\n"
        "    time.sleep(60)\n"
    )
    task = ipycron.create_task(NEVER, path)
    events = Record(task)
    task.start().result(SECONDS)
    supervisor = get_supervisor()
    before = count_descriptors(supervisor)
    with pytest.raises(WorkerCrashed, match="protocol") as caught:
        task.execute().result(SECONDS)
    assert caught.value.reason
    events.wait("task:restarted WorkerCrashed")
    eventually(lambda: count_descriptors(supervisor) <= before, "nothing is kept")
    assert get_supervisor() == supervisor


@pytest.mark.parametrize("moment", ["float('inf')", "float('nan')", "-1e300", "1e300"])
def test_start_that_a_worker_invents_is_not_believed(write, moment):
    """Only times after the slot count; infinity is not a date."""
    path = write(
        FIND_CONTROL
        + f"""
from ipycron.process.wire.protocol import Ended, encode_message
def task(ctx):
    header = encode_message(Ended(ctx.execution.id, True, "lie", {moment}))
    control = find_control()
    control.sendall(struct.pack("<IIBB", len(header), 0, 0, 0) + header)
"""
    )
    task = ipycron.create_task(NEVER, path)
    task.start().result(SECONDS)
    task.execute().exception(SECONDS)
    run = eventually(lambda: task.last_run, "the run")
    assert abs((run.started_at - run.date).total_seconds()) < 10
    assert "finished" in repr(run)


def test_supervisor_ignores_a_worker_when_it_speaks_for_others(write):
    """Ends of other runs and displays of other tasks are ignored."""
    path = write(
        FIND_CONTROL
        + """
from ipycron.process.wire.protocol import Displayed, Ended, Loaded, encode_message
def task(ctx):
    control = find_control()
    for message in (
        Ended("another", True, "lie"),
        Loaded(False, "lie"),
        Displayed("another", "another"),
    ):
        header = encode_message(message)
        control.sendall(struct.pack("<IIBB", len(header), 0, 0, 0) + header)
    return "truth"
"""
    )
    task = ipycron.create_task(NEVER, path)
    events = Record(task)
    task.start().result(SECONDS)
    assert [task.execute().result(SECONDS) for _ in range(3)] == ["truth"] * 3
    events.wait("execution:finished", count=3)  # reported after the result
    assert events.count("execution:finished") == 3
    assert task.last_run.output.displays == []


def test_supervisor_does_not_grow_when_workers_send_half_a_frame(write):
    """An incomplete frame is bounded, and dropped with its worker."""
    path = write(
        FIND_CONTROL
        + """
def task():
    control = find_control()
    control.sendall(struct.pack("<IIBB", 65536, 65536, 0, 0))
    control.sendall(bytes(131071))
    os._exit(1)
"""
    )
    task = ipycron.create_task(NEVER, path)
    supervisor = get_supervisor()
    for count in range(12):
        if count == 2:
            before = read_rss(supervisor)
        task.start().result(SECONDS)
        with pytest.raises(WorkerCrashed):
            task.execute().result(SECONDS)
        task.stop().result(SECONDS)
    assert read_rss(supervisor) - before < 5_000_000


def test_worker_is_reported_to_have_closed_its_connection(write):
    """A job that closes all descriptors and continues is ended; the error says so."""
    path = write("""
        import os, time
        def task():
            os.closerange(3, 1000)
            time.sleep(60)
    """)
    task = ipycron.create_task(NEVER, path)
    task.start().result(SECONDS)
    with pytest.raises(WorkerCrashed, match="it had closed its connection"):
        task.execute().result(SECONDS)
