"""What befalls a machine: a full disk, an upgrade, a gone module; and its clients."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from kept_service import PATIENCE, declare_file
from lengths import choose
from polling import eventually, pause

from ipycron.errors import ServiceError
from ipycron.process.wire.protocol import Pausing
from ipycron.runlog.reading import Query, read_history
from ipycron.scheduling.events import Pause

COMMAND = [sys.executable, "-P", "-m", "ipycron"]


def run(service, *words):
    """Run a command; return its exit code, stdout and stderr."""
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
        env={**os.environ, **service.env},
    )
    return done.returncode, done.stdout, done.stderr


def check_books(service, slots, last):
    """Check that each slot up to `last` has run once or has a row."""

    def find_lost():
        ran = set(slots.read())
        rows = {
            int(row.slot.timestamp()) - back
            for row in read_history(service.history, Query(names=("report",)))
            for back in range(row.missed_count or 1)
        }
        return sorted(set(range(min(ran), last + 1)) - ran - rows)

    eventually(lambda: not find_lost(), lambda: f"lost: {find_lost()}", PATIENCE)
    assert slots.find_doubled() == []


# --- a full disk ----------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(pid):
    """Let a process write nothing more, to no file, as if its disk were full."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits other processes")
def test_full_disk_keeps_nothing_by_half(service, slots, tmp_path):
    """The declaration fails with the reason; what is kept goes on, then the next is."""
    service.start()
    client = service.attach()
    old = client.declare(declare_file(slots.job, "report"))
    other = tmp_path / "other.py"
    other.write_text("def task(): raise ValueError\n")
    with full_disk(service.pid):
        for name in ("report", "new"):
            with pytest.raises(ServiceError, match=r"free some space|its disk"):
                client.declare(declare_file(other, name))
        last = max(slots.read(), default=0)
        eventually(lambda: max(slots.read(), default=0) > last, "it goes on", PATIENCE)
        assert set(client.tasks) == {old}
    new = client.declare(declare_file(slots.job, "new"))
    service.kill()
    service.start()
    assert set(service.attach().tasks) == {old, new}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits other processes")
def test_full_disk_is_the_answer_to_a_stop_and_a_pause(service, slots):
    """Both take effect, but whoever asked is told that they may not last."""
    service.start()
    client = service.attach()
    ids = [client.declare(declare_file(slots.job, name)) for name in ("a", "b")]
    paused = Pause(since=1.0, note="the disk")
    with full_disk(service.pid):
        with pytest.raises(ServiceError, match="done, but not stored: "):
            client.control(ids[0], "stop")
        with pytest.raises(ServiceError, match="done, but not stored: "):
            client.request(lambda n: Pausing(n, ids[1], paused))
        assert client.status().store_error
    eventually(lambda: not client.status().store_error, "saved", PATIENCE)
    service.kill()
    service.start()
    client = service.attach()
    assert client.find("a").state.status == "stopped"
    assert client.find("b").state.pause.note == "the disk"


# --- an upgrade -----------------------------------------------------------------------


def test_restart_waits_for_a_run_in_progress(service, slots, tmp_path):
    """It ends as it would have; other tasks lose no slot and run none twice (K7)."""
    begun, ended = tmp_path / "slow begun", tmp_path / "slow ended"
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, time\n"
        "def task():\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n"
        "    time.sleep(4)\n"
        f"    pathlib.Path({str(ended)!r}).touch()\n"
    )
    service.start()
    client = service.attach()
    client.declare(declare_file(slots.job, "report"))
    client.declare(declare_file(slow, "slow", max_executions=1))
    eventually(begun.exists, "a run", PATIENCE)
    before = service.pid
    code, said, error = run(service, "service", "restart")
    assert (code, error) == (0, "")
    assert ended.exists()
    assert service.pid != before
    assert f"instead of {before}" in said
    client = service.attach()
    last = max(eventually(slots.read, "a slot", PATIENCE))
    eventually(lambda: max(slots.read()) > last + 2, "it goes on", PATIENCE)
    check_books(service, slots, last)
    assert client.find("slow") is None  # its only run is over
    (row,) = read_history(service.history, Query(names=("slow",)))
    assert row.outcome == "finished"


@pytest.mark.parametrize("what", ["service", "both"])
def test_kill_during_a_restart_loses_and_doubles_nothing(service, slots, what):
    """Whether the old service is about to end, or the new one has just begun."""
    draw = random.Random(11)
    service.start()
    service.attach().declare(declare_file(slots.job, "report", catch_up="all"))
    eventually(slots.read, "a run", PATIENCE)
    for _ in range(choose(3, 50)):
        restarting = threading.Thread(target=run, args=(service, "service", "restart"))
        restarting.start()
        pause(draw.uniform(0, 2))
        for process in service.find_family()[: 1 if what == "service" else 2]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        restarting.join(2 * PATIENCE)
        service.start()
    client = service.attach()
    known = client.find("report")
    client.wait_for("execution:finished", known.declaration.register.task_id)
    last = max(slots.read())
    eventually(lambda: max(slots.read()) > last + 2, "it goes on", PATIENCE)
    check_books(service, slots, last)
    client.control(known.declaration.register.task_id, "destroy")


# --- killed clients -------------------------------------------------------------------

STEPS = """
import itertools, sys
import ipycron

print("begins", flush=True)
for number in itertools.count(1):
    task = ipycron.schedule(
        "0 0 1 1 *", int, args=[number], name="sum", keep=True, background=True,
        start_timeout=60,
    )
    task.pause().result(60)
    task.stop().result(60)
    task.start().result(60)
    task.resume().result(60)
    if number % 2:
        task.destroy().result(60)
"""


def test_client_that_is_killed_in_any_step_leaves_no_ruin(service):
    """Declaring, pausing, stopping, replacing, destroying: each is done or is not."""
    draw = random.Random(12)
    service.start()
    for number in range(choose(5, 100)):
        with subprocess.Popen(
            [sys.executable, "-c", STEPS],
            stdout=subprocess.PIPE,
            env={**os.environ, **service.env},
        ) as client:
            assert client.stdout.readline() == b"begins\n"
            pause(draw.uniform(0, 2))
            client.send_signal(signal.SIGKILL)
        looking = service.attach()
        assert len(looking.tasks) <= 1, f"round {number}"
        status = looking.status()
        assert status.failed == ()
        assert status.store_error == ""
        looking.close()
    client = service.attach()
    for task_id in list(client.tasks):
        client.control(task_id, "destroy")
    assert client.status().tasks == 0


# --- what is no longer there ----------------------------------------------------------


def test_task_whose_module_is_gone_fails_alone(service, slots, tmp_path):
    """It says why; it goes on when the module is back and it is started (K6)."""
    module = tmp_path / "kept_job_of_a_module.py"
    note = tmp_path / "note"
    module.write_text(f"def work():\n    open({str(note)!r}, 'w').close()\n")
    declare = (
        "import ipycron, kept_job_of_a_module as module\n"
        "ipycron.schedule('* * * * * *', module.work, name='gone', keep=True,"
        " background=True, start_timeout=60)\n"
    )
    service.start()
    service.attach().declare(declare_file(slots.job, "report"))
    env = {**os.environ, **service.env, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", declare], check=True, env=env)
    eventually(note.exists, "a run", PATIENCE)
    text = module.read_text()
    module.unlink()
    service.kill()
    service.start()
    client = service.attach()
    (failed,) = eventually(lambda: client.status().failed, "it fails", PATIENCE)
    assert failed.name == "gone"
    assert "kept_job_of_a_module" in failed.reason
    last = max(slots.read())
    eventually(lambda: max(slots.read()) > last, "the other one runs", PATIENCE)
    module.write_text(text)
    note.unlink(missing_ok=True)
    client.control(client.find("gone").declaration.register.task_id, "start")
    eventually(note.exists, "it runs again", PATIENCE)
    assert client.status().failed == ()
