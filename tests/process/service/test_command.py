"""`ipycron service …` and `ipycron serve`, with real services."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import msgspec
import psutil
import pytest
from kept_service import PATIENCE, declare_file
from polling import eventually

from ipycron.cli.command import main
from ipycron.process.service.paths import Holder
from ipycron.process.service.protocol import (
    AskStatus,
    FromKeeper,
    StatusReport,
    make_greeting,
)
from ipycron.process.wire.channel import BlockingChannel
from ipycron.runlog.presence import find_own_presence
from ipycron.service.log import MAX_LOG_BYTES

COMMAND = [sys.executable, "-P", "-m", "ipycron"]


def run(service, *words, code=0, **variables):
    """Run a command; return its stdout, or stderr if it is to fail."""
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, **service.env, **variables},
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr if code == 2 else done.stdout


def ask(service, *words, code=0):
    """Run a command; return its JSON."""
    return json.loads(run(service, *words, "--json", code=code))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("service ", "doctor ", "list ", "show ", "destroy ", "serve ")),
        (("service",), ("start ", "status ", "log ", "restart ", "stop ", "install ")),
        (("service", "status"), ("--json", "3 if none runs")),
        (("service", "stop"), ("--timeout SECONDS",)),
        (("service", "log"), ("-n N", "--follow")),
        (("doctor",), ("--json", "1 if any check fails")),
        (("serve",), ("--log", "75 if another service")),
        (("run",), ("ipycron run [--json] NAME", "kept task of that name")),
    ],
)
def test_help_says_what_there_is(capsys, words, said):
    """Each command has a page."""
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert [each for each in said if " ".join(each.split()) not in shown] == []


def test_commands_without_a_service_start_none(service):
    """Looking is not starting; stopping what does not run is no failure."""
    assert ask(service, "service", "status", code=3)["is_running"] is False
    assert run(service, "service", "status", code=3).startswith("no service runs")
    assert ask(service, "service", "stop") == {"pid": None}
    assert "it has written nothing yet" in run(service, "service", "log", code=2)
    assert not service.places.folder.exists()


def test_service_is_started_once_and_stopped(service):
    """And says what it is."""
    first = ask(service, "service", "start")
    assert first == {"pid": service.pid, "is_new": True}
    assert ask(service, "service", "start") == {"pid": first["pid"], "is_new": False}
    said = ask(service, "service", "status")
    expected = {"is_running": True, "pid": first["pid"], "tasks": 0, "failed": []}
    assert {name: said[name] for name in expected} == expected
    assert said["started_at"][10] == "T"
    shown = run(service, "service", "status")
    assert f"process       {first['pid']}, since " in shown
    assert ask(service, "service", "stop") == {"pid": first["pid"]}
    assert not psutil.pid_exists(first["pid"])
    assert service.pid is None


def test_restart_keeps_the_tasks(service, tmp_path):
    """One that does not run is started; one that does is replaced."""
    job = tmp_path / "job.py"
    job.write_text("")
    first = ask(service, "service", "restart")
    assert first["stopped"] is None
    client = service.attach()
    client.declare(declare_file(job, "nightly", "0 3 * * *"))
    client.close()
    second = ask(service, "service", "restart")
    assert second["stopped"] == first["pid"] != second["pid"]
    assert ask(service, "service", "status")["tasks"] == 1


def test_killed_service_is_not_taken_for_a_running_one(service):
    """Its lock file names it still; its supervisor may hold the lock for a while."""
    pid = service.start()
    family = service.find_family()
    service.kill()
    psutil.wait_procs(family[:1], 20)
    assert ask(service, "service", "status", code=3)["is_running"] is False
    assert ask(service, "service", "stop") == {"pid": None}
    assert ask(service, "service", "start")["pid"] != pid
    psutil.wait_procs(family, 20)


def test_service_that_hangs_is_replaced(service):
    """It does not answer, and is found by its lock."""
    pid = service.start()
    os.kill(pid, signal.SIGSTOP)
    assert "it does not answer" in run(service, "service", "status", code=2)
    new = ask(service, "service", "restart", "--timeout", "30")
    assert new["stopped"] == pid
    assert not psutil.pid_exists(pid)
    assert ask(service, "service", "status")["pid"] == new["pid"]


@contextlib.contextmanager
def pretend(service, **greeting):
    """Answer at the service's socket as one of another version."""
    places = service.places
    places.folder.mkdir(mode=0o700)
    own = find_own_presence()
    theirs = msgspec.structs.replace(make_greeting("0.0.1", 1.0), **greeting)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(places.socket))
    listener.listen()
    holder = Holder(
        pid=own.pid,
        host=socket.gethostname(),
        socket=str(places.socket),
        version=theirs.version,
        started_at=1.0,
        started=own.started,
    )
    places.lock.write_bytes(msgspec.json.encode(holder))

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            channel = BlockingChannel(sock, FromKeeper)
            with contextlib.closing(channel), contextlib.suppress(OSError):
                channel.send(theirs)
                while (frame := channel.receive()) is not None:
                    if isinstance(frame.message, AskStatus):
                        report = StatusReport(
                            request_id=frame.message.request_id,
                            greeting=theirs,
                            supervisor=None,
                            tasks=7,
                            running=0,
                            clients=1,
                        )
                        channel.send(report)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)
        places.lock.unlink()
        places.socket.unlink()


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        ({"version": "0.0.1"}, ("the service is older", "`ipycron service restart`")),
        ({"version": "999.0"}, ("this process is older", "999.0")),
        ({"version": "999.0", "protocol": 99}, ("this process is older",)),
        ({"python": "3.2.1", "version": "0.0.1"}, ("Python 3.2.1",)),
    ],
)
def test_service_of_another_version_is_explained(service, greeting, words):
    """Which side is older, and what to do."""
    with pretend(service, **greeting):
        for command in (("service", "status"), ("list",), ("show", "x")):
            error = run(service, *command, code=2)
            assert [each for each in words if each not in error] == [], error
            assert error.count("\n") == 1


def test_log_is_printed_from_its_end(service):
    """Also one of any size, and with any bytes."""
    places = service.places
    places.folder.mkdir(mode=0o700)
    places.log.write_bytes(b"".join(b"line %d \xff\n" % n for n in range(200_000)))
    lines = run(service, "service", "log").splitlines()
    assert len(lines) == 50
    assert lines[-1].startswith("line 199999 ")
    assert len(run(service, "service", "log", "-n", "100000").splitlines()) == 100_000
    places.log.write_bytes(b"")
    assert run(service, "service", "log") == ""
    places.log.write_bytes(b"no line break")
    assert run(service, "service", "log") == "no line break"


def test_log_is_followed_through_a_change_of_files(service):
    """A large one is set aside when the service starts."""
    places = service.places
    places.folder.mkdir(mode=0o700)
    places.log.write_text("first\n")
    with subprocess.Popen(
        [*COMMAND, "service", "log", "-f"],
        stdout=subprocess.PIPE,
        env={**os.environ, **service.env},
    ) as following:
        try:
            assert following.stdout.readline() == b"first\n"
            with places.log.open("a") as log:
                log.write("second\n")
            assert following.stdout.readline() == b"second\n"
            places.log.rename(f"{places.log}.1")
            places.log.write_text("third\n")
            assert following.stdout.readline() == b"third\n"
        finally:
            following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130


@contextlib.contextmanager
def serving(service, *words, **options):
    """Run the service in the foreground."""
    with subprocess.Popen(
        [*COMMAND, "serve", *words],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **service.env},
        **options,
    ) as process:
        try:
            eventually(lambda: service.pid == process.pid, "the service", 60)
            yield process
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_service_in_the_foreground_ends_when_told(service, number):
    """With exit code 0: no manager starts it again."""
    with serving(service, stderr=subprocess.PIPE) as process:
        eventually(lambda: ask(service, "service", "status")["pid"] == process.pid)
        process.send_signal(number)
        assert process.wait(60) == 0
        assert b" serves " in process.stderr.read()


def test_second_service_sees_the_first(service):
    """Its exit code has no manager start it again."""
    with serving(service, stderr=subprocess.DEVNULL) as process:
        done = subprocess.run(
            [*COMMAND, "serve"],
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, **service.env},
        )
        assert done.returncode == 75
        assert ask(service, "service", "status")["pid"] == process.pid


def test_service_in_the_foreground_writes_to_its_log(service):
    """As a unit has it do; the file is this user's only."""
    with serving(service, "--log", stderr=subprocess.PIPE) as process:
        eventually(lambda: " serves " in service.places.log.read_text())
        assert service.places.log.stat().st_mode & 0o077 == 0
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("when", ["before", "while"])
def test_large_log_is_set_aside(service, when):
    """When the service starts, and while it runs; one older log is kept."""
    log = service.places.log
    older = log.with_name("service.log.1")
    log.parent.mkdir(mode=0o700)
    if when == "before":
        log.write_bytes(b"x" * MAX_LOG_BYTES)
    with serving(service, "--log") as process:
        eventually(lambda: " serves " in log.read_text(), "it serves", PATIENCE)
        if when == "while":
            with log.open("ab") as file:
                file.write(b"x" * MAX_LOG_BYTES)
        eventually(older.exists, "it is set aside", PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert older.stat().st_size >= MAX_LOG_BYTES
    assert "ended" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_log_of_somebody_else_is_left_alone(service, tmp_path):
    """What stderr was redirected to is not the service's to set aside."""
    path = tmp_path / "log"
    path.write_bytes(b"x" * MAX_LOG_BYTES)
    with path.open("ab") as file, serving(service, stderr=file) as process:
        eventually(lambda: b" serves " in path.read_bytes(), "it serves", PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not service.places.log.exists()
    assert path.stat().st_size > MAX_LOG_BYTES


@pytest.mark.parametrize("words", [(), ("--log",)])
def test_service_that_cannot_be_set_up_says_why(service, words):
    """Its exit code has no manager try again and again."""
    service.places.folder.write_text("a file")
    done = subprocess.run(
        [*COMMAND, "serve", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **service.env},
    )
    assert done.returncode == 78
    assert str(service.places.folder) in done.stderr
    assert done.stderr.count("\n") == 1
    service.places.folder.unlink()


@pytest.mark.parametrize(
    "words",
    [
        ("service",),
        ("service", "status", "extra"),
        ("service", "stop", "--timeout", "soon"),
        ("service", "log", "-n", "0"),
        ("doctor", "extra"),
    ],
)
def test_words_that_make_no_sense_are_a_usage_error(capsys, words):
    """Exit code 2, and nothing is done."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: ipycron" in capsys.readouterr().err
