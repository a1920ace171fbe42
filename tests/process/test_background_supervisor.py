"""The supervisor is lost or suspended: what resumes, and what is not repeated."""

import itertools
import os
import resource
import signal
import threading
from datetime import timedelta

import pytest
from fresh import run_fresh
from house import EVERY_SECOND, NEVER, Record, drain, submit_to_client
from polling import SECONDS, eventually, pause

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import SupervisorLost
from ipycron.scheduling.clock import SystemClock

PID = "import os\ndef task():\n    return os.getpid()\n"
SLOW = "import time\ndef task():\n    time.sleep(60)\n"


def strike(number=signal.SIGKILL):
    """Send the supervisor a signal, right after all earlier requests."""
    struck = threading.Event()
    client = registry.client

    def send():
        os.kill(client.supervisor_pid, number)
        struck.set()

    submit_to_client(send)
    assert struck.wait(SECONDS)


def start(path, expression=NEVER, **options):
    """Return a started task."""
    task = ipycron.create_task(expression, path, **options)
    task.start().result(SECONDS)
    return task


def test_tasks_resume_and_runs_in_progress_fail(write):
    """Each started task is restarted once; a lost run fails with the reason."""
    idle = start(write(PID, "pid.py"))
    busy = start(write(SLOW, "slow.py"))
    stopped = ipycron.create_task(NEVER, write(PID, "pid.py"))
    records = [Record(task) for task in (idle, busy, stopped)]
    run = busy.execute()
    records[1].wait("execution:started")
    strike()
    with pytest.raises(SupervisorLost):
        run.result(SECONDS)
    for record in records[:2]:
        (restarted,) = record.wait("task:restarted")
        assert isinstance(restarted.error, SupervisorLost)
    assert idle.execute().result(SECONDS)
    assert [task.status for task in (idle, busy, stopped)] == [
        *("idle", "idle", "stopped")
    ]
    records[1].expect("execution:started", "execution:failed", "task:restarted")
    assert "task:started" not in records[0].names
    records[2].expect()


def test_limit_goes_on_where_it_was(write):
    """After one of three runs, two are left with the new supervisor."""
    task = ipycron.create_task(EVERY_SECOND, write(PID), max_executions=3)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:finished")
    strike()
    record.wait("task:destroyed")
    drain()
    assert record.names.count("execution:started") == 3, record.names
    assert record.names[-3:] == [
        *("execution:max_reached", "task:stopped", "task:destroyed")
    ]
    assert task.runs_left == 0


def test_task_is_over_when_its_last_run_is_lost(write):
    """A limit that was reached is reported even if the last run was lost."""
    task = ipycron.create_task(EVERY_SECOND, write(SLOW), max_executions=1)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:started")
    strike()
    record.wait("task:destroyed")
    drain()
    assert [name for name in record.names if name != "execution:missed"] == [
        *("task:started", "execution:started", "execution:failed"),
        *("execution:max_reached", "task:stopped", "task:destroyed"),
    ]
    assert task.id not in ipycron.get_tasks()


def test_latest_request_counts_when_it_was_not_answered(write):
    """A stop or destroy is done; a start continues with the next supervisor."""
    path = write(PID)
    stopped, destroyed = start(path), start(path)
    starting = ipycron.create_task(NEVER, path)
    records = [Record(task) for task in (stopped, destroyed, starting)]
    words = [stopped.stop(), destroyed.destroy(), starting.start()]
    strike()
    for word in words:
        word.result(SECONDS)
    assert starting.execute().result(SECONDS)
    assert [task.status for task in (stopped, destroyed, starting)] == [
        *("stopped", "destroyed", "idle")
    ]
    records[0].expect("task:stopped")
    records[1].expect("task:stopped", "task:destroyed")
    assert records[2].names[0] == "task:started"


def test_run_that_had_not_begun_is_refused(write):
    """A caller whose run was never started gets the loss as its error."""
    task = ipycron.create_task(NEVER, write("import time\ntime.sleep(60)\n" + PID))
    task.start()
    run = task.execute()
    strike()
    with pytest.raises(SupervisorLost):
        run.result(SECONDS)


def test_shutdown_replaces_no_supervisor(write):
    """A supervisor lost during a shutdown is not replaced."""
    task = start(write(SLOW))
    record = Record(task)
    run = task.execute()
    record.wait("execution:started")
    pid = registry.client.supervisor_pid
    background = registry.client._engine.background

    def kill():
        eventually(lambda: background.is_closed, "the shutdown begins")
        pause(0.2)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    ipycron.shutdown()
    killer.join()
    assert task.status == "destroyed"
    assert isinstance(run.exception(0), SupervisorLost)
    record.expect(
        *("execution:started", "execution:failed"), *("task:stopped", "task:destroyed")
    )


def test_missed_slots_are_reported_one_by_one_when_the_supervisor_slept(write):
    """After five seconds of SIGSTOP: older slots missed, the newest run once."""
    task = start(write(PID), EVERY_SECOND)
    record = Record(task)
    record.wait("execution:finished")
    pid = registry.client.supervisor_pid
    os.kill(pid, signal.SIGSTOP)
    stopped = SystemClock().now()
    pause(5)
    resumed = SystemClock().now()
    os.kill(pid, signal.SIGCONT)
    missed = record.wait("execution:missed", 3)
    last = missed[-1].date
    eventually(lambda: record.of("execution:finished")[-1].date > last)
    task.destroy().result(SECONDS)
    drain()
    missed, started = record.of("execution:missed"), record.of("execution:started")
    assert [context.missed_count for context in missed] == [1] * len(missed)
    slots = sorted(context.date for context in missed + started)
    assert len(set(slots)) == len(slots), "no slot twice"
    steps = {later - slot for slot, later in itertools.pairwise(slots)}
    assert steps == {timedelta(seconds=1)}, "no slot without a word"
    # A worker may have stood by for the first slot after the stop.
    begun = [c.date.timestamp() for c in started if c.date.timestamp() > stopped + 1]
    assert min(begun) >= int(resumed), "no older slot than the newest"


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_job_keeps_the_clients_limit_of_open_files(write, launcher):
    """Only the supervisor itself raises its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        task = start(
            write("""
                import resource
                def task():
                    return resource.getrlimit(resource.RLIMIT_NOFILE)
            """),
            launcher=launcher,
        )
        assert task.execute().result(SECONDS) == (512, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


LATE = """
import os, time
fork = os.fork
def fork_and_dawdle():
    pid = fork()
    if pid:
        time.sleep(0.5)
    return pid
os.fork = fork_and_dawdle
"""
QUICK = """
import json, pathlib, ipycron
task = ipycron.create_task("0 0 1 1 *", pathlib.Path({path!r}))
task.start().result(20)
pid = task.execute().result(20)
print(json.dumps([pid, task.last_run.pid]))
ipycron.shutdown()
"""


def test_run_has_its_process_when_the_worker_is_quicker_than_the_zygote(
    write, tmp_path, monkeypatch
):
    """A worker may have loaded its job before the zygote has sent its pid."""
    (tmp_path / "sitecustomize.py").write_text(LATE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = write("import os\ndef task():\n    return os.getpid()\n")
    pid, told = run_fresh(QUICK.format(path=str(path)))
    assert told == pid
