"""Tasks that a service keeps: they outlive whoever declared them (K2, K5 to K8)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from kept_service import PATIENCE, declare_file
from polling import eventually, pause

from ipycron.errors import ServiceError
from ipycron.process.service import launch
from ipycron.process.service.paths import EXIT_HELD, find_socket
from ipycron.process.service.protocol import Declare, Rescheduling
from ipycron.process.wire.outcome import decode_result
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Execute, Pausing, Refused
from ipycron.runlog.reading import Query, read_history
from ipycron.scheduling.events import Pause
from ipycron.service.keeper import STARTS_AT_ONCE


def test_task_goes_on_without_its_client(service, slots):
    """Nothing of the process that declared it is needed."""
    service.start()
    first = service.attach()
    task_id = first.declare(declare_file(slots.job, "report"))
    first.close()
    eventually(lambda: len(slots.read()) >= 3, "three runs", PATIENCE)
    second = service.attach()
    known = second.tasks[task_id]
    assert known.is_initial
    assert known.declaration.register.name == "report"
    assert known.state.runs
    assert second.wait_for("execution:finished", task_id).is_ok
    slots.check()


def test_output_and_log_of_a_run_are_kept_without_a_client(service, tmp_path):
    """What it wrote is in the history, what it logged in the service's log."""
    job = tmp_path / "job.py"
    job.write_text(
        "import logging, sys\n"
        "def task():\n"
        "    print('printed'); print('complained', file=sys.stderr)\n"
        "    logging.getLogger('mine').warning('two\\nlines of %s', 'it')\n"
        "    logging.getLogger('mine').info('not wanted where it was declared')\n"
    )
    service.start()
    client = service.attach()
    client.declare(declare_file(job, "report", max_executions=1))
    client.close()

    def find_run():
        found = read_history(service.history, Query(names=("report",)))
        return found[0] if found and found[0].outcome == "finished" else None

    run = eventually(find_run, "a run", PATIENCE)
    assert sorted(run.output.split()) == ["complained", "printed"]

    def read_log():
        return service.places.log.read_text()

    said = "WARNING task 'report', mine: two\nlines of it\n"
    assert eventually(lambda: said in read_log(), "a line", PATIENCE)
    assert "not wanted" not in read_log()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ipycron", "logs", "report"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env={**os.environ, **service.env},
    )
    assert "printed" in done.stdout
    assert "complained" in done.stdout


def test_service_is_nobodys_child(service):
    """It has a session of its own, no terminal, and a hang-up does not end it."""
    service.start()
    process = psutil.Process(service.pid)
    assert process.ppid() != os.getpid()
    assert os.getsid(process.pid) not in (os.getsid(0), process.pid)
    assert process.terminal() is None
    process.send_signal(signal.SIGHUP)
    assert service.attach().status().greeting.pid == process.pid


def test_environment_is_shown_to_nobody(service, slots):
    """What clients get of a task does not hold its variables."""
    service.start()
    declaration = declare_file(slots.job, "report")
    declaration.register.setting.env[b"SECRET"] = b"hunter2"
    service.attach().declare(declaration)
    (known,) = service.attach().tasks.values()
    assert known.declaration.register.setting.env == {}


def test_tasks_are_back_after_a_kill(service, slots, tmp_path):
    """Same id, same state; the run in progress is lost, and has a row that says so."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\ndef task():\n    print('begun')\n    time.sleep(99)\n"
    )
    service.start()
    client = service.attach()
    quick = client.declare(declare_file(slots.job, "quick"))
    paused = client.declare(declare_file(slots.job, "paused"))
    stopped = client.declare(declare_file(slots.job, "stopped"))
    limited = client.declare(declare_file(slow, "limited", max_executions=5))
    client.request(lambda n: Pausing(n, paused, Pause(since=1.0, note="not now")))
    client.control(stopped, "stop")
    client.wait_for("execution:started", limited)
    client.wait_for("execution:finished", quick)
    client.wait_for("execution:finished", quick)
    before = service.pid
    service.kill()
    client.close()
    assert service.start() != before
    client = service.attach()
    assert set(client.tasks) == {quick, paused, stopped, limited}
    assert client.find("paused").state.pause.note == "not now"
    assert client.wait_for("execution:finished", quick).is_ok
    assert client.find("stopped").state.status == "stopped"
    assert client.find("limited").state.runs_left < 5
    client.control(limited, "destroy", force=True)
    rows = read_history(service.history, Query(names=("limited",)))
    assert "lost" in [row.outcome for row in rows]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def task(:\n", "syntax"),
        ("import no_such_module\ndef task(): 1\n", "no_"),
    ],
)
def test_old_task_goes_on_if_the_new_one_cannot_be_loaded(
    service, slots, tmp_path, source, reason
):
    """The error is the answer, and no slot of the old one is lost."""
    service.start()
    client = service.attach()
    old = client.declare(declare_file(slots.job, "report"))
    client.wait_for("execution:finished", old)
    broken = tmp_path / "broken.py"
    broken.write_text(source)
    with pytest.raises(Exception, match=reason):
        client.declare(declare_file(broken, "report"))
    client.wait_for("execution:finished", old)
    client.wait_for("execution:finished", old)
    assert list(service.attach().tasks) == [old]
    slots.check()


def test_replacement_loses_and_doubles_no_slot(service, slots):
    """The new one is loaded first, and takes over between two slots."""
    service.start()
    client = service.attach()
    for _ in range(8):
        task_id = client.declare(declare_file(slots.job, "report"))
    client.wait_for("execution:finished", task_id)
    client.wait_for("execution:finished", task_id)
    assert list(client.tasks) == [task_id]
    client.control(task_id, "destroy")
    slots.check()


@pytest.mark.parametrize("state", ["waiting", "stopped", "failed"])
def test_replacement_of_a_task_that_has_not_started_again(service, slots, state):
    """The service was killed; it has just begun to start its tasks, or never will."""
    service.start()
    client = service.attach()
    slow = slots.job.with_name("slow.py")
    slow.write_text("import time\ntime.sleep(0.3)\ndef task():\n    pass\n")
    if state == "waiting":  # more than are started at once
        for number in range(2 * STARTS_AT_ONCE):
            client.declare(declare_file(slow, f"task-{number}", "0 0 1 1 *"))
    job = slow if state == "failed" else slots.job
    when = "* * * * * *" if state == "waiting" else "0 0 1 1 *"
    is_started = state != "stopped"
    client.declare(declare_file(job, "report", when, is_started=is_started))
    service.kill()
    if state == "failed":
        slow.unlink()
    service.start()
    client = service.attach()
    if state == "failed":
        eventually(lambda: client.status().failed, "the failure", PATIENCE)
    task_id = client.declare(declare_file(slots.job, "report"))
    client.wait_for("execution:finished", task_id)
    client.wait_for("execution:finished", task_id)
    assert client.find("report").declaration.register.task_id == task_id
    assert not client.status().failed
    client.control(task_id, "destroy")
    assert slots.find_doubled() == []


def test_replacement_goes_on_if_the_supervisor_is_lost(service, slots):
    """It loads the new one, and may have run the old one, or not again yet."""
    draw = random.Random(9)
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))

    def kill(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    for _ in range(8):
        supervisor = eventually(
            lambda: client.status().supervisor, "a supervisor", PATIENCE
        )
        timer = threading.Timer(draw.uniform(0, 0.3), kill, (supervisor,))
        timer.start()
        for _ in range(2):
            task_id = client.declare(declare_file(slots.job, "report"))
        timer.join(PATIENCE)
        client.wait_for("execution:finished", task_id)
    assert list(client.tasks) == [task_id]
    client.control(task_id, "destroy")
    assert slots.find_doubled() == []


def test_slot_without_a_supervisor_is_run_by_the_old_task_or_the_new_one(
    service, slots
):
    """By the file, the old one is over; but it comes back with the next supervisor."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    for _ in range(3):
        client.wait_for("execution:finished", task_id)
        supervisor = client.status().supervisor
        pause((0.85 - time.time() % 1) % 1)  # noqa: TID251 - the slots' clock
        os.kill(supervisor, signal.SIGKILL)
        task_id = client.declare(declare_file(slots.job, "report"))
    client.wait_for("execution:finished", task_id)
    client.control(task_id, "destroy")
    assert slots.find_doubled() == []


def test_restart_loses_and_doubles_no_slot(service, slots):
    """What fell into the time between the two services is made up for."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    client.wait_for("execution:finished", task_id)
    for _ in range(3):
        family = service.find_family()
        family[0].terminate()
        psutil.wait_procs(family, PATIENCE)
        assert find_socket(service.places) is None
        service.start()
        last = max(slots.read())
        # The second one is on time; what has to be made up for is a run of its own.
        eventually(lambda last=last: slots.is_whole(last + 3), "no gap", PATIENCE)
    client = service.attach()
    client.wait_for("execution:finished", task_id)
    client.control(task_id, "destroy")
    slots.check()


def test_destroyed_task_stays_gone(service, slots):
    """Also after a kill right behind the answer."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report"))
    client.control(task_id, "destroy")
    service.kill()
    service.start()
    assert not service.attach().tasks


def test_two_clients_see_the_same(service, slots):
    """One declares, runs and ends a task, the other one follows it."""
    service.start()
    one, other = service.attach(), service.attach()
    task_id = one.declare(declare_file(slots.job, "report", "0 0 1 1 *"))
    one.channel.send(Execute(task_id, "run-1"))
    begun = other.wait_for("execution:started", task_id)
    assert begun.execution.id == "run-1"
    ended = other.wait_for("execution:finished", task_id)
    assert ended.is_ok
    other.control(task_id, "destroy")
    one.wait_for("task:destroyed", task_id)
    assert not one.tasks


def test_result_of_a_call_reaches_its_caller(service, tmp_path):
    """As a worker has sent it."""
    job = tmp_path / "answer.py"
    job.write_text("def task():\n    return {'answer': 42}\n")
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(job, "answer", "0 0 1 1 *"))
    client.channel.send(Execute(task_id, "run-1"))
    while (frame := client.receive()).message.__class__.__name__ != "Noticed" or (
        frame.message.event != "execution:finished"
    ):
        pass
    assert decode_result(frame.payload) == {"answer": 42}


def test_call_of_a_stopped_task_is_refused(service, slots):
    """The caller gets the error, and nobody else anything."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report", is_started=False))
    client.channel.send(Execute(task_id, "run-1"))
    while not isinstance((frame := client.receive()).message, Refused):
        pass
    assert frame.message.execution_id == "run-1"


def test_name_declared_by_two_at_once_is_kept_once(service, slots):
    """Both are answered; the later one is there, and its slots run once."""
    service.start()
    clients = [service.attach() for _ in range(4)]
    errors = []

    def declare(client):
        try:
            client.declare(declare_file(slots.job, "report"))
        except Exception as error:  # noqa: BLE001 - counted
            errors.append(error)

    threads = [threading.Thread(target=declare, args=(c,)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not errors
    client = service.attach()
    (task_id,) = client.tasks
    client.wait_for("execution:finished", task_id)
    client.wait_for("execution:finished", task_id)
    client.control(task_id, "destroy")
    slots.check()


def test_schedule_is_changed_for_good(service, slots):
    """Every client sees it, and the next service has it."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "report", "0 0 1 1 *"))
    other = declare_file(slots.job, "report", "*/1 * * * * *").register
    client.request(lambda n: Rescheduling(n, task_id, other.trigger, other.pattern))
    client.wait_for("execution:finished", task_id)
    service.kill()
    service.start()
    client = service.attach()
    assert client.tasks[task_id].declaration.register.pattern == other.pattern
    client.wait_for("execution:finished", task_id)


def test_task_that_cannot_be_loaded_fails_alone(service, slots, tmp_path):
    """Its file is gone: it says why, the others run, and it can be destroyed."""
    job = tmp_path / "gone.py"
    job.write_text("def task():\n    pass\n")
    service.start()
    client = service.attach()
    gone = client.declare(declare_file(job, "gone"))
    good = client.declare(declare_file(slots.job, "good"))
    service.kill()
    job.unlink()
    service.start()
    client = service.attach()
    client.wait_for("execution:finished", good)
    failed = eventually(lambda: client.status().failed, "the failure", PATIENCE)
    assert [task.name for task in failed] == ["gone"]
    assert "gone.py" in failed[0].reason
    client.control(gone, "destroy")
    assert set(service.attach().tasks) == {good}


def test_end_of_a_task_ends_its_keeping(service, slots):
    """After its last run it is nowhere any more."""
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(slots.job, "twice", max_executions=2))
    client.wait_for("task:destroyed", task_id)
    assert len(slots.read()) == 2
    service.kill()
    service.start()
    assert not service.attach().tasks


def test_there_is_one_service(service, slots):
    """Another one leaves at once; a start finds the first one."""
    pid = service.start()
    service.attach().declare(declare_file(slots.job, "report"))
    assert service.start() == pid
    code = (
        "import sys\n"
        "from ipycron.process.service.paths import find_places\n"
        "from ipycron.service.daemon import serve\n"
        "sys.exit(serve(find_places()))"
    )
    environment = {**os.environ, **service.env}
    second = psutil.Popen([sys.executable, "-c", code], env=environment)
    assert second.wait(PATIENCE) == EXIT_HELD
    assert service.pid == pid


def test_start_says_why_there_is_no_service(service):
    """The reason is that of the service itself; nothing is left running."""
    service.places.folder.mkdir(mode=0o700, parents=True)
    service.places.store.write_bytes(b"no database" * 100)
    with pytest.raises(ServiceError, match="damaged, and is left as it is") as error:
        service.start()
    assert "Traceback" not in str(error.value)
    assert find_socket(service.places) is None


def test_start_says_that_its_log_cannot_be_written(service):
    """As on a read-only file system: with the path, and what to do."""
    service.places.log.mkdir(parents=True)
    with pytest.raises(ServiceError, match=r"its log .*service\.log cannot be written"):
        service.start()
    service.places.log.rmdir()


def test_program_that_hangs_is_an_error_and_is_ended(service, tmp_path, monkeypatch):
    """An interpreter on a file system that does not answer, for example."""
    program, note = tmp_path / "python", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > '{note}'\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setattr(launch, "find_executable", lambda: str(program))
    with pytest.raises(ServiceError, match="does not answer in time"):
        launch.start_service(service.places, 2.0)
    assert not psutil.pid_exists(int(note.read_text()))


def test_many_tasks_are_kept(service, slots):
    """A hundred are declared, and are back after a kill."""
    service.start()
    client = service.attach()
    for number in range(100):
        request = declare_file(slots.job, f"task-{number}", "0 0 1 1 *")
        client.channel.send(Declare(1000 + number, request), Payload())
    eventually(lambda: client.status().tasks == 100, "100 tasks", PATIENCE)
    service.kill()
    service.start()
    client = service.attach()
    assert len(client.tasks) == 100
    deadline = time.monotonic() + PATIENCE
    while not all(k.state.status == "idle" for k in service.attach().tasks.values()):
        assert time.monotonic() < deadline
