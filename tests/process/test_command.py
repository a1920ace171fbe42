"""What the command says to what it cannot use, and to names that are no text."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from ipycron.cli.command import main

RUN = [sys.executable, "-m", "ipycron.cli", "run"]


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_next_wants_a_number_of_fires(capsys, number):
    """Nothing printed and exit code 0 would look like an answer."""
    with pytest.raises(SystemExit) as caught:
        main(["next", "* * * * *", "-n", number])
    assert caught.value.code == 2
    assert "argument -n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["next", "explain"])
def test_expression_that_never_fires_is_an_error(capsys, command):
    """As when a task is created (E10)."""
    assert main([command, "0 0 30 2 *"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "never" in said.err


@pytest.mark.parametrize("flag", ["--timezone", "--tz"])
@pytest.mark.parametrize("command", ["next", "explain"])
def test_zone_is_given_by_either_name(capsys, command, flag):
    """As to `run`, to the magics and to `schedule`."""
    assert main([command, "0 9 * * *", flag, "Asia/Tokyo"]) == 0
    assert ("JST" if command == "next" else "Asia/Tokyo") in capsys.readouterr().out


def test_run_takes_the_zone_by_either_name(tmp_path, capsys):
    """It reaches the check of zones."""
    path = tmp_path / "job.py"
    path.write_text("")
    for flag in ("--timezone", "--tz"):
        assert main(["run", flag, "Mars/Phobos", "* * * * *", str(path)]) == 2
        assert "timezone: got 'Mars/Phobos'" in capsys.readouterr().err


def test_explain_tells_of_a_step_wider_than_its_field(capsys):
    """It is valid, and perhaps not what was meant."""
    assert main(["explain", "*/90 * * * * *"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Every minute (")
    assert "warning: second: the step of '*/90' is wider than its 60 values" in said


@pytest.mark.parametrize("command", ["next", "explain"])
def test_hashed_field_is_drawn_for_a_name(capsys, command):
    """Without a name the error says what is missing."""
    assert main([command, "H 9 * * *", "--hash-id", "report"]) == 0
    assert main([command, "H 9 * * *"]) == 2
    assert "such as a name" in capsys.readouterr().err


def test_next_prints_while_it_counts_and_ends_at_an_interrupt():
    """A hundred million fires are neither gathered first nor waited for."""
    program = [sys.executable, "-m", "ipycron.cli", "next", "* * * * * *"]
    with subprocess.Popen(
        [*program, "-n", "999999999"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        first = running.stdout.readline()
        memory = psutil.Process(running.pid).memory_info().rss
        running.stdout.read(1_000_000)
        assert psutil.Process(running.pid).memory_info().rss - memory < 10_000_000
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=10)
    assert first.strip()
    assert (running.returncode, said) == (130, b"")


def test_file_whose_name_is_no_text_is_run_and_its_failure_shown(tmp_path):
    """What the terminal cannot show is written out."""
    path = tmp_path / os.fsdecode(b"caf\xe9.py")
    path.write_text("def task(): raise ValueError('no luck')")
    done = subprocess.run(
        [*RUN, "--max-executions", "1", "* * * * * *", path.name],
        cwd=tmp_path,
        capture_output=True,
        timeout=30,
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "300"},  # the path is on one line
    )
    assert "caf\\udce9.py" in done.stdout.decode()
    assert "caf\\xe9.py" in done.stdout.decode()
    assert b"UnicodeEncodeError" not in done.stdout + done.stderr
