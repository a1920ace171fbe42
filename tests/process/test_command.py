"""The command's answers to invalid input, and names that are not valid text."""

import os
import re
import signal
import subprocess
import sys

import psutil
import pytest
from polling import pause

import ipycron
from ipycron.cli.command import main

RUN = [sys.executable, "-m", "ipycron.cli", "run"]


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_next_wants_a_number_of_fires(capsys, number):
    """Exit code 0 without output would look like an answer."""
    with pytest.raises(SystemExit) as caught:
        main(["next", "* * * * *", "-n", number])
    assert caught.value.code == 2
    assert "argument -n" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["ipycron", "ipycron.cli"])
def test_version_is_printed_by_the_command_and_the_module(module):
    """Bug reports start with it."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"ipycron {ipycron.__version__}\n"


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
    """As for `run`, the magics and `schedule`."""
    assert main([command, "0 9 * * *", flag, "Asia/Tokyo"]) == 0
    assert ("JST" if command == "next" else "Asia/Tokyo") in capsys.readouterr().out


def test_run_takes_the_zone_by_either_name(tmp_path, capsys):
    """It reaches the check of zones."""
    path = tmp_path / "job.py"
    path.write_text("")
    for flag in ("--timezone", "--tz"):
        assert main(["run", flag, "Mars/Phobos", "* * * * *", str(path)]) == 2
        assert "timezone: got 'Mars/Phobos'" in capsys.readouterr().err


def test_explain_warns_about_a_step_wider_than_its_field(capsys):
    """It is valid, but perhaps unintended."""
    assert main(["explain", "*/90 * * * * *"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Every minute (")
    assert "warning: second: the step of '*/90' is wider than its 60 values" in said


@pytest.mark.parametrize("command", ["next", "explain"])
def test_hashed_field_is_drawn_for_a_name(capsys, command):
    """Without a name the error says what is missing."""
    assert main([command, "H 9 * * *", "--hash-id", "report"]) == 0
    assert main([command, "H 9 * * *"]) == 2
    said = capsys.readouterr().err
    assert "such as a name" in said
    assert "--hash-id NAME" in said
    assert main([command, "61 9 * * *"]) == 2
    assert "--hash-id" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every 90s", "Every 90 seconds"),
        ("0 9 * * * | @every 2h", "At 09:00; or every 2 hours"),
        ("at 2999-12-01 09:00", "At 2999-12-01 09:00"),
    ],
)
def test_triggers_are_explained_and_counted(capsys, text, words):
    """What no cron expression can say."""
    assert main(["explain", text, "--tz", "UTC"]) == 0
    assert capsys.readouterr().out.startswith(f"{words} (UTC)\nnext: ")
    assert main(["next", text, "-n", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every 5 minutes", "Try: @every 5m"),
        ("@every 0s", "every: got '0s', expected whole seconds"),
        ("at 2020-01-01", "at: got '2020-01-01 00:00:00"),
    ],
)
def test_trigger_that_is_wrong_is_refused(capsys, tmp_path, text, message):
    """Before anything runs."""
    path = tmp_path / "job.py"
    path.write_text("")
    for words in (["explain", text], ["next", text], ["run", text, str(path)]):
        assert main(words) == 2
        assert message in capsys.readouterr().err


def test_file_is_run_at_an_interval(tmp_path):
    """Also as a line of a file of tasks, without quotes."""
    (tmp_path / "job.py").write_text("print('ran')")
    (tmp_path / "tasks").write_text("every 1s job.py\n")
    done = run("--max-executions", "2", "every 1s", "job.py", cwd=tmp_path)
    assert done.stdout == b"ran\nran\n"
    done = run("--max-executions", "1", "-f", "tasks", cwd=tmp_path)
    assert done.stdout == b"ran\n"
    done = run("--max-executions", "1", "every", "1s", "job.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (b"ran\n", b"")


@pytest.mark.parametrize("words", ["every 90s", "@at 2999-12-01 09:00", "0 9 1 1 1"])
@pytest.mark.parametrize("command", ["next", "explain"])
def test_expression_needs_no_quotes_where_nothing_follows_it(capsys, command, words):
    """A shell leaves words without a star as they are."""
    assert main([command, *words.split(), "--tz", "UTC"]) == 0
    apart = capsys.readouterr().out
    assert main([command, words, "--tz", "UTC"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(apart.splitlines())


def test_next_prints_while_it_counts_and_ends_at_an_interrupt():
    """A hundred million fires are printed one by one."""
    program = [sys.executable, "-m", "ipycron.cli", "next", "* * * * * *"]
    with subprocess.Popen(
        [*program, "-n", "999999999"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        first = running.stdout.readline()
        memory = psutil.Process(running.pid).memory_info().rss
        running.stdout.read(1_000_000)
        assert psutil.Process(running.pid).memory_info().rss - memory < 10_000_000
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert first.strip()
    assert (running.returncode, said) == (130, b"")


def test_file_whose_name_is_not_text_is_run_and_its_failure_shown(tmp_path):
    """Undecodable characters are escaped; a failure gives an exit code."""
    path = tmp_path / os.fsdecode(b"caf\xe9.py")
    path.write_text("def task(): raise ValueError('no luck')")
    done = run("--prefix", "--max-executions", "1", EACH, path.name, cwd=tmp_path)
    assert done.returncode == 1
    assert b"caf\\xe9.py: Traceback" in done.stderr
    assert done.stderr.count(b"ValueError: no luck") == 1
    assert b"UnicodeEncodeError" not in done.stdout + done.stderr


EACH = "* * * * * *"
SPEAK = """
import sys, time
print("out", sys.argv[1:], flush=True)
print("err", file=sys.stderr, flush=True)
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)
print("x" * 300)
"""


def run(*words, **options):
    """Run the command to its end; return its output."""
    return subprocess.run(
        [*RUN, *words],
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture
def job(tmp_path):
    """A script that writes to both streams."""
    path = tmp_path / "job.py"
    path.write_text(SPEAK)
    return path


def test_run_passes_on_what_a_run_writes(job):
    """Unchanged, each stream to its own; nothing else is written."""
    done = run("--max", "1", EACH, job)
    assert done.stdout == b"out []\n" + b"x" * 300 + b"\n"
    assert (done.stderr, done.returncode) == (b"err\n", 0)


def test_run_passes_lines_on_as_they_come(job):
    """A reader need not wait for the end of the run."""
    words = [*RUN, "--max", "1", EACH, job, "20"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"out ['20']\n"
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        while running.poll() is None:
            # A person's second Ctrl-C, while the run ends. Two that come before a
            # busy machine has handled one are one.
            pause(0.3)
            running.send_signal(signal.SIGINT)
        assert running.returncode == 130


@pytest.mark.parametrize("words", [["--", "--flag", "x"], ["--flag", "x"]])
def test_run_leaves_what_follows_the_file_to_it(tmp_path, words):
    """With and without ``--``, like python."""
    path = tmp_path / "job.py"
    path.write_text("import sys; print(sys.argv[1:])")
    done = run("--max", "1", EACH, path, *words)
    assert done.stdout == b"['--flag', 'x']\n"


def test_run_marks_lines_on_request(job):
    """With time and task; no line is truncated."""
    done = run("--timestamps", "--prefix", "--name", "beat", "--max", "1", EACH, job)
    time_text = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
    lines = done.stdout.decode().splitlines()
    assert [re.sub(time_text, "T", line) for line in lines] == [
        "T beat: out []",
        f"T beat: {'x' * 300}",
    ]


def test_run_ends_when_its_output_is_not_read(job):
    """As in ``ipycron run … | head``."""
    with subprocess.Popen([*RUN, EACH, job], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"out []\n"
        running.stdout.close()
        assert running.wait(20) == 0


def test_exit_code_is_that_of_the_last_run(tmp_path):
    """A failure followed by a success is forgotten."""
    path = tmp_path / "job.py"
    path.write_text(
        "from pathlib import Path\nseen = Path('seen')\n"
        "if not seen.exists():\n    seen.touch()\n    raise ValueError('once')\n"
    )
    done = run("--max", "2", EACH, path, cwd=tmp_path)
    assert (done.returncode, b"ValueError: once" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-executions", "0", EACH, "job.py"], "max_executions: got 0"),
        (
            ["job.py", "other.py"],
            "Quote the expression: ipycron run '* * * * *' job.py",
        ),
        (["job.py", EACH], "the expression comes first: ipycron run '* * * * * *' job"),
        (["0", "9", "*", "*", "*", "job.py"], "quote the expression: ipycron run '0 9"),
        ([EACH, "job.py", "other.py"], "got a second file, other.py"),
        (["every", "0s", "job.py"], "every: got '0s', expected whole seconds"),
        (["at", "2020-01-01", "09:00", "job.py"], "at: got '2020-01-01 09:00:00"),
        (["every", "5m"], "no file after the expression"),
        (["@every", "5m", "--retry", "3", "job.py"], "got the option '--retry'"),
        (
            ["every", "5m", "--retry", "3", "job.py"],
            "put the options first: ipycron run 'every 5m' --retry",
        ),
    ],
)
def test_commonest_mistakes_are_answered(job, words, said):
    """With the correct form, in one line."""
    (job.parent / "other.py").touch()
    done = run(*words, cwd=job.parent)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert said in line


TASKS = """\
# a file of tasks

  * * * * * *  one.py x "y z"
\t# indented
"* * * * * *" sub/two.py
@yearly one.py
"""


@pytest.fixture
def tasks(tmp_path):
    """A file of tasks, and the jobs that it runs."""
    (tmp_path / "sub").mkdir()
    for name in ("one.py", "sub/two.py"):
        (tmp_path / name).write_text("import sys; print(sys.argv[1:])")
    path = tmp_path / "tasks.cron"
    path.write_text(TASKS)
    return path


def test_run_runs_the_tasks_of_a_file_until_an_interrupt(tasks):
    """From any folder; output lines are marked with their task's name."""
    words = [*RUN, "-f", tasks]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        lines = {running.stdout.readline() for _ in range(2)}
        while len(lines) < 2:
            lines.add(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.wait(20) == 0
    assert lines == {b"one.py:3: ['x', 'y z']\n", b"sub/two.py: []\n"}


def test_run_fails_when_a_task_of_a_file_has_failed_last(tasks):
    """Whatever the other tasks did afterwards."""
    (tasks.parent / "bad.py").write_text("import sys; sys.exit(3)")
    lines = b"* * * * * * one.py\n* * * * * * bad.py\n"
    done = subprocess.run(
        [*RUN, "--max", "1", "-f", "-"],
        input=lines,
        capture_output=True,
        cwd=tasks.parent,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"one.py: []\n")
    assert b"bad.py: SystemExit: 3\n" in done.stderr


def test_run_names_each_bad_line_of_a_file(tasks):
    """By number, all of them together; nothing is run."""
    bad = [
        "* * * * * * one.py",
        "61 * * * * one.py",
        "* * * * *",
        "* * * * * none.py",
        "0 0 30 2 * one.py",
        "PATH=/bin",
        "@reboot one.py",
        "* * * * * 'one.py",
        "one.py * * * * *",
        "@hourly --retry 3 one.py",
        "every 5 minutes one.py",
    ]
    tasks.write_text("\n".join(bad))
    done = run("-f", tasks.name, cwd=tasks.parent)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    numbers = [int(n) for n in re.findall(r"tasks\.cron:(\d+): ", said)]
    assert numbers == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "got the option '--retry' for the file" in said
    assert "Try: @every 5m" in said
    assert "got '61'" in said
    assert "none.py does not exist" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "none.cron"], "-f none.cron: No such file or directory"),
        (["-f", "tasks.cron", EACH, "one.py"], f"got '{EACH}' beside -f tasks.cron"),
        ([EACH, "-f", "tasks.cron", "one.py"], f"got '{EACH}' beside -f tasks.cron"),
        (["-f", "tasks.cron", "--name", "x"], "--name is for one task"),
        ([EACH, "one.py", EACH, "sub/two.py"], "got a second file, sub/two.py"),
        ([EACH], f"ipycron run '{EACH}' FILE schedules a file"),
        (["one.py"], "ipycron run EXPRESSION one.py schedules it"),
        (["--json", EACH, "one.py"], "--json is for a kept task"),
        (["--retry", "3", "nightly"], "--retry is for scheduling a file"),
        (["--prefix", "nightly"], "--prefix is for scheduling a file"),
        ([], "the following arguments are required: expression"),
    ],
)
def test_run_takes_words_or_a_file_of_tasks(tasks, words, said):
    """No argument is silently ignored."""
    done = run(*words, cwd=tasks.parent)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()


def test_knobs_of_catch_up_are_checked(job):
    """One that would do nothing, and one that is out of range."""
    done = run("--catch-up-window", "60", EACH, job)
    assert done.returncode == 2
    assert b"catch_up: got 'none', expected 'latest' or 'all' with" in done.stderr
    done = run("--catch-up", "all", "--catch-up-limit", "0", EACH, job)
    assert done.returncode == 2
    assert b"limit: got 0, expected a whole number from 1 to 10000." in done.stderr


def test_knobs_of_retry_are_checked(job):
    """One that would do nothing, and those that are out of range."""
    done = run("--retry-delay", "60", EACH, job)
    assert done.returncode == 2
    assert b"--retry-delay: got 60.0, expected --retry with --retry-delay. Add" in (
        done.stderr
    )
    done = run("--retry", "1", "--retry-jitter", "-1", EACH, job)
    assert done.returncode == 2
    assert b"jitter: got -1.0, expected a finite number from 0 to 1." in done.stderr
    done = run("--pool", "gpu", EACH, job)
    assert done.returncode == 2
    assert b"--pool needs its limit: --pool-limit N" in done.stderr
    done = run("--pool", "gpu", "--pool-limit", "0", EACH, job)
    assert done.returncode == 2
    assert b"limit: got 0, expected a whole number" in done.stderr


def test_run_repeats_a_script_that_fails(tmp_path):
    """By its exit code, in a pool, one after another."""
    job = tmp_path / "job.py"
    job.write_text(
        "import pathlib, sys\n"
        "seen = pathlib.Path(__file__).with_suffix('.seen')\n"
        "if not seen.exists():\n    seen.touch()\n    sys.exit(3)\n"
        "print('in the second attempt')\n"
    )
    knobs = ("--retry", "2", "--retry-delay", "0.1", "--retry-on", "3,OSError")
    pool = ("--pool", "disk", "--pool-limit", "1", "--overlap", "queue")
    done = run("--max", "1", *knobs, *pool, EACH, job)
    assert done.returncode == 0
    assert b"in the second attempt" in done.stdout


def test_exclusions_that_are_given_more_than_once_add_up(job):
    """The last one alone would leave every other day."""
    done = run("--exclude", "mon-thu", "--exclude", "fri-sun", EACH, job)
    assert done.returncode == 2
    assert b"expected something that leaves a slot" in done.stderr
    done = run(
        "--max", "1", "--exclude", "2020-01-01", "--exclude", "2021-01-01", EACH, job
    )
    assert (done.stderr, done.returncode) == (b"err\n", 0)


def test_run_takes_catch_up(job):
    """The task runs as ever."""
    knobs = ("--catch-up", "latest", "--catch-up-window", "3600")
    done = run("--max", "1", *knobs, EACH, job)
    assert (done.stderr, done.returncode) == (b"err\n", 0)
