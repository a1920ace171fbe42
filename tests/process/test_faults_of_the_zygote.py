"""A zygote that is suspended, busy, killed, or dies of its imports."""

import os
import signal
import time

import pytest
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually
from scores import score_test
from trouble import get_zygote, stopped, strike
from watching import find_living_children, is_dead

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import StartError, StartTimeout, WorkerCrashed
from ipycron.process.wire.protocol import Preload

TABLE = "faults: the zygote"

MARKED = """
import os
from pathlib import Path
Path(__file__).with_name("loaded").write_text(str(os.getpid()))
def task():
    return os.getpid()
"""


@pytest.fixture
def row(request):
    """Count this test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


def test_start_fails_in_time_when_the_zygote_is_stopped(row, write):
    """StartTimeout after start_timeout; nothing runs once it is resumed."""
    path = write(MARKED)
    zygote = get_zygote()
    task = ipycron.create_task(NEVER, path, start_timeout=0.5)
    with stopped(zygote):
        with pytest.raises(StartTimeout):
            task.start().result(30)
        assert task.status == "stopped"
    # The fork happens now; the worker finds its lifeline closed and exits.
    other = ipycron.create_task(NEVER, write("def task(): return 1", "other.py"))
    other.start().result(SECONDS)
    eventually(
        lambda: len(find_living_children(zygote)) == 1, "only the other's worker"
    )
    assert not path.with_name("loaded").exists()


def test_stop_is_quick_when_the_fork_has_not_happened(row, write):
    """A start that waits for a busy zygote is revoked at once, for good."""
    path = write(MARKED)
    imported = path.with_name("imported")
    write(
        f"import os, time\nwhile not os.path.exists({str(imported)!r}):\n"
        "    time.sleep(0.01)",
        "slow_module.py",
    )
    get_zygote()
    task = ipycron.create_task(NEVER, path, start_timeout=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        patch.setenv("PYTHONPATH", str(path.parent))
        ipycron.shutdown()  # so that the zygote has the path
        task = ipycron.create_task(NEVER, path, start_timeout=30)
        registry.client.warm(Preload(("slow_module",)))
    start = task.start()
    task.stop().result(SECONDS)  # the import goes on
    with pytest.raises(StartError, match="stopped while it started"):
        start.result(SECONDS)
    imported.touch()
    task.start().result(SECONDS)  # after the import
    first = int(path.with_name("loaded").read_text())
    assert first == task.execute().result(SECONDS)


def test_start_is_made_again_when_the_zygote_dies_under_it(row, write):
    """A zygote lost while forking only delays the start."""
    zygote = get_zygote()
    task = ipycron.create_task(NEVER, write(MARKED))
    with stopped(zygote):
        start = task.start()
        with pytest.raises(TimeoutError):
            start.result(0.2)
        strike(zygote)
        start.result(SECONDS)
    assert task.status == "idle"
    assert get_zygote() != zygote


def test_start_fails_when_the_job_kills_its_zygote(row, write):
    """A job that ends its zygote while loading is tried only twice."""
    source = """
    import os, signal
    if os.getppid() == os.getppid():
        os.kill(os.getppid(), signal.SIGKILL)
        import time
        time.sleep(10)
    def task(): ...
    """
    task = ipycron.create_task(NEVER, write(source))
    with pytest.raises(StartError, match="its zygote was lost while it loaded"):
        task.start().result(SECONDS)
    assert task.status == "stopped"


def test_stop_ends_when_the_zygote_is_stopped(row, write):
    """The worker is not reaped, but known to be dead."""
    task = ipycron.create_task(NEVER, write(MARKED))
    task.start().result(SECONDS)
    pid = task.execute().result(SECONDS)
    with stopped(get_zygote()):
        task.stop().result(30)
        assert is_dead(pid)


@pytest.mark.parametrize(
    ("end", "told"),
    [("os._exit(3)", {"exit_code": 3}), ("os.abort()", {"signal_name": "SIGABRT"})],
)
def test_death_is_reported_correctly_when_the_zygote_is_stopped(row, write, end, told):
    """A worker's exit status is read from the system instead."""
    task = ipycron.create_task(NEVER, write(f"import os\ndef task():\n    {end}\n"))
    record = Record(task)
    task.start().result(SECONDS)
    with stopped(get_zygote()):
        with pytest.raises(WorkerCrashed) as caught:
            task.execute().result(30)
        for name, value in told.items():
            assert getattr(caught.value, name) == value
    record.wait("task:restarted WorkerCrashed")


def test_schedule_goes_on_when_the_zygote_is_stopped(row, write):
    """Existing workers need no zygote to run."""
    task = ipycron.create_task(EVERY_SECOND, write(MARKED))
    events = Record(task)
    task.start().result(SECONDS)
    with stopped(get_zygote()):
        count = events.count("execution:finished")
        events.wait("execution:finished", count=count + 2)
        assert not events.count("task:restarted")


def test_preload_is_given_up_when_zygotes_die_of_it(row, write, caplog):
    """A module that ends its zygote does not block workers for long."""
    path = write(MARKED)
    write("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "deadly.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(path.parent))
        registry.client.warm(Preload(("deadly",)))
        task = ipycron.create_task(NEVER, path)
        events = Record(task)
        deadline = time.monotonic() + 20
        while task.status != "idle" and time.monotonic() < deadline:
            task.start().exception(SECONDS)
    assert task.execute().result(SECONDS)
    # Listeners are called on their own thread, shortly after the result.
    heard = ["task:started", "execution:started", "execution:finished"]
    eventually(lambda: events.names == heard, lambda: events.names)
    eventually(lambda: "it kills zygotes: deadly" in caplog.text, lambda: caplog.text)


def test_tasks_are_restarted_when_the_zygote_is_killed(row, write):
    """Every worker is lost with it; every task continues with a new one."""
    tasks = [ipycron.create_task(NEVER, write(MARKED)) for _ in range(10)]
    for task in tasks:
        task.start().result(SECONDS)
    events = [Record(task) for task in tasks]
    pids = {task.execute().result(SECONDS) for task in tasks}
    os.kill(get_zygote(), signal.SIGKILL)
    for heard in events:
        heard.wait("task:restarted WorkerCrashed")
        assert heard.count("task:restarted WorkerCrashed") == 1
    assert not pids & {task.execute().result(SECONDS) for task in tasks}
