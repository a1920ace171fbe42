"""`ipycron history` and `ipycron logs`: tables, data for programs, following."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from history_rows import BEGAN, make_run, make_task, write
from hostile_texts import TEXTS
from polling import eventually

from ipycron.cli.command import main, make_parser
from ipycron.runlog.records import FIELDS
from ipycron.runlog.store import open_store

COMMAND = [sys.executable, "-m", "ipycron.cli"]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file that the command reads, here and in its own process."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))
    return path


@pytest.fixture
def filled(path):
    """Four runs of one task, and a missed slot of another."""
    other = make_task("other", name="nightly", zone="Europe/Berlin")
    write(path, make_task(), other)
    for n in range(3):
        said = {"started_at": BEGAN + 60 * n, "finished_at": BEGAN + 60 * n + 1}
        write(path, make_run(n, id=f"{n}" * 32, output=f"hello {n}\n", **said))
    trace = "Traceback (most recent call last):\nValueError: no luck"
    said = {"error_type": "ValueError", "error": "no luck", "traceback": trace}
    write(path, make_run(3, "failed", id="3" * 32, started_at=BEGAN + 180, **said))
    return write(path, make_run(4, "missed", task="other", missed_count=3))


def ask(capsys, *words, code=0):
    """Run a command; return what it wrote to stdout."""
    assert main(words) == code
    return capsys.readouterr().out


def test_help_names_the_commands(capsys):
    """`ipycron --help` lists both, each has its own."""
    for words, said in (
        ((), ("history   list what happened", "logs      print what a run wrote")),
        (("history",), ("--last TIME", "--failed", "--json", "--csv", "-n N")),
        (("logs",), ("--run ID", "-f, --follow")),
    ):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        shown = capsys.readouterr().out
        assert [each for each in said if each not in shown] == []


def test_history_is_listed_newest_first(filled, capsys):
    """A line for each run and slot, below one with the columns' names."""
    head, *rows = ask(capsys, "history").splitlines()
    assert head.split()[:3] == ["at", "task", "outcome"]
    assert [row.split()[-1] for row in rows[1:]] == ["3" * 8, "2" * 8, "1" * 8, "0" * 8]
    assert "nightly  missed (3 slots)" in rows[0]
    assert "ValueError: no luck" in rows[1]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["report"], 4),
        (["report", "nightly"], 5),
        (["--failed"], 1),
        (["-n", "2"], 2),
        (["nightly", "-n", "9", "--failed"], 0),
        (["--last", "4000w"], 5),
    ],
)
def test_history_is_chosen_by_name_outcome_time_and_number(
    filled, capsys, words, count
):
    """Options may stand anywhere."""
    said = ask(capsys, "history", *words, "--json")
    assert len(said.splitlines()) == count


def test_limit_is_said_where_it_leaves_something_out(filled, capsys):
    """Beside the table, not in it."""
    assert main(["history", "-n", "2"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert said.err == "only the newest 2: -n lists more\n"


def test_json_has_an_object_for_each_line(filled, capsys):
    """With stable keys, instants with their offset; any text is ASCII."""
    lines = ask(capsys, "history", "--json").splitlines()
    newest, failed, *_ = map(json.loads, lines)
    assert tuple(newest) == FIELDS
    assert newest["slot"] == "2094-01-15T09:04:00+01:00"
    assert (newest["missed_count"], newest["started_at"]) == (3, None)
    assert failed["traceback"].endswith("ValueError: no luck")


def test_csv_has_a_head_and_a_row_for_each(filled, capsys):
    """Lines and quotes within a value are one value."""
    rows = list(csv.DictReader(io.StringIO(ask(capsys, "history", "--csv"))))
    assert tuple(rows[0]) == FIELDS
    assert [row["id"] for row in rows][1:] == [f"{n}" * 32 for n in (3, 2, 1, 0)]
    assert rows[1]["traceback"].splitlines()[-1] == "ValueError: no luck"
    assert rows[0]["slot"] == "2094-01-15T09:04:00+01:00"


def test_nothing_is_no_mistake(path, capsys):
    """No file yet: an empty answer in every form."""
    assert ask(capsys, "history") == "nothing happened\n"
    assert ask(capsys, "history", "--json") == ""
    assert ask(capsys, "history", "--csv").splitlines() == [",".join(FIELDS)]
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history", "reprot"], "no task called 'reprot'. Did you mean 'report'?"),
        (["logs", "reprot"], "no task called 'reprot'. Did you mean 'report'?"),
        (["logs", "report", "--run", "zz"], "no run 'zz' of 'report'"),
        (["logs", "report", "--run", ""], "may be several runs"),
    ],
)
def test_mistake_is_one_clear_line(filled, capsys, words, said):
    """And exit code 2."""
    assert main(words) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert said in written.err
    assert written.err.startswith("ipycron: ")
    assert written.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history", "-n", "0"], "got '0', expected a number from 1"),
        (["history", "--last", "soon"], "got 'soon', expected a time such as 90, 10m"),
        (["history", "--last", "0"], "got '0', expected a time"),
        (["history", "--json", "--csv"], "not allowed with argument"),
        (["logs"], "NAME"),
        (["logs", "report", "-f", "--run", "1"], "not allowed with argument"),
    ],
)
def test_wrong_option_is_explained(filled, capsys, words, said):
    """Before the file is opened."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_logs_tell_of_a_run_in_progress(filled, capsys):
    """Its output is not in the file yet: the last one's is printed."""
    store = open_store(filled, now=BEGAN, tell=print)
    began = {"started_at": BEGAN + 540}
    store.apply([make_run(9, "running", **began), make_run(8, "missed")])
    store.apply([make_run(9, "running", task="other", id="x", **began)])
    for name, count in (("report", 3), ("nightly", 0)):
        assert main(["logs", name]) == 0
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == count
        assert "09:00 running: what it writes is here when it ends\n" in said.err
    store.close()


@pytest.mark.parametrize("command", [["history"], ["logs", "report"]])
def test_history_that_is_off_or_damaged_is_one_clear_line(
    filled, capsys, monkeypatch, command
):
    """An empty answer would mislead."""
    filled.write_bytes(b"no database" * 1000)
    assert main(command) == 2
    assert "not an SQLite database" in capsys.readouterr().err
    monkeypatch.setenv("IPYCRON_HISTORY", "off")
    assert main(command) == 2
    written = capsys.readouterr()
    assert "the history is off" in written.err
    assert written.err.count("\n") == 1


def test_logs_print_the_last_run(filled, capsys):
    """A line about it, what it wrote, and its traceback."""
    assert ask(capsys, "logs", "report").splitlines() == [
        "report: 2094-01-15 08:03:00 failed: ValueError: no luck",
        "Traceback (most recent call last):",
        "ValueError: no luck",
    ]
    assert ask(capsys, "logs", "nightly") == "nightly: no run of it is in the history\n"


def test_logs_print_another_run(filled, capsys):
    """By the beginning of its id, as the table shows it."""
    assert ask(capsys, "logs", "report", "--run", "111").splitlines() == [
        "report: 2094-01-15 08:01:00 finished in 1.00 s",
        "hello 1",
    ]


def test_logs_say_why_no_attempt_followed(filled, capsys):
    """In the line about the run."""
    why = "no further attempt: all 3 are used up"
    said = {"error_type": "OSError", "error": "no", "attempts": 3, "summary": why}
    write(filled, make_run(9, "failed", started_at=BEGAN + 540, **said))
    assert ask(capsys, "logs", "report").splitlines() == [
        f"report: 2094-01-15 08:09:00 failed (3 attempts): OSError: no ({why})"
    ]


@pytest.fixture
def hostile(path):
    """A task for each text, which is its name, its output and its error."""
    for number, text in enumerate(TEXTS.values()):
        life, said = f"life-{number}", {"output": text, "traceback": text}
        run = make_run(number, "failed", task=life, error=text, **said)
        write(path, make_task(life, name=text), run)


def test_table_is_safe_in_a_terminal(hostile):
    """No name and no error is carried out by it."""
    assert check_shown(["history"]).count("\n") == 1 + len(TEXTS)


@pytest.mark.parametrize("text", ["terminal", "controls", "link", "long"])
def test_logs_are_safe_in_a_terminal(hostile, text):
    """Nothing that a task wrote is carried out by it, colours excepted."""
    assert "failed: " in check_shown(["logs", TEXTS[text]])


def check_shown(words):
    """Return what a command shows in a terminal; fail if it does more than show."""
    shown = show(words).replace("\x1b[31m", "")
    assert not set(shown) & set(map(chr, range(0x20))) - {"\r", "\n", "\t"}
    assert not set(shown) & set(map(chr, range(0x7F, 0xA0)))
    return shown


def show(words):
    """Run a command in a terminal; return what that is sent."""
    ours, theirs = pty.openpty()
    said = b""
    with subprocess.Popen([*COMMAND, *words], stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        with contextlib.suppress(OSError), os.fdopen(ours, "rb", 0) as terminal:
            while chunk := terminal.read(65_536):  # the end is an error on Linux
                said += chunk
    assert running.returncode == 0
    return said.decode()


def test_pipe_gets_what_was_written_unchanged(path):
    """As `ipycron run` passes it on: another program may know what to do with it."""
    text = "\x1b[31mred\x1b[0m\r\nbell\x07 \u202e"
    write(path, make_task(), make_run(0, output=text))
    done = subprocess.run([*COMMAND, "logs", "report"], capture_output=True, check=True)
    assert text.encode() in done.stdout


def test_json_goes_to_a_pipe_that_closes_early(path):
    """`ipycron history --json | head -1` ends without a word."""
    write(path, make_task(), *(make_run(n, output="x" * 5000) for n in range(200)))
    command = [*COMMAND, "history", "--json", "-n", "999"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert json.loads(running.stdout.readline())["id"] == "run-199"
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 0


@pytest.fixture
def follow(path):
    """Start `ipycron logs report -f`; return the process."""
    started = []

    def start():
        running = subprocess.Popen(
            [*COMMAND, "logs", "report", "-f"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()
        running.communicate()


def test_logs_follow_runs_until_an_interrupt(filled, follow):
    """The last run first, then each when it has ended; Ctrl-C ends it quietly."""
    store = open_store(filled, now=BEGAN, tell=print)
    running = follow()
    first = [running.stdout.readline() for _ in range(3)]
    assert first[0] == "report: 2094-01-15 08:03:00 failed: ValueError: no luck\n"
    store.apply([make_run(7, "running", started_at=BEGAN + 420)])
    store.apply([make_run(8, "finished", started_at=BEGAN + 480, output="eight\n")])
    assert "08:08:00 finished" in running.stdout.readline()
    assert running.stdout.readline() == "eight\n"
    store.apply([make_run(7, "finished", output="seven"), make_run(9, "missed")])
    said = {running.stdout.readline() for _ in range(3)}
    assert "seven\n" in said
    assert "report: 2094-01-15 08:09:00 missed\n" in said
    store.close()
    running.send_signal(signal.SIGINT)
    rest, mistakes = running.communicate(timeout=60)
    assert (rest, mistakes, running.returncode) == ("", "", 130)


def test_logs_wait_for_a_task_that_has_not_run_yet(path, follow):
    """As `tail -F` waits for its file."""
    running = follow()
    assert running.stderr.readline() == "report: waiting for its first run\n"
    write(path, make_task(), make_run(0, output="hello\n"))
    assert running.stdout.readline() == "report: 2094-01-15 08:00:00 finished\n"
    assert running.stdout.readline() == "hello\n"


def test_logs_end_quietly_when_nobody_reads_them(filled, follow):
    """`ipycron logs report -f | head -1`."""
    running = follow()
    running.stdout.readline()
    running.stdout.close()
    store = open_store(filled, now=BEGAN, tell=print)

    def has_ended():
        has_ended.count += 1
        store.apply([make_run(100 + has_ended.count, output="x" * 10_000)])
        return running.poll() is not None

    has_ended.count = 0
    eventually(has_ended)
    store.close()
    assert (running.returncode, running.stderr.read()) == (0, "")


DOCS = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")


def test_program_of_the_documentation_runs(filled, capsys):
    """As it is written, on a history with its tasks."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    exec(compile(program, "docs/history.md", "exec"), {})
    said = capsys.readouterr().out
    assert "nightly" in said
    assert "success" in said


def test_commands_of_the_documentation_are_understood(filled, capsys):
    """Each of them, and the attributes and columns that it names are there."""
    (block,) = re.findall(r"```sh\n(.*?)```", DOCS, re.DOTALL)
    for line in block.splitlines():
        assert make_parser().parse_args(shlex.split(line)[1:])
    assert {name for name in FIELDS if f"`{name}`" not in DOCS} == {"id"}


PROGRAM = """
import os, signal
import ipycron

def succeed():
    print("hello from a worker")
    return 6 * 7

def fail():
    raise ValueError("no <luck>")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    for job in (succeed, fail, die):
        name = job.__name__
        task = ipycron.schedule("@yearly", job, background=True, name=name, echo=False)
        task.execute().exception(60)
    assert len(ipycron.history()) == 3  # what has just ended is there
    ipycron.shutdown()
"""


def test_what_a_program_has_run_is_there_when_it_has_ended(path, tmp_path, capsys):
    """Results, errors and deaths of real workers, from another process."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    subprocess.run(
        [sys.executable, script], check=True, stderr=subprocess.DEVNULL, timeout=60
    )
    rows = list(map(json.loads, ask(capsys, "history", "--json").splitlines()))
    found = {row["task_name"]: row for row in rows}
    assert len(rows) == 3
    assert found["succeed"]["summary"] == "42"
    assert found["succeed"]["output"] == "hello from a worker\n"
    assert found["fail"]["error_type"] == "ValueError"
    assert 'raise ValueError("no <luck>")' in found["fail"]["traceback"]
    assert (found["die"]["outcome"], found["die"]["signal"]) == ("crashed", "SIGKILL")
    assert {row["origin"] for row in rows} == {str(script)}
    for name in ("fail", "die"):
        said = ask(capsys, "logs", name, "--run", found[name]["id"])
        assert said.startswith(f"{name}: ")
    assert len(ask(capsys, "history", "--failed", "--json").splitlines()) == 2
