"""`ipycron doctor` with real services, broken files and programs that hang."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from kept_service import declare_file
from polling import eventually

COMMAND = [sys.executable, "-P", "-m", "ipycron", "doctor"]
NAMES = {
    "service",
    "tasks",
    "version",
    "boot",
    "logout",
    "container",
    "culling",
    "hub",
    "clock",
    "history",
    "folder",
    "socket",
    "file system",
    "disk space",
}


def examine(service, *, code=None, **variables):
    """Return the doctor's findings by check."""
    done = subprocess.run(
        [*COMMAND, "--json"],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, "PYTHONFAULTHANDLER": "1", **service.env, **variables},
    )
    assert done.stderr == ""
    assert code in (None, done.returncode), done.stdout
    found = {line["check"]: line for line in map(json.loads, done.stdout.splitlines())}
    is_bad = any(line["state"] == "fail" for line in found.values())
    assert done.returncode == (1 if is_bad else 0)
    return found


def test_system_without_a_kept_task_is_healthy(service):
    """No service is needed then; nothing is created by looking."""
    found = examine(service, code=0)
    assert set(found) == NAMES
    assert found["service"]["found"].startswith("it does not run: no task is kept")
    assert found["tasks"]["found"] == "no task is kept"
    for line in found.values():
        assert line["state"] in ("ok", "warn", "fail")
        assert bool(line["advice"]) == (line["state"] != "ok"), line
    assert not service.places.folder.exists()


def test_running_service_is_described(service, tmp_path):
    """Its process and its tasks."""
    job = tmp_path / "job.py"
    job.write_text("")
    pid = service.start()
    client = service.attach()
    client.declare(declare_file(job, "nightly", "0 3 * * *"))
    client.close()
    found = examine(service, code=0)
    assert f"process {pid} since " in found["service"]["found"]
    assert "tasks: 1" in found["service"]["found"]
    assert found["version"]["found"].endswith("as the service")
    assert found["tasks"]["found"] == "all are scheduled"
    assert found["folder"]["found"].endswith("is there and private")


def test_stopped_service_with_tasks_is_a_failure(service, tmp_path):
    """Nothing is scheduled, and somebody believes that it is."""
    job = tmp_path / "job.py"
    job.write_text("")
    service.start()
    client = service.attach()
    client.declare(declare_file(job, "nightly", "0 3 * * *"))
    client.close()
    assert service.end()
    found = examine(service, code=1)
    assert "one kept task waits for it" in found["service"]["found"]
    assert found["tasks"]["state"] == "fail"
    assert found["tasks"]["found"] == "none is scheduled: no service runs"
    assert "`ipycron service start`" in found["service"]["advice"]


def test_service_that_does_not_answer_is_a_failure(service):
    """It is found out in seconds, and by every check that asks it."""
    pid = service.start()
    os.kill(pid, signal.SIGSTOP)
    try:
        found = examine(service, code=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found["service"]["state"] == "fail"
    assert "it does not answer" in found["service"]["found"]
    assert found["tasks"]["state"] == "fail"
    assert "does not say" in found["tasks"]["found"]
    assert found["logout"]["found"] != "no service runs"
    assert "`ipycron service restart`" in found["service"]["advice"]


def test_task_that_cannot_be_loaded_is_named(service, tmp_path):
    """With the reason."""
    job = tmp_path / "job.py"
    job.write_text("")
    service.start()
    client = service.attach()
    client.declare(declare_file(job, "nightly", "0 3 * * *"))
    client.close()
    assert service.end()
    job.unlink()
    service.start()

    def find_failed():
        tasks = examine(service)["tasks"]
        return tasks if tasks["state"] == "fail" else None

    found = eventually(find_failed, "the failed task", 60)
    assert "1 of 1 not scheduled: nightly (" in found["found"]
    assert "job.py" in found["found"]


def test_rest_of_a_killed_service_is_named(service):
    """What holds its lock keeps the next one from starting."""
    service.places.folder.mkdir(mode=0o700)
    with service.places.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = examine(service, code=1)
    assert f"processes {os.getpid()}" in found["service"]["found"]


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, None])
def test_store_that_cannot_be_read_is_a_failure(service, content):
    """An empty one has no tables; a folder is no file."""
    service.places.folder.mkdir(mode=0o700)
    if content is None:
        service.places.store.mkdir()
    else:
        service.places.store.write_bytes(content)
    found = examine(service, code=1)["service"]
    assert "its store cannot be read" in found["found"]


def test_file_that_hangs_is_a_finding(service, tmp_path):
    """A pipe in place of the history; a program of the system that never ends."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("systemctl", "loginctl"):
        (programs / name).write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
        (programs / name).chmod(0o755)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = examine(
        service,
        code=1,
        PATH=f"{programs}:{os.environ['PATH']}",
        IPYCRON_HISTORY=str(pipe),
    )
    assert set(found) == NAMES
    assert found["history"]["state"] == "fail"
    assert found["boot"]["state"] == "warn"
    assert found["boot"]["found"].startswith("nothing starts the service with the")
    assert found["disk space"]["state"] == "ok"


@pytest.mark.parametrize(
    ("variables", "state", "words"),
    [
        ({"IPYCRON_HISTORY": "off"}, "warn", "IPYCRON_HISTORY=off"),
        ({"IPYCRON_HISTORY": "/"}, "fail", "IPYCRON_HISTORY"),
        ({"IPYCRON_HISTORY": "/dev/null"}, "fail", "/dev/null"),
    ],
)
def test_history_is_examined(service, variables, state, words):
    """Without one nobody knows what was missed."""
    found = examine(service, **variables)["history"]
    assert (found["state"], words in found["found"]) == (state, True), found


def test_history_of_another_program_is_a_failure(service):
    """It is not written to."""
    with sqlite3.connect(service.history) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    found = examine(service, code=1)["history"]
    assert str(service.history) in found["found"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"IPYCRON_SERVICE_DIR": "relative"}, "expected an absolute path"),
        (
            {"IPYCRON_SERVICE_DIR": f"/{'x' * 200}", "TMPDIR": f"/tmp/{'y' * 100}"},
            "",
        ),
        ({"IPYCRON_SERVICE_DIR": "", "HOME": "", "XDG_STATE_HOME": ""}, ""),
    ],
)
def test_service_without_a_place_is_a_failure(service, variables, words):
    """The rest is examined all the same."""
    found = examine(service, **variables)
    assert words in found["folder"]["found"]
    assert found["clock"]["check"] == "clock"


def test_secrets_are_not_shown(service):
    """Values of the environment are nobody's business."""
    secret = "s3cr3t-value"
    names = ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_SERVICE_PREFIX", "API_KEY")
    found = examine(service, **dict.fromkeys(names, secret))
    assert secret not in json.dumps(found)
    assert found["hub"]["state"] == "warn"


def test_table_is_for_people(service):
    """A line for each check, the way out below it; nothing wider than the terminal."""
    done = subprocess.run(
        COMMAND,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, **service.env, "COLUMNS": "70", "COLABORATORY": "x"},
    )
    lines = done.stdout.splitlines()
    assert {line[:13].strip() for line in lines} - {""} == NAMES
    assert [line for line in lines if len(line) > 70 and " " in line[20:].strip()] == []
    assert any(line.strip().startswith("→ ") for line in lines)
