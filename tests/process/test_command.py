"""What the command says to what it cannot use, and to names that are no text."""

import os
import subprocess
import sys

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
