"""The README's examples, run as they are: scripts and shell commands."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from programs import find_complaints

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"`(ipycron (?:next|explain) [^`]*)`", TEXT)
DEADLINE = 90


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a database and the task file named in the README."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    shutil.copy(ROOT / "notebooks" / "tasks" / "backup.py", tasks)
    sqlite3.connect(tmp_path / "system_load.sqlite").close()
    return tmp_path


def run_script(script):
    """Run a script in its folder; return its output."""
    return subprocess.run(
        [sys.executable, script],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )


def interrupt_until_ended(process):
    """Press Ctrl-C until the process ends; return its exit code."""
    for _ in range(DEADLINE * 20):
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("still alive")


def test_script_schedules_a_file_and_waits_until_interrupted(folder):
    """The first example runs the file, prints its next run, ends by Ctrl-C."""
    script = folder / "script.py"
    # Before the wait Ctrl-C would just end a script; so it is ignored until then.
    ready = (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        'print("result", result, flush=True)\nipycron.wait()'
    )
    script.write_text(SCRIPTS[0].replace("ipycron.wait()", ready))
    with subprocess.Popen(
        [sys.executable, script], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        assert interrupt_until_ended(process) == 0
    assert re.match(r"\d{4}-\d\d-\d\d 03:00:00\+0[12]:00", lines[0])
    copy = folder / lines[1].split()[1]
    assert copy.parent.name == "backups"
    assert copy.exists()


def test_function_runs_in_a_worker_and_has_a_history(folder, monkeypatch):
    """The second example pauses it; what happened comes from the file."""
    monkeypatch.setenv("IPYCRON_HISTORY", str(folder / "history.sqlite"))
    script = folder / "script.py"
    before = "import os, time, ipycron\ndef fetch():\n    return os.getpid()\n"
    after = (
        # The example does not wait until the scheduler knows of the pause.
        "while task.paused_until is None: time.sleep(0.01)\n"
        "print(task.paused_until.hour, task.pause_note)\n"
        "assert task.execute().result(60) != os.getpid()\n"
        "print(ipycron.history('news', outcome='finished')[0].summary)\n"
        "ipycron.shutdown()\n"
    )
    script.write_text(before + SCRIPTS[1] + after)
    done = run_script(script)
    assert find_complaints(done.stderr) == []
    *_, paused, summary = done.stdout.splitlines()
    assert paused == "18 the server is being moved"
    assert int(summary) > 1


def test_fleet_elects_the_only_instance(folder):
    """The third example claims its fires in an SQLite file and runs them."""
    script = folder / "script.py"
    before = (
        "import ipycron\n"
        "def report():\n    return 'reported'\n"
        'ipycron.on("execution:finished", lambda c: print(c.execution.result))\n'
    )
    after = "assert ipycron.wait(runs=1, timeout=60)\nipycron.shutdown()\n"
    script.write_text(before + SCRIPTS[2] + after)
    done = run_script(script)
    assert find_complaints(done.stderr) == []
    assert done.stdout.startswith("reported")
    assert (folder / "claims.sqlite").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_command_prints_an_answer(command):
    """The shell examples succeed and print something."""
    _, *words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "ipycron.cli", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stdout
    assert done.stderr == ""


def test_readme_is_short():
    """At most 150 lines."""
    assert len(TEXT.splitlines()) <= 150
