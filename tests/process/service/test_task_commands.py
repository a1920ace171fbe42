"""`ipycron list`, `show`, `run NAME`, `stop` and so on, on a real service."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hostile_texts import TEXTS
from kept_service import declare_file
from polling import eventually, pause

import ipycron
from ipycron.process.service.protocol import FromService, Greeting, make_greeting
from ipycron.process.wire.channel import BlockingChannel
from ipycron.scheduling.clock import SystemClock

COMMAND = [sys.executable, "-P", "-m", "ipycron"]
NIGHTLY = "0 3 * * *"


@pytest.fixture
def jobs(tmp_path):
    """Returns a function that writes a job's file."""

    def write(text="", name="job.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def kept(service, jobs):
    """A running service with two tasks."""
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs("print('hello')"), "nightly", NIGHTLY))
    client.declare(declare_file(jobs("", "b.py"), "weekly report", "0 9 * * 1"))
    client.close()
    return service


def run(service, *words, code=0):
    """Run a command; return stdout and stderr."""
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        timeout=80,
        check=False,
        env={**os.environ, **service.env},
    )
    said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, said
    return said


def ask(service, *words, code=0):
    """Run a command; return its JSON lines."""
    out, _ = run(service, *words, "--json", code=code)
    return list(map(json.loads, out.splitlines()))


def find(service, name):
    """Return what `list` says of a task."""
    (found,) = (line for line in ask(service, "list") if line["name"] == name)
    return found


@pytest.mark.parametrize(
    "words",
    [("list",), ("show", "x"), ("run", "x"), ("stop", "x"), ("destroy", "x")],
)
def test_without_a_service_one_line_says_so(service, words):
    """None is started by looking."""
    out, error = run(service, *words, code=2)
    assert out == ""
    assert "it does not run" in error
    assert "`ipycron service start`" in error
    assert error.count("\n") == 1
    assert service.pid is None


def test_kept_tasks_are_listed(kept):
    """A table for people, a line of JSON each for programs."""
    out, _ = run(kept, "list")
    head, *rows = out.splitlines()
    assert head.split()[0] == "name"
    assert [row.split("  ")[0] for row in rows] == ["nightly", "weekly report"]
    first, second = ask(kept, "list")
    assert (first["name"], first["pattern"]) == ("nightly", NIGHTLY)
    assert first["status"] == "idle"
    assert datetime.fromisoformat(first["next_run"]).hour == 3
    assert second["last_run"] is None


def read_screen(service, *words, columns=80):
    """Return the lines that a command writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb") as screen:
        subprocess.run(
            [*COMMAND, *words],
            stdout=theirs,
            stdin=subprocess.DEVNULL,
            timeout=80,
            check=True,
            env={**os.environ, **service.env, "COLUMNS": str(columns)},
        )
        os.close(theirs)
        return eventually(lambda: screen.read1(1 << 16)).decode().splitlines()


def test_list_fits_into_a_terminal(service, jobs):
    """The next run is whole; what became of the last, and a pause, are to be seen."""
    service.start()
    client = service.attach()
    name, when = "a name of some length", "*/5 0-23 * * *"
    client.declare(declare_file(jobs("1 / 0"), name, when))
    client.declare(declare_file(jobs("", "b.py"), "waits", when))
    client.close()
    run(service, "run", name, code=1)
    run(service, "pause", "waits", "--until", "2999-01-01", "--note", "a reason")
    _, first, second = read_screen(service, "list")
    assert len(first) <= 80
    following = find(service, name)["next_run"][:19].replace("T", " ")
    assert following in first
    assert "  failed " in first
    assert "  paused unt" in second
    assert "2999-01-01 00:0" in second


def test_last_runs_are_known_after_a_restart(kept):
    """The history has what the service has not seen since its start."""
    for _ in range(2):
        run(kept, "run", "nightly")
    before = find(kept, "nightly")["last_run"]
    run(kept, "service", "restart")
    after = find(kept, "nightly")["last_run"]
    assert (after["id"], after["outcome"]) == (before["id"], "finished")
    assert "finished " in run(kept, "list")[0]
    run(kept, "run", "nightly")
    (shown,) = ask(kept, "show", "nightly")
    ids = [each["id"] for each in shown["runs"]]
    assert len(set(ids)) == len(ids) == 3
    assert ids[1] == before["id"]
    out, _ = run(kept, "show", "nightly")
    assert re.search(r"last +finished .*\n +finished .*\n +finished .*\n", out)


def test_task_is_shown(kept):
    """By name or id; one that is not there has a suggestion."""
    out, _ = run(kept, "show", "nightly")
    assert "schedule  0 3 * * * (At 03:00" in out
    assert "status    idle; kept by the service" in out
    assert re.search(r"job +/.*/job.py\n", out)
    (by_id,) = ask(kept, "show", find(kept, "nightly")["id"])
    assert (by_id["name"], by_id["runs"]) == ("nightly", [])
    assert by_id["is_kept"]
    assert by_id["job"] == str(Path(by_id["folder"], "job.py"))
    _, error = run(kept, "show", "nigthly", code=2)
    assert "Did you mean 'nightly'? Tasks: nightly, weekly report." in error


def test_output_of_a_run_comes_as_it_is_written(service, jobs, tmp_path):
    """Its first line is there while it goes on; bytes are passed on as they are."""
    go_on = tmp_path / "go on"
    job = jobs(
        "import os, sys, time\n"
        "os.write(1, b'first \\xff\\n')\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.05)\n"
        "os.write(2, b'last'); sys.exit(3)\n"
    )
    service.start()
    client = service.attach()
    client.declare(declare_file(job, "slow", NIGHTLY))
    client.close()
    with subprocess.Popen(
        [*COMMAND, "run", "slow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **service.env},
    ) as command:
        assert command.stdout.readline() == b"first \xff\n"
        assert command.poll() is None
        go_on.touch()
        out, error = command.communicate(timeout=80)
    assert out == b""
    assert error.startswith(b"last")
    assert b"SystemExit" in error
    assert command.returncode == 1


def test_output_of_another_run_is_not_shown(service, jobs):
    """The schedule's own runs go on meanwhile."""
    job = jobs(
        "import time\n"
        "def task(context):\n"
        "    print(context.execution.reason)\n"
        "    if context.execution.reason == 'invoked': time.sleep(2.5)\n"
    )
    service.start()
    client = service.attach()
    task_id = client.declare(declare_file(job, "busy", "* * * * * *"))
    client.wait_for("execution:finished", task_id)
    client.close()
    assert run(service, "run", "busy") == ("invoked\n", "")


def test_task_is_run_now(kept):
    """Its output is the command's; the schedule goes on."""
    before = find(kept, "nightly")["next_run"]
    assert run(kept, "run", "nightly") == ("hello\n", "")
    (said,) = ask(kept, "run", "nightly")
    assert (said["outcome"], said["trigger"]) == ("finished", "invoked")
    assert said["error"] is None
    (shown,) = ask(kept, "show", "nightly")
    assert [each["id"] for each in shown["runs"]][-1] == said["id"]
    assert find(kept, "nightly")["next_run"] == before


def test_failure_of_a_run_is_the_exit_code(service, jobs):
    """With what it has written, and the traceback."""
    service.start()
    text = (
        "import sys\nprint('out')\nprint('err', file=sys.stderr)\nraise ValueError(7)"
    )
    client = service.attach()
    client.declare(declare_file(jobs(text), "bad", NIGHTLY))
    client.declare(
        declare_file(jobs("import os; os._exit(3)", "c.py"), "dead", NIGHTLY)
    )
    client.close()
    out, error = run(service, "run", "bad", code=1)
    assert out == "out\n"
    assert error.startswith("err\n")
    assert "ValueError: 7" in error
    (said,) = ask(service, "run", "bad", code=1)
    assert said["outcome"] == "failed"
    assert "ValueError" in said["error"]
    _, error = run(service, "run", "dead", code=1)
    assert error.strip()


def test_working_directory_that_is_gone_is_named(service, jobs, tmp_path):
    """As the user writes it."""
    folder = tmp_path / "gone"
    folder.mkdir()
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs("", "gone/job.py"), "nightly", NIGHTLY))
    client.close()
    run(service, "stop", "nightly")
    shutil.rmtree(folder)
    _, error = run(service, "start", "nightly", code=1)
    assert f"No such file or directory: '{folder}'" in error


def test_task_is_stopped_and_started(kept):
    """Also through a restart of the service; a stopped one is not run."""
    run(kept, "stop", "nightly")
    assert find(kept, "nightly")["is_started"] is False
    _, error = run(kept, "run", "nightly", code=1)
    assert "task 'nightly' is stopped: `ipycron start nightly` arms it again" in error
    run(kept, "service", "restart")
    assert find(kept, "nightly")["status"] == "stopped"
    (said,) = ask(kept, "start", "nightly")
    assert (said["name"], said["status"], said["error"]) == ("nightly", "idle", None)
    assert run(kept, "run", "nightly") == ("hello\n", "")


def test_task_is_paused_and_resumed(kept):
    """Until when and why is seen by everybody."""
    run(kept, "pause", "nightly", "--until", "2999-01-01", "--note", "until then")
    found = find(kept, "nightly")
    assert (found["is_paused"], found["pause_note"]) == (True, "until then")
    assert found["paused_until"].startswith("2999-01-01T00:00:00")
    out, _ = run(kept, "show", "nightly")
    assert "paused until 2999-01-01 00:00:00 (until then)" in out
    run(kept, "resume", "nightly", "--catch-up", "latest")
    assert find(kept, "nightly")["is_paused"] is False
    for until in ("2h", "7200"):
        before = datetime.fromtimestamp(SystemClock().now(), UTC)
        run(kept, "pause", "nightly", "--until", until)
        found = datetime.fromisoformat(find(kept, "nightly")["paused_until"])
        assert timedelta(hours=2) <= found - before < timedelta(hours=3)
    run(kept, "pause", "nightly", "--until", "29991201")
    assert find(kept, "nightly")["paused_until"].startswith("2999-12-01T00:00:00")
    run(kept, "resume", "nightly")
    _, error = run(kept, "pause", "nightly", "--until", "soon", code=2)
    assert "until" in error
    assert error.count("\n") == 1


def test_several_tasks_are_controlled_at_once(kept):
    """Twice the same is once; one that is not there has nothing done to the others."""
    _, error = run(kept, "stop", "nightly", "no such", code=2)
    assert "no task is called 'no such'" in error
    assert find(kept, "nightly")["status"] == "idle"
    said = ask(kept, "stop", "nightly", "weekly report", "nightly")
    assert [line["name"] for line in said] == ["nightly", "weekly report"]
    assert {line["status"] for line in ask(kept, "list")} == {"stopped"}


def test_destroyed_task_is_gone_for_good(kept):
    """Also after a restart; what it was stays in the history."""
    run(kept, "run", "nightly")
    run(kept, "destroy", "nightly")
    run(kept, "service", "restart")
    assert [line["name"] for line in ask(kept, "list")] == ["weekly report"]
    run(kept, "destroy", "weekly report", "--force")
    assert run(kept, "list")[0] == "no task is kept\n"
    assert ask(kept, "history", "nightly")[0]["outcome"] == "finished"


def test_start_that_fails_is_the_exit_code(kept, jobs):
    """The reason is said, and the others start."""
    run(kept, "stop", "nightly", "weekly report")
    jobs("raise SystemExit('broken')\n\ndef task():\n    pass", "b.py")
    (tmp,) = (jobs("print('hello')"),)
    tmp.unlink()
    first, second = ask(kept, "start", "nightly", "weekly report", code=1)
    assert first["error"]
    assert second["name"] == "weekly report"
    _, error = run(kept, "start", "nightly", code=1)
    assert error.startswith("nightly: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["@daily", "0 3 * * *", __file__])
def test_name_of_a_task_may_be_a_schedule_or_a_file(service, jobs, name):
    """It is taken for one that lacks its other half only if no task is called so."""
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs("print('daily')"), name, NIGHTLY))
    client.close()
    assert run(service, "run", name) == ("daily\n", "")
    run(service, "destroy", name)
    _, error = run(service, "run", name, code=2)
    assert " FILE schedules a file" in error or f"EXPRESSION {name} schedules" in error
    assert service.end()
    assert run(service, "run", name, code=2) == ("", error)


def test_word_longer_than_a_path_is_a_name(kept):
    """Nothing of 10,000 letters is a file; the answer does not repeat them all."""
    word = "x" * 10_000
    for words in (("run", word), ("show", word), ("stop", word)):
        _, error = run(kept, *words, code=2)
        assert error.startswith("ipycron: no task is called 'xxx")
        assert error.endswith("Tasks: nightly, weekly report.\n")
        assert len(error) < 400
    _, error = run(kept, "run", "* * * * *", word, code=2)
    assert error.startswith("ipycron: task file: ")


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "line\nbreak", "back\u202eward"])
def test_error_has_no_effect_in_a_terminal(service, jobs, name):
    """Whatever the tasks that it lists are called."""
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs("print(1)"), name, NIGHTLY))
    client.close()
    _, error = run(service, "show", "nightly", code=2)
    assert name not in error
    assert repr(name) in error


def run_sleeper(service, jobs, tmp_path, *words):
    """Return the command that runs a job; it has begun and does not end by itself."""
    begun = tmp_path / "begun"
    text = f"import time\nprint('begun')\nopen({str(begun)!r}, 'w')\ntime.sleep(600)"
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs(text), "sleeper", NIGHTLY))
    client.close()
    command = subprocess.Popen(
        [*COMMAND, *words, "sleeper"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **service.env},
    )
    eventually(begun.exists, "the run", 60)
    return command


@pytest.mark.parametrize("words", [("run",), ("run", "--json")])
def test_interrupted_command_says_that_the_run_goes_on(service, jobs, tmp_path, words):
    """And nothing else: no traceback, no complaint about a result."""
    with run_sleeper(service, jobs, tmp_path, *words) as command:
        if words == ("run",):
            assert command.stdout.readline() == "begun\n"
        else:
            pause(1)  # it waits
        command.send_signal(signal.SIGINT)
        out, error = command.communicate(timeout=80)
    assert command.returncode == 130
    assert (out, error) == ("", "ipycron: the run goes on in the service\n")
    assert find(service, "sleeper")["status"] == "running"
    run(service, "stop", "--force", "sleeper")


def test_interrupted_stop_says_nothing(service, jobs, tmp_path):
    """It waits for the run in progress, which may take a while."""
    with run_sleeper(service, jobs, tmp_path, "run") as command:
        command.stdout.readline()
        command.send_signal(signal.SIGINT)
        command.communicate(timeout=80)
    client = service.attach()
    client.declare(declare_file(jobs("", "c.py"), "other", NIGHTLY))
    with subprocess.Popen(
        [*COMMAND, "stop", "sleeper", "other"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **service.env},
    ) as stop:
        client.wait_for("task:stopped")  # the other one
        stop.send_signal(signal.SIGINT)
        assert stop.communicate(timeout=80) == (b"", b"")
    assert stop.returncode == 130
    client.close()
    run(service, "stop", "--force", "sleeper")


def test_reader_that_leaves_ends_the_command_without_a_word(service, jobs):
    """`ipycron run NAME | head`: the run goes on."""
    text = "import time\nfor i in range(400):\n    print('line', i)\n"
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs(f"{text}    time.sleep(0.01)"), "long", NIGHTLY))
    with subprocess.Popen(
        [*COMMAND, "run", "long"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **service.env},
    ) as command:
        assert command.stdout.readline() == b"line 0\n"
        command.stdout.close()
        assert command.stderr.read() == b""
    client.wait_for("execution:finished")
    client.close()


def test_client_that_is_slow_to_greet_is_served(service):
    """On a busy machine it loads for seconds between the two."""
    service.start()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(service.places.socket))
        pause(6)
        channel = BlockingChannel(sock, FromService)
        channel.send(make_greeting(ipycron.__version__))
        assert isinstance(channel.receive().message, Greeting)


@pytest.mark.parametrize(
    "name", ["-dash", "数据 🚀", "a\x1b[2Jb", "line\nbreak", "'\"$x"]
)
def test_names_of_every_kind_are_found_and_shown(service, jobs, name):
    """No name moves the cursor or begins a line of its own."""
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs("print(1)"), name, NIGHTLY))
    client.close()
    assert find(service, name)["name"] == name
    for words in (("list",), ("show", "--", name), ("pause", "--", name)):
        out, _ = run(service, *words)
        assert "\x1b" not in out
        assert "line\nbreak" not in out
    assert run(service, "run", "--", name) == ("1\n", "")
    run(service, "destroy", "--", name)
    assert ask(service, "list") == []


@pytest.mark.parametrize(
    "text", [TEXTS["terminal"], TEXTS["link"], "\x1b]0;title\x07\x1b[2Jend"]
)
def test_output_has_no_effect_in_a_terminal(service, jobs, text):
    """To a pipe it goes as it is."""
    service.start()
    client = service.attach()
    client.declare(declare_file(jobs(f"print({text!r})"), "nightly", NIGHTLY))
    client.close()
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb") as screen:
        done = subprocess.run(
            [*COMMAND, "run", "nightly"],
            stdout=theirs,
            stdin=subprocess.DEVNULL,
            timeout=80,
            check=False,
            env={**os.environ, **service.env},
        )
        os.close(theirs)
        shown = eventually(lambda: screen.read1(1 << 16))
    assert done.returncode == 0
    assert b"\x1b]" not in shown
    assert b"\x1b[2J" not in shown
