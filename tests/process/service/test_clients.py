"""Kept tasks as their clients see them, with a real service and real processes."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from lengths import choose
from polling import eventually, pause

import ipycron
from ipycron.api.kept import ServiceAccess, attach
from ipycron.client.executions import MAX_RUNS
from ipycron.client.registry import registry
from ipycron.errors import (
    ServiceError,
    ServiceLost,
    TaskDestroyed,
    TaskExists,
    TaskNotInherited,
    TaskNotStarted,
)
from ipycron.notebook.widgets.model import describe_task
from ipycron.process.service.paths import VARIABLE
from ipycron.scheduling.clock import SystemClock

SECONDS = 60.0
NEVER = "0 0 1 1 *"


@pytest.fixture
def unstarted():
    """Have the service not started before the test."""


@pytest.fixture
def service(service, monkeypatch, request):
    """The service of this test, which this process and its children use."""
    for name, value in service.env.items():
        monkeypatch.setenv(name, value)
    forget_looks()
    if "unstarted" not in request.fixturenames:
        service.start()
    yield service
    ipycron.shutdown(0)
    forget_looks()


def forget_looks():
    """Have the next look for a service be a real one."""
    registry._singles.pop(ServiceAccess, None)


def leave():
    """Leave the service, as a process does at its end."""
    ipycron.shutdown(0)


def add(x=40):
    """Return a sum, and say who has made it."""
    sys.stdout.write(f"added by {os.getpid()}\n")
    return x + 2


def keep(job=add, *, name="sum", when=NEVER, **options):
    """Have a function kept."""
    given = {"background": True} if callable(job) else {}
    given |= {"start_timeout": SECONDS, **options}
    return ipycron.schedule(when, job, name=name, keep=True, **given)


def wait_for(folder, name):
    """Return when a file is there."""
    while not (folder / name).exists():
        pause(0.01)


def run(code, *words, env=None):
    """Start a Python program; return its process."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *words],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def finish(process):
    """Return what a program has printed, line by line."""
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    return out.splitlines()


# --- declaring ------------------------------------------------------------------------


@pytest.mark.usefixtures("unstarted")
def test_kept_task_outlives_its_process(service):
    """K1, K4: a script declares it and ends; this process finds it, as its own."""
    lines = finish(
        run("""
            import ipycron
            def double(x):
                print("doubled")
                return 2 * x
            task = ipycron.schedule(
                "* * * * * *", double, name="d", args=[21], keep=True, background=True,
                start_timeout=60,
            )
            print(task.is_kept, task.is_started, task.execute().result(60))
        """)
    )
    assert lines == ["True True 42"]
    task = ipycron.get_task("d")
    assert task.is_kept
    assert task.is_background
    assert task.pattern == "* * * * * *"
    assert task.source.label == "double"
    before = len(task.history)
    eventually(lambda: len(task.history) > before, "a scheduled run")
    assert task.execute().result(SECONDS) == 42
    assert task.last_run.output.stdout == "doubled\n"
    assert ipycron.history("d")


def test_client_that_attaches_loads_no_scheduler(service):
    """K9: who only looks at kept tasks does not wait for what runs other ones."""
    keep()
    (loaded,) = finish(
        run("""
            import sys
            import ipycron
            assert ipycron.get_task("sum").is_kept
            print(*sys.modules)
        """)
    )
    unused = {"ipycron.client.local", "ipycron.scheduling.scheduler"}
    unused |= {"ipycron.triggers.rule", "calendar", "difflib", "secrets", "tempfile"}
    assert not unused & set(loaded.split())


def test_client_that_is_attached_runs_tasks_of_its_own(service):
    """Their scheduler comes later than the loop, and knows the limits of pools."""
    keep()
    ipycron.set_pool("gpu", 1)
    begun, end = threading.Event(), threading.Event()

    def wait():
        begun.set()
        return end.wait(SECONDS)

    first, second = (
        ipycron.schedule(NEVER, wait, name=name, pool="gpu")
        for name in ("first", "second")
    )
    try:
        running = first.execute()
        assert begun.wait(SECONDS)
        begun.clear()
        waiting = second.execute()
        eventually(lambda: second.queued, "the second run waits for its place")
        assert not begun.is_set()
    finally:
        end.set()
        ipycron.set_pool("gpu", None)
    assert running.result(SECONDS)
    assert waiting.result(SECONDS)
    assert ipycron.get_task("sum").execute().result(SECONDS) == 42


def test_script_that_keeps_a_task_ends(service):
    """Nothing waits for it: `keep` is `unref`."""
    finish(
        run("""
            import ipycron
            ipycron.schedule(
                "* * * * *", len, name="j", keep=True, background=True, args=["abc"],
                start_timeout=60,
            )
        """)
    )
    assert ipycron.get_task("j").execute().result(SECONDS) == 3


def test_file_is_kept_with_its_folder_arguments_and_environment(service, tmp_path):
    """Whatever the folder and the variables of the service are."""
    (tmp_path / "job.py").write_text(
        "import os, sys\nprint(os.getcwd(), sys.argv[1:], os.environ['COLOUR'])\n"
    )
    task = ipycron.schedule(
        NEVER,
        tmp_path / "job.py",
        name="file",
        keep=True,
        start_timeout=SECONDS,
        args=["a b"],
        env={"COLOUR": "green"},
        cwd=tmp_path,
    )
    task.execute().result(SECONDS)
    assert task.last_run.output.stdout == f"{tmp_path} ['a b'] green\n"
    leave()
    found = ipycron.get_task("file")
    assert found.options.args == ("a b",)
    assert found.options.env is None  # it may hold secrets
    assert found.options.cwd == str(tmp_path)


def test_created_task_is_kept_stopped(service):
    """`create_task` arms nothing; a start by anyone does."""
    task = ipycron.create_task(
        NEVER,
        add,
        name="sum",
        keep=True,
        background=True,
        max_executions=3,
        start_timeout=SECONDS,
    )
    assert task.status == "stopped"
    leave()
    found = ipycron.get_task("sum")
    assert (found.status, found.runs_left) == ("stopped", 3)
    found.start().result(SECONDS)
    assert found.status == "idle"
    assert found.execute().result(SECONDS) == 42


def test_name_declared_again_replaces_the_task(service):
    """K5; the handle of the old one says that it is gone."""
    old = keep()
    new = keep(lambda: 7)
    assert new.execute().result(SECONDS) == 7
    eventually(lambda: old.status == "destroyed", "the end of the old task")
    assert [*ipycron.get_tasks()] == [new.id]
    with pytest.raises(TaskDestroyed):
        old.execute().result(SECONDS)


def test_task_that_cannot_be_loaded_replaces_nothing(service, tmp_path):
    """K5: the error of the job's own code is the answer."""
    path = tmp_path / "job.py"
    path.write_text("def task(): return 1\n")
    old = keep(path)
    path.write_text("def task(): return 2\nraise ValueError('not today')\n")
    with pytest.raises(ValueError, match="not today"):
        keep(path)
    assert [task.id for task in ipycron.get_tasks().values()] == [old.id]
    assert old.is_started
    leave()
    assert [*ipycron.get_tasks()] == [old.id]


def test_name_of_a_kept_task_is_not_taken_by_one_that_is_not_kept(service):
    """A script that happens to use the name must not end it."""
    kept = keep()
    with pytest.raises(TaskExists, match="It is kept by the service"):
        ipycron.schedule(NEVER, add, name="sum")
    assert kept.status == "idle"
    assert ipycron.schedule(NEVER, add, name="sum", if_exists="keep") is kept


def test_kept_task_replaces_one_of_this_process(service):
    """The other way round, once the new one is loaded."""
    own = ipycron.schedule(NEVER, add, name="sum")
    kept = keep()
    eventually(lambda: own.status == "destroyed", "the end of the old task")
    assert ipycron.get_task("sum") is kept


def test_options_come_back_as_they_were(service):
    """Every process shows the same task."""
    options = {
        "timezone": "Europe/Berlin",
        "overlap": "skip",
        "retry": ipycron.Retry(2, delay=5, on=(ValueError, "timeout")),
        "timeout": 9,
        "catch_up": "latest",
        "exclude": "sat,sun",
        "end": "2099-01-01",
        "execute_timeout": 50,
        "day_or": False,
    }
    task = keep(when="0 9 * * *", **options)
    before = task.options, task.pattern, task.next_run
    leave()
    found = ipycron.get_task("sum")
    assert (found.pattern, found.next_run) == before[1:]
    assert found.timezone == "Europe/Berlin"
    for name in ("overlap", "timeout", "catch_up", "exclude", "end", "day_or"):
        assert getattr(found.options, name) == getattr(before[0], name), name
    assert found.options.execute_timeout == 50
    assert found.options.retries.times == 2


# --- several processes ----------------------------------------------------------------


def test_two_processes_see_the_same_task(service):
    """K4: what one does, the other one sees, listeners included."""
    task = keep()
    other = run("""
        import ipycron, sys
        task = ipycron.get_task("sum")
        seen = []
        task.on("*", lambda context: print(context.event, flush=True))
        print("ready", flush=True)
        sys.stdin.readline()
        print(task.execute().result(60), task.is_paused, flush=True)
        task.destroy().result(60)
    """)
    assert other.stdout.readline() == "ready\n"
    task.pause(note="why not").result(SECONDS)
    assert other.stdout.readline() == "task:paused\n"
    assert task.execute().result(SECONDS) == 42
    heard = [other.stdout.readline().strip() for _ in range(2)]
    assert heard == ["execution:started", "execution:finished"]
    other.stdin.write("\n")
    other.stdin.flush()
    eventually(lambda: task.status == "destroyed", "the other process's destroy")
    lines = finish(other)
    assert "42 True" in lines
    assert "task:destroyed" in lines
    assert not ipycron.get_tasks()


def test_attempt_that_waits_for_a_place_is_seen_as_queued(service, tmp_path):
    """O2: by every client; then it goes on."""

    def fetch(ctx):
        wait_for(tmp_path, "first" if ctx.attempt == 1 else "last")
        return 1 // (ctx.attempt - 1)

    ipycron.set_pool("due", 1)
    keep(wait_for, name="holder", args=[tmp_path, "held"], pool="due")
    retry = ipycron.Retry(1, delay=0.01, jitter=0)
    task = keep(fetch, name="due", pool="due", retry=retry)
    call = task.execute()
    eventually(lambda: task.running, "the first attempt")
    (run,) = task.running
    holder = ipycron.get_task("holder")
    held = holder.execute()
    eventually(lambda: holder.queued, "who has the place next waits")
    (tmp_path / "first").touch()
    eventually(lambda: task.queued == (run,) and run.attempt == 2, "it waits")
    assert (task.status, task.running) == ("idle", ())
    (tmp_path / "held").touch()
    eventually(lambda: task.running == (run,), "it goes on")
    assert (task.status, task.queued) == ("running", ())
    (tmp_path / "last").touch()
    assert call.result(SECONDS) == 1
    held.result(SECONDS)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_client_that_dies_or_hangs_changes_nothing(service, number):
    """K4: its task goes on, and everybody else controls it."""
    client = run("""
        import ipycron, sys
        def tick():
            print("tick")
        task = ipycron.schedule(
            "* * * * * *", tick, name="tick", keep=True, background=True
        )
        print("kept", flush=True)
        sys.stdin.readline()
    """)
    assert client.stdout.readline() == "kept\n"
    client.send_signal(number)
    try:
        task = ipycron.get_task("tick")
        before = task.history.total
        eventually(lambda: task.history.total > before + 1, "two runs")
        task.destroy().result(SECONDS)
    finally:
        client.kill()
        client.communicate()


def test_schedule_of_a_kept_task_is_changed_for_everyone(service):
    """By whoever calls `reschedule`, also in the store."""
    keep()
    finish(
        run("""
            import ipycron
            task = ipycron.get_task("sum")
            task.reschedule("*/7 * * * *")
            task.execute().result(60)
        """)
    )
    task = ipycron.get_task("sum")
    eventually(lambda: task.pattern == "*/7 * * * *", "the new schedule")
    leave()
    assert ipycron.get_task("sum").pattern == "*/7 * * * *"


def test_stop_and_start_by_another_process(service):
    """`await stop()` returns when the service has stopped it."""
    task = keep(when="* * * * * *")

    async def stop():
        await ipycron.get_task("sum").stop()

    asyncio.run(stop())
    assert task.status == "stopped"
    assert task.next_run is None
    task.start().result(SECONDS)
    assert task.next_run is not None


def test_history_of_runs_before_comes_with_the_task(service):
    """How they ended, not what they returned."""
    task = keep()
    for _ in range(3):
        task.execute().result(SECONDS)
    leave()
    task = ipycron.get_task("sum")
    assert len(task.history) == 3
    assert [run.summary for run in task.history] == ["42"] * 3
    assert isinstance(task.last_run.result, ipycron.Unserializable)


def test_count_of_runs_before_comes_with_the_task(service, tmp_path):
    """Also of those that are not remembered; every run after it counts as one."""
    notes = tmp_path / "notes"

    def fail_every_fifth():
        with notes.open("a") as file:
            file.write(".")
        if notes.stat().st_size % 5 == 0:
            raise ValueError

    task = keep(fail_every_fifth)
    for _ in range(MAX_RUNS + 5):
        task.execute().exception(SECONDS)
    for _ in range(2):  # attaching again counts nothing twice
        leave()
        history = ipycron.get_task("sum").history
        assert len(history) == MAX_RUNS
        assert (history.finished, history.failed) == (20, 5)
    ipycron.get_task("sum").execute().exception(SECONDS)
    assert ipycron.get_task("sum").history.total == MAX_RUNS + 6


def test_history_has_the_row_of_a_run_that_has_just_ended(service):
    """The service writes it before it is read, as a supervisor does."""
    task = keep()
    for count in range(1, 6):
        task.execute().result(SECONDS)
        assert len(ipycron.history("sum")) == count


def test_slots_of_the_past_are_run_by_the_service(service):
    """`backfill` of a kept task, from any process; each slot once."""
    task = keep(lambda context: context.date.minute, when="*/20 * * * *")
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    day = now.date() - timedelta(days=2)
    slots = f"{day}T00:00", f"{day}T00:59"
    assert task.backfill(*slots).wait(SECONDS)
    assert task.last_run.result == 40
    rows = [run for run in ipycron.history("sum") if run.trigger == "backfill"]
    assert sorted(run.slot.minute for run in rows) == [0, 20, 40]
    leave()
    assert ipycron.get_task("sum").backfill(*slots, dry_run=True) == []


def test_log_records_of_a_kept_job_reach_its_clients(service, caplog):
    """As those of any background task; what happens to the task, its service logs."""

    def warn():
        logging.getLogger("job").warning("low tide")
        raise ValueError("no water")

    task = keep(warn)
    with pytest.raises(ValueError, match="no water"):
        task.execute().result(SECONDS)
    eventually(lambda: "low tide" in caplog.text, "the record")
    assert "a run failed" not in caplog.text


def test_failure_of_a_kept_run_is_raised_where_it_was_requested(service):
    """With the worker's traceback; other clients see the row."""

    def fail():
        raise LookupError("no such thing")

    task = keep(fail)
    with pytest.raises(LookupError, match="no such thing"):
        task.execute().result(SECONDS)
    leave()
    (past,) = ipycron.get_task("sum").history
    assert past.outcome == "failed"
    assert past.summary == "LookupError: no such thing"


# --- the end of the service -----------------------------------------------------------


def test_client_follows_a_service_that_was_killed_and_started_again(service):
    """K6: the handle is the same, its runs go on."""
    task = keep(when="* * * * * *")
    eventually(lambda: task.history.total, "a run")
    service.kill()
    service.start()
    before = task.history.total
    eventually(lambda: task.history.total > before + 1, "runs in the new service")
    assert ipycron.get_task("sum") is task
    assert task.execute().result(SECONDS) == 42


def test_run_in_a_service_that_is_killed_fails_where_it_is_awaited(service, tmp_path):
    """It cannot be known whether it ended."""
    begun = tmp_path / "begun"

    def wait():
        begun.touch()
        threading.Event().wait(600)

    call = keep(wait).execute()
    eventually(begun.exists, "the run")
    service.kill()
    with pytest.raises(ServiceLost):
        call.result(SECONDS)


def test_tasks_of_a_service_that_ended_are_shown_as_stopped(service):
    """`next_run` must not promise what nobody keeps; the error says what to do."""
    task = keep(when="* * * * * *")
    assert service.end()
    eventually(lambda: task.status == "stopped", "the end", SECONDS)
    assert task.next_run is None
    assert str(task.start_error) == (
        "the service of kept tasks: it does not run, so its tasks do not: "
        "`ipycron service start` starts it again."
    )
    with pytest.raises(ServiceError, match="ipycron service start"):
        task.execute().result(SECONDS)
    with pytest.raises(ServiceError, match="ipycron service start"):
        task.start().result(SECONDS)
    service.start()
    eventually(lambda: task.status != "stopped", "the return", SECONDS)
    assert task.next_run is not None
    assert task.start_error is None


def test_task_destroyed_while_a_client_was_away_is_gone(service):
    """A client that comes back learns what ended meanwhile."""
    task = keep()
    kept = registry.client.get_kept()
    # As if the connection had been lost: the service drops clients that hang.
    registry.client.submit(lambda: kept._link._channel._sock.shutdown(2))
    finish(run("import ipycron; ipycron.get_task('sum').destroy().result(60)"))
    eventually(lambda: task.status == "destroyed", "the destroy", SECONDS)


# --- the end of a client --------------------------------------------------------------


def test_shutdown_ends_own_tasks_and_leaves_kept_ones(service):
    """Their handles say where to find them again."""
    own = ipycron.schedule(NEVER, add, name="own")
    task = keep()
    ipycron.shutdown()
    assert own.status == "destroyed"
    with pytest.raises(ServiceLost, match=r"ipycron.get_task\('sum'\)"):
        task.execute().result(SECONDS)
    task.stop().result(SECONDS)
    assert ipycron.get_task("sum").is_started


def test_forked_child_has_a_connection_of_its_own(service):
    """The parent's is not touched by what the child does."""
    task = keep()
    child = os.fork()  # noqa: TID251 - what a program does
    if not child:
        code = 1
        try:
            try:
                task.execute()
                task.execute().result(SECONDS)
            except TaskNotInherited:
                found = ipycron.get_task("sum")
                code = 0 if found.execute().result(SECONDS) == 42 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert task.execute().result(SECONDS) == 42


@pytest.mark.usefixtures("unstarted")
def test_user_without_kept_tasks_starts_no_service(service):
    """Nor does anything that looks for one."""
    ipycron.schedule(NEVER, add, name="own")
    assert [task.name for task in ipycron.get_tasks().values()] == ["own"]
    assert not service.places.folder.exists()
    with pytest.raises(ServiceError, match="it does not run"):
        attach()
    assert VARIABLE in os.environ


@pytest.mark.usefixtures("unstarted")
def test_user_without_kept_tasks_loads_nothing_of_the_service(service):
    """One look at the disk: neither platformdirs nor the protocol."""
    loaded = finish(
        run("""
            import sys
            import ipycron
            ipycron.schedule("0 0 1 1 *", len, name="own")
            ipycron.get_tasks()
            ipycron.shutdown()
            names = "ipycron.client.kept", "ipycron.process.service", "platformdirs"
            print(*(name for name in sys.modules if name.startswith(names)))
        """)
    )
    (names,) = loaded
    assert set(names.split()) <= {
        "ipycron.process.service",
        "ipycron.process.service.presence",
    }


def test_task_is_kept_by_an_asyncio_program(service):
    """In a thread, as the call blocks; its end is awaited on the loop."""

    async def main():
        task = await asyncio.to_thread(keep)
        value = await task.execute()
        await ipycron.shutdown_async()
        return value

    assert asyncio.run(main()) == 42
    assert ipycron.get_task("sum").is_started


def test_service_that_hangs_delays_nobody_for_long(service):
    """A stopped service is reported once, and own tasks are listed."""
    keep()
    leave()
    ipycron.schedule(NEVER, add, name="own")
    os.kill(service.pid, signal.SIGSTOP)
    try:
        assert [task.name for task in ipycron.get_tasks().values()] == ["own"]
        with pytest.raises(ServiceError, match="does not answer"):
            attach()
    finally:
        os.kill(service.pid, signal.SIGCONT)


def test_service_of_another_version_says_which_is_older(service, monkeypatch):
    """K7: and what to do; its tasks go on."""
    keep()
    leave()
    forget_looks()
    monkeypatch.setattr(ipycron, "__version__", "9.9.9")
    with pytest.raises(
        ServiceError,
        match=r"the service is older: it runs ipycron 0.*ipycron service restart",
    ):
        keep(name="other")
    monkeypatch.undo()
    for name, value in service.env.items():
        monkeypatch.setenv(name, value)
    leave()
    forget_looks()
    assert [task.name for task in ipycron.get_tasks().values()] == ["sum"]


def test_listeners_of_all_tasks_hear_of_kept_ones(service):
    """Also if nothing has asked for them before."""
    keep()
    leave()
    heard = []
    ipycron.on("execution:finished", lambda context: heard.append(context.task.name))
    ipycron.get_task("sum").execute().result(SECONDS)
    eventually(lambda: heard == ["sum"], "the event")


def test_waiting_for_all_tasks_does_not_wait_for_kept_ones(service):
    """A script would never end."""
    keep(when="* * * * * *")
    own = ipycron.schedule("* * * * * *", add, name="own", max_executions=1)
    assert ipycron.wait(timeout=SECONDS)
    assert own.status == "destroyed"
    assert not ipycron.wait(ipycron.get_task("sum"), timeout=0.1)


DECLARE = """
import ipycron, sys
print("declares", flush=True)
ipycron.schedule(
    "0 0 1 1 *", int, args=[sys.argv[1]], name="sum", keep=True, background=True,
    start_timeout=60,
)
"""


def test_client_killed_while_it_declares_leaves_the_old_task_or_the_new_one(service):
    """K6: whole, whatever it had sent by then; and nothing else."""
    keep(int, args=["0"])
    leave()
    for number in range(1, choose(short=8, full=100)):
        client = run(DECLARE, str(number))
        assert client.stdout.readline() == "declares\n"
        pause(random.uniform(0, 0.25))
        client.kill()
        client.communicate()
        # One that was received may still be loading, and be the task only later.
        assert execute_only_task() in range(number + 1)
        leave()


def execute_only_task():
    """Return what the one kept task returns; again if it is replaced meanwhile."""
    end = time.monotonic() + SECONDS
    while True:
        (task,) = attach().values()
        try:
            return task.execute().result(SECONDS)
        except (TaskDestroyed, TaskNotStarted):
            assert time.monotonic() < end
            pause(0.01)


def test_interrupted_declaration_can_be_repeated(service):
    """Ctrl-C while it waits for the service; the task is kept or not, and whole."""
    keep(int, args=["0"])
    leave()
    client = run(DECLARE, "1")
    assert client.stdout.readline() == "declares\n"
    pause(0.1)
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=SECONDS)
    assert keep(int, args=["2"]).execute().result(SECONDS) == 2
    leave()
    assert [task.name for task in ipycron.get_tasks().values()] == ["sum"]


def test_panel_says_that_a_task_is_kept(service):
    """Beside its status; the table says so, too."""
    task = keep()
    assert describe_task(task, 0.0)["place"] == "service"
    assert "idle, kept" in repr(ipycron.get_tasks())
    assert repr(task).startswith("<Task 'sum' kept idle, next ")


def test_two_declare_one_name_at_once(service):
    """One of them remains, whole."""
    keep()
    code = """
        import ipycron, sys
        ipycron.schedule("0 0 1 1 *", int, args=[sys.argv[1]], name="sum", keep=True,
                         background=True, start_timeout=60)
    """
    for process in [run(code, str(number)) for number in range(4)]:
        finish(process)
    leave()
    (task,) = ipycron.get_tasks().values()
    assert task.execute().result(SECONDS) in range(4)


def test_run_that_has_written_much_keeps_no_client_out(service, tmp_path):
    """Whoever attaches meanwhile sees all of it, and can end it."""
    job = tmp_path / "loud.py"
    job.write_text(
        "import time, pathlib\n"
        "print('line\\n' * 60_000)\n"
        f"pathlib.Path({str(tmp_path / 'written')!r}).touch()\n"
        "time.sleep(600)\n"
    )
    keep(job, name="loud").execute()
    wait_for(tmp_path, "written")
    lines = finish(
        run("""
            import ipycron, time
            task = ipycron.get_task("loud")
            (run,) = task.running
            deadline = time.monotonic() + 60
            while run.output.stdout.count("line") < 60_000:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            task.stop(force=True).result(60)
            print(task.status)
        """)
    )
    assert lines == ["stopped"]
