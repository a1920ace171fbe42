"""A supervisor that is killed repeatedly, suspended, or cannot be started."""

import errno
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually, pause
from scores import score_test
from trouble import get_supervisor, get_zygote, stopped, strike
from watching import find_family, is_dead

import ipycron
from ipycron.client import background
from ipycron.client.registry import registry
from ipycron.errors import StartError
from ipycron.process.posix import ORPHAN_GRACE
from ipycron.process.wire.protocol import Preload
from ipycron.scheduling.clock import SystemClock

TABLE = "faults: the supervisor"
QUICK = "import os\ndef task(): return os.getpid()\n"


@pytest.fixture(autouse=True)
def row(request):
    """Count each test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


def lose_supervisor():
    """Kill the supervisor; return once the client has another one."""
    lost = get_supervisor()
    strike(lost)
    client = registry.client
    eventually(lambda: client.supervisor_pid not in (lost, None), "a new one")


def test_tasks_go_on_when_supervisors_die_in_a_row(write):
    """Without a finished run in between, each wait is a little longer."""
    tasks = [ipycron.create_task(NEVER, write(QUICK)) for _ in range(3)]
    events = [Record(task) for task in tasks]
    for task in tasks:
        task.start().result(SECONDS)
    for count in range(1, 6):
        lose_supervisor()
        for heard in events:
            heard.wait("task:restarted SupervisorLost", count=count)
    for task, heard in zip(tasks, events, strict=True):
        assert task.execute().result(SECONDS)
        assert not [event for event in heard.names if event == "task:failed"]


def test_losses_are_forgiven_when_runs_finish_between(write):
    """In time, any number of supervisors may be lost."""
    task = ipycron.create_task(NEVER, write(QUICK))
    events = Record(task)
    task.start().result(SECONDS)
    for count in range(1, 5):
        lose_supervisor()
        events.wait("task:restarted SupervisorLost", count=count)
        task.execute().result(SECONDS)
    assert not events.count("task:failed SupervisorLost")


def test_run_waits_for_its_former_self_when_the_supervisor_is_lost(write, tmp_path):
    """A job that resists SIGTERM is gone before its task continues."""
    log = tmp_path / "log"
    path = write(f"""
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        def task():
            with open({str(log)!r}, "a") as file:
                file.write(f"{{os.getpid()}}\\n")
            time.sleep(60)
    """)
    task = ipycron.create_task(EVERY_SECOND, path, no_overlap=True)
    events = Record(task)
    task.start().result(SECONDS)
    (first,) = eventually(lambda: log.exists() and log.read_text().split(), "a run")
    events.wait("execution:started")  # an unreported run would be reported as missed
    at = time.monotonic()
    strike(get_supervisor())
    events.wait("execution:failed SupervisorLost")
    (_, second) = eventually(
        lambda: len(pids := log.read_text().split()) == 2 and pids, "another run"
    )
    assert is_dead(int(first))
    assert second != first
    assert time.monotonic() - at > ORPHAN_GRACE / 2  # it did resist
    task.stop(force=True).result(SECONDS)


def test_slots_are_reported_as_missed_when_they_could_not_run(write):
    """Slots between two supervisors are missed, each reported once."""
    task = ipycron.create_task(EVERY_SECOND, write(QUICK), tolerance=0.3)
    slots = []
    task.on("execution:started", lambda c: slots.append(c.date.timestamp()))
    task.on("execution:missed", lambda c: slots.append(c.date.timestamp()))
    events = Record(task)
    task.start().result(SECONDS)
    events.wait("execution:finished", count=2)
    supervisor = get_supervisor()
    with stopped(supervisor):
        pause(2.5)  # slots without a scheduler, before the loss
        os.kill(supervisor, signal.SIGKILL)
    events.wait("task:restarted SupervisorLost")
    count = events.count("execution:finished")
    events.wait("execution:finished", count=count + 2)
    task.stop().result(SECONDS)
    assert sorted(slots) == list(range(int(min(slots)), int(max(slots)) + 1))
    assert events.count("execution:missed") >= 2


def test_waiting_slot_is_reported_when_the_supervisor_is_lost(write):
    """Later slots may pass one in its election; none is forgotten."""
    released, asked = threading.Event(), []

    class Coordinator:
        def should_run(self, key, lease):  # noqa: ARG002 - see `RunCoordinator`
            """Leave the first question unanswered until the test is over."""
            asked.append(key)
            return released.wait(4) if len(asked) == 1 else True

        def on_complete(self, key):
            """Do nothing."""

    task = ipycron.create_task(
        EVERY_SECOND,
        write(QUICK),
        name="waiting",
        distributed=True,
        run_coordinator=Coordinator(),
    )
    slots, overlaps = [], []
    for event in ("started", "missed", "skipped"):
        task.on(f"execution:{event}", lambda c: slots.append(c.date.timestamp()))
    task.on("execution:overlap", lambda c: overlaps.append(c.date.timestamp()))
    events = Record(task)
    task.start().result(SECONDS)
    events.wait("execution:finished", count=1)
    lost = get_supervisor()
    os.kill(lost, signal.SIGKILL)
    events.wait("task:restarted SupervisorLost")
    released.set()
    count = events.count("execution:finished")
    events.wait("execution:finished", count=count + 1)
    task.stop().result(SECONDS)
    first = min(overlaps) - 1
    assert sorted(slots) == list(range(int(first), int(max(slots)) + 1))


def test_shutdown_returns_when_the_supervisor_is_stopped(write, monkeypatch):
    """A process that does not answer is killed; none is left."""
    monkeypatch.setattr("ipycron.client.background.ANSWER_TIMEOUT", 0.5)
    monkeypatch.setattr("ipycron.client.connection.EXIT_TIMEOUT", 0.5)
    task = ipycron.create_task(NEVER, write(QUICK))
    task.start().result(SECONDS)
    pids = [get_supervisor(), get_zygote(), task.execute().result(SECONDS)]
    with stopped(pids[0]):
        ipycron.shutdown(0)
    eventually(lambda: all(is_dead(pid) for pid in pids), "none is left")


def test_shutdown_returns_when_the_zygote_is_stopped(write):
    """The supervisor kills a zygote that does not exit, and its workers."""
    task = ipycron.create_task(NEVER, write(QUICK))
    task.start().result(SECONDS)
    pids = [get_supervisor(), get_zygote(), task.execute().result(SECONDS)]
    with stopped(pids[1]):
        ipycron.shutdown(0)
        eventually(lambda: all(is_dead(pid) for pid in pids), "everybody is gone")


def test_all_processes_end_when_the_client_is_killed_amid_starts(write, tmp_path):
    """Twenty workers being started end with their client."""
    path = write("import time\ntime.sleep(0.2)\ndef task(): ...")
    program = tmp_path / "client.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys, threading
        import ipycron
        for _ in range(20):
            ipycron.schedule({EVERY_SECOND!r}, {str(path)!r})
        print(flush=True)
        threading.Event().wait(60)
        """)
    )
    for delay in (0.0, 0.15, 0.3, 0.6):
        client = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE)
        with client:
            client.stdout.readline()
            pause(delay)
            family = find_family(client.pid)
            client.kill()
        eventually(
            lambda family=family: all(is_dead(pid) for pid in family), "all are gone"
        )


SCRIPT = """
import resource, sys
import ipycron
from ipycron.client.registry import registry
registry.client
task = ipycron.create_task("0 0 1 1 *", sys.argv[1])
low = len(__import__("os").listdir("/proc/self/fd")) + 1
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
start, run = task.start(), task.execute()
for end in (start, run):
    print(type(end.exception(20)).__name__, end.exception(20))
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
task.start().result(20)
print(task.execute().result(20) > 0)
ipycron.shutdown()
"""


def test_start_fails_when_there_are_no_descriptors(write, tmp_path):
    """It is an error to start a supervisor then; it may be retried."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", write(QUICK)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    for line in lines[:2]:
        assert line.startswith("SupervisorLost")
        assert "cannot be started: [Errno 24]" in line
    assert lines[2] == "True"


LIMITED = """
import os, resource
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)  # nothing is refused to root
"""


def test_start_fails_when_there_are_no_processes(write, monkeypatch):
    """A refused fork is an error of this start; other tasks continue."""
    path = write(QUICK)
    write(LIMITED, "limited.py")
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    first, second = (ipycron.create_task(NEVER, path) for _ in range(2))
    first.start().result(SECONDS)
    registry.client.warm(Preload(("limited",)))
    with pytest.raises(StartError, match="temporarily unavailable"):
        second.start().result(SECONDS)
    assert second.status == "stopped"
    assert first.execute().result(SECONDS)


def test_loss_is_logged_once_with_what_the_supervisor_said(write, caplog):
    """The log says what happened."""
    task = ipycron.create_task(NEVER, write(QUICK))
    task.start().result(SECONDS)
    with caplog.at_level(logging.ERROR, "ipycron"):
        lose_supervisor()
        eventually(lambda: "supervisor is gone" in caplog.text, lambda: caplog.text)
    (record,) = [r for r in caplog.records if "supervisor is gone" in r.getMessage()]
    assert "exit code -9" in record.getMessage()


@pytest.fixture
def refusal(monkeypatch):
    """Have the system refuse supervisors until the returned event is set."""
    start, is_over = background.start_supervisor, threading.Event()

    def refuse(*arguments):
        if is_over.is_set():
            return start(*arguments)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(background, "start_supervisor", refuse)
    return is_over


def test_every_start_ends_that_waits_for_a_supervisor(write, refusal):
    """Both users' starts and the one that resumes the task."""
    task = ipycron.create_task(NEVER, write(QUICK))
    refusal.set()
    task.start().result(SECONDS)
    refusal.clear()
    strike(get_supervisor())
    waiting = registry.client._engine.background._parked
    eventually(lambda: task.id in waiting, "it waits")
    starts = [task.start(), task.start()]
    pause(0.1)
    refusal.set()
    for start in starts:
        start.result(20)
    assert task.execute().result(SECONDS)


def test_slots_of_an_outage_are_reported_when_the_task_is_destroyed(write, refusal):
    """Every slot from the last one that ran to the end."""
    task = ipycron.create_task(EVERY_SECOND, write(QUICK))
    record = Record(task)
    refusal.set()
    task.start().result(SECONDS)
    record.wait("execution:finished")
    refusal.clear()
    strike(get_supervisor())
    last = max(context.date for context in record.of("execution:started"))
    pause(2.5)
    refusal.set()
    registry.client._engine.submit(registry.client._engine.background._try_again)
    task.destroy().result(SECONDS)
    destroyed = record.wait("task:destroyed")[0].triggered_at
    known = {c.date for c in record.contexts if c.event.startswith("execution:")}
    seconds = int((destroyed - last).total_seconds())
    assert known >= {last + timedelta(seconds=n) for n in range(1, seconds)}


def test_excluded_slots_of_an_outage_have_rows_when_the_task_is_destroyed(
    write, refusal
):
    """Nobody else can report them: no slot vanishes."""
    begins = datetime.fromtimestamp(int(SystemClock().now()) + 3, UTC)
    task = ipycron.create_task(
        EVERY_SECOND,
        write(QUICK),
        exclude=[(begins, begins + timedelta(days=1))],
        name="excluded without a supervisor",
    )
    record = Record(task)
    refusal.set()
    task.start().result(SECONDS)
    first = record.wait("execution:skipped")[0].date
    refusal.clear()
    strike(get_supervisor())
    struck = SystemClock().now()
    pause(2.5)
    refusal.set()
    registry.client._engine.submit(registry.client._engine.background._try_again)
    task.destroy().result(SECONDS)
    destroyed = record.wait("task:destroyed")[0].triggered_at
    skipped = [c for c in record.of("execution:skipped") if c.reason == "excluded"]
    seconds = int((destroyed - first).total_seconds())
    expected = {first + timedelta(seconds=n) for n in range(seconds)}
    assert {c.date for c in skipped} >= expected
    slots = [row.slot for row in ipycron.history(task.name, outcome="excluded")]
    # What the supervisor reported in its last moments it may not have written.
    assert set(slots) >= {date for date in expected if date.timestamp() > struck}
    assert len(slots) == len(set(slots))
