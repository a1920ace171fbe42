"""After a restart the service and its clients know the runs before it (K4, K6)."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys

import psutil
import pytest
from kept_service import PATIENCE, declare_file
from polling import eventually

from ipycron.process.wire.protocol import Execute
from ipycron.runlog.reading import Query, read_history

NEVER = "0 0 1 1 *"
PROGRAM = """
import ipycron
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%load_ext ipycron").raise_error()
task = ipycron.get_task("nightly")
last = task.last_run
print(last.outcome, last.error, last.attempt)
print(task.history, task.history.failed)
shell.run_cell("%cron").raise_error()
"""


@pytest.fixture
def job(tmp_path):
    """The path of a file for a job."""
    return tmp_path / "job.py"


def attach_to_armed(kept, name):
    """Return a new client of a service, once it has started that task again."""

    def is_armed():
        with contextlib.closing(kept.attach()) as client:
            return client.find(name).state.status == "idle"

    eventually(is_armed, "it is started again", PATIENCE)
    return kept.attach()


def execute(client, task_id, run_id):
    """Run a task now; return when it is over."""
    client.channel.send(Execute(task_id, run_id))
    while True:
        message = client.receive().message
        run = getattr(message, "execution", None)
        if run is not None and run.id == run_id and run.finished_at is not None:
            return


def find_times(run):
    """Return which run it is, and when it ran; the call of one is in no row."""
    run = run.execution
    return run.id, run.started_at, run.finished_at, run.pid


def kill(service):
    """Kill the service and everything of it, and wait until it is gone."""
    family = service.find_family()
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, PATIENCE)


def wait_for_rows(service, name, count):
    """Wait until the history has that many runs that are over."""
    query = Query(names=(name,))

    def is_written():
        rows = read_history(service.history, query)
        return len([row for row in rows if row.finished_at is not None]) == count

    eventually(is_written, "the rows are written", PATIENCE)


def test_task_that_fails_is_seen_to_fail_after_a_crash(service, job):
    """By `%load_ext`, `task.last_run`, the table of tasks and every other view."""
    job.write_text("raise ValueError('no disk')\n")
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(job, "nightly", NEVER))
    for number in range(3):
        execute(client, task_id, f"run-{number}")
    wait_for_rows(service, "nightly", 3)
    before = service.attach().find("nightly").state
    kill(service)
    service.start()
    after = service.attach().find("nightly").state
    assert list(map(find_times, after.runs)) == list(map(find_times, before.runs))
    assert [run.summary for run in after.runs] == 3 * ["ValueError: no disk"]
    assert after.counts == before.counts
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=80,
        check=True,
        env={**os.environ, **service.env},
    )
    said, last, history, *table = done.stdout.splitlines()
    assert said.endswith("1 task: nightly; failing: nightly (ValueError: no disk)")
    assert last == "failed ValueError: no disk 1"
    assert history == "<History: 3 runs> 3"
    assert "failing" in "".join(table)


def test_run_in_progress_at_a_crash_is_lost_and_has_failed(service, job, tmp_path):
    """It is the last run of its task, and the next one counts after it."""
    began = tmp_path / "began"
    job.write_text(
        "import pathlib, time\n"
        f"file = pathlib.Path({str(began)!r})\n"
        "if not file.exists():\n"
        "    file.touch()\n"
        "    time.sleep(600)\n"
    )
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(job, "nightly", NEVER))
    client.channel.send(Execute(task_id, "run-0"))

    def is_recorded():
        rows = read_history(service.history, Query(names=("nightly",)))
        return began.exists() and [row.outcome for row in rows] == ["running"]

    eventually(is_recorded, "it is recorded", PATIENCE)
    kill(service)
    service.start()
    client = service.attach()
    (run,) = client.find("nightly").state.runs
    assert (run.execution.id, run.is_ok) == ("run-0", False)
    assert run.summary.startswith("SupervisorLost: ")
    client = attach_to_armed(service, "nightly")
    execute(client, task_id, "run-1")
    state = service.attach().find("nightly").state
    assert [(r.execution.id, r.is_ok) for r in state.runs] == [
        ("run-0", False),
        ("run-1", True),
    ]
    assert (state.counts["failed"], state.counts["finished"]) == (1, 1)


def test_only_the_last_runs_come_back_and_all_are_counted(keeper, job):
    """As many as a client keeps; those of a task that was replaced are not its own."""
    job.write_text("")
    keeper.open()
    client = keeper.attach()
    for name in ("plain", "quiet"):
        history = name == "plain"
        task_id = client.declare(declare_file(job, name, NEVER, history=history))
        execute(client, task_id, f"{name}-0")
    old = client.declare(declare_file(job, "replaced", NEVER))
    execute(client, old, "old")
    client.declare(declare_file(job, "replaced", "0 0 2 1 *"))
    keeper.close()
    with contextlib.closing(sqlite3.connect(keeper.history)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        others = ", ".join(c for c in columns if c not in ("id", "at", "slot"))
        copies = [(f"plain-{n}", n, n) for n in range(1, 125)]
        connection.executemany(
            f"INSERT INTO runs (id, at, slot, {others}) "
            f"SELECT ?, at + ?, at + ?, {others} FROM runs WHERE id = 'plain-0'",
            copies,
        )
        connection.commit()
    keeper.open()
    client = keeper.attach()
    plain = client.find("plain").state
    assert [r.execution.id for r in plain.runs] == [
        f"plain-{n}" for n in range(105, 125)
    ]
    assert plain.counts["finished"] == 125
    assert client.find("quiet").state.runs == ()
    assert client.find("replaced").state.runs == ()


def test_service_starts_without_a_history_that_can_be_read(keeper, job, caplog):
    """Damaged or gone: the tasks are there, and it is logged what is not known."""
    job.write_text("")
    keeper.open()
    client = keeper.attach()
    task_id = client.declare(declare_file(job, "nightly", NEVER))
    execute(client, task_id, "run-0")
    keeper.close()
    head = keeper.history.read_bytes()[:100]
    keeper.history.write_bytes(head + b"no page of a database" * 1000)
    keeper.open()
    client = keeper.attach()
    known = client.find("nightly")
    assert (known.state.start_error, known.state.runs) == ("", ())
    assert "the last runs of the tasks are not known: " in caplog.text
    client = attach_to_armed(keeper, "nightly")
    execute(client, task_id, "run-1")
    keeper.close()
    keeper.history.unlink()
    keeper.open()
    assert keeper.attach().find("nightly").state.runs == ()
