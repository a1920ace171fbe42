"""The commands of `%cron`: what they do and print."""

import re
import threading
import time

import pytest
from hours import INSTANT
from polling import eventually

from ipycron import get_task, get_tasks
from ipycron.api.text_table import write_text_table
from ipycron.notebook.display.words import get_now
from ipycron.notebook.magic.manual import write_manual

DEADLINE = 20.0
TOOK = r"(\d+ ms|[\d.]+ s)"
"""How long a run took: under a tenth of a second, unless the machine is busy."""


def names():
    """Return the names of all tasks."""
    return [task.name for task in get_tasks().values()]


@pytest.fixture
def report(session):
    """A task called report, loaded; its output so far is discarded."""
    session.run("%%cron @yearly --name report\nprint('hello')\n6 * 7")
    task = get_task("report")
    task.start().result(DEADLINE)
    return task


def test_list_says_so_when_there_is_nothing(session):
    """An empty table would be confusing."""
    assert session.run("%cron") == "no task is scheduled\n"


def test_list_shows_each_task_in_a_row(session, report):
    """Name, status, schedule with its words, next run, last run, past runs."""
    session.run("%cron run report --wait")
    head, row = session.run("%cron").splitlines()
    assert head.split("  ")[0] == "name"
    assert re.fullmatch(
        r"report  idle    @yearly At 00:00, on day 1 of the month, only in January"
        r"  20\d\d-01-01 00:00, in \d+ (d|h|min|s)( \d+ (h|min|s))?"
        rf"  {INSTANT} finished in {TOOK}: 42  1",
        row,
    )
    assert session.run("%cron list").splitlines()[1].startswith("report")


def test_list_and_show_say_how_many_runs_they_leave_out(session, report):
    """The last twenty are remembered, all are counted, as on the card."""
    assert "past runs  " not in session.run("%cron show report")
    for _ in range(22):
        report.execute().result(DEADLINE)
    # What the last runs have printed may come between.
    shown = session.run("%cron").splitlines()
    head, row = [line for line in shown if line != "hello"]
    assert head.endswith("  past runs")
    assert row.endswith("  20 of 22")
    assert "past runs 20 of 22" in session.run("%cron show report").splitlines()
    bundle = session.shell.display_formatter.format(report)[0]
    assert re.search(r"past runs</td><td[^>]*>20 of 22<", bundle["text/html"])


def test_list_tells_what_fails_and_how_many_run(session):
    """As in the panel: a task whose last run failed is not just "idle"."""
    session.run("%%cron @yearly --name bad --quiet\n1 / 0")
    session.run("%cron run bad --wait")
    session.run("import threading; held = threading.Event()")
    session.run("import ipycron; side = ipycron.schedule('@yearly', held.wait)")
    session.run("ended = [side.execute() for _ in range(3)]")
    eventually(lambda: len(session.names["side"].running) == 3)
    bad, side = session.run("%cron").splitlines()[1:]
    session.run("held.set(); [run.result(20) for run in ended]")

    assert bad.split()[:2] == ["bad", "failing"]
    assert side.split()[1:3] == ["3", "running"]
    assert "idle" in session.run("%cron").splitlines()[2]
    session.run("%cron stop bad")
    assert session.run("%cron").splitlines()[1].split()[:2] == ["bad", "stopped"]


@pytest.mark.parametrize(
    ("room", "lines"),
    [
        (None, ["name" + " " * 28 + "last", "x" * 30 + "  " + "y" * 20]),
        (52, ["name" + " " * 28 + "last", "x" * 30 + "  " + "y" * 20]),
        (44, ["name" + " " * 20 + "last", "x" * 21 + "…  " + "y" * 20]),
        (10, ["name" + " " * 10 + "last", "x" * 11 + "…  " + "y" * 11 + "…"]),
    ],
)
def test_table_fits_its_terminal(room, lines):
    """The widest columns shrink first, down to a dozen characters."""
    table = write_text_table((("name", "last"), ("x" * 30, "y" * 20)), room=room)
    assert table.splitlines()[: len(lines)] == lines


def test_table_is_straight_whatever_letters_names_have():
    """A terminal shows some in two columns, and accents in none."""
    names = ("name", "数据 🚀", "e\u0301te\u0301", "数" * 40)
    table = write_text_table([(name, "|") for name in names], room=24).splitlines()
    assert table == [
        "name" + " " * 19 + "|",
        "数据 🚀" + " " * 16 + "|",
        "e\u0301te\u0301" + " " * 20 + "|",
        "数" * 10 + "…  |",
    ]


def test_list_tells_a_task_that_only_ends_from_the_one_in_its_place(session):
    """A run in progress may end while another task has the name already."""
    body = "import time\ntime.sleep(60)"
    session.run(f"%%cron @yearly --name it --stop-timeout 60 --quiet\n{body}")
    session.run("%cron run it")
    session.run("%%cron @daily --name it --quiet\n1")
    session.run("%cron start it")
    first, second = session.run("%cron").splitlines()[1:]
    assert first.split()[:2] == ["it", "ending"]
    assert second.split()[:2] == ["it", "idle"]


def test_tasks_are_stopped_and_started(session, report):
    """Each command prints the new state."""
    assert session.run("%cron stop report") == "report: stopped\n"
    assert report.status == "stopped"
    assert re.fullmatch(
        r"report: idle, next 20\d\d-01-01 00:00\n", session.run("%cron start report")
    )
    assert report.status == "idle"


def test_tasks_are_paused_and_resumed(session, report):
    """Each command prints the new state; the list says until when, and why."""
    said = session.run("%cron pause report --until '2999-03-01 09:00' --note down")
    assert said.startswith("report: paused until 2999-03-01 09:00 (down), next 3000")
    row = session.run("%cron").splitlines()[1]
    assert row.startswith("report  paused until 2999-03-01 09:00 (down)  @yearly")
    shown = session.run("%cron show report")
    assert shown.startswith("report    paused until 2999-03-01 09:00 (down)\n")
    page = session.shell.display_formatter.format(report)[0]["text/html"]
    assert "paused until 2999-03-01 09:00 (down)" in page
    assert session.run("%cron pause report") == "report: paused\n"
    assert session.run("%cron next report -n 1").endswith(" (it is paused)\n")
    assert ": 42\n" in session.run("%cron run report --wait")
    assert session.run("%cron stop report") == "report: stopped, paused\n"
    assert session.run("%cron start report") == "report: paused\n"
    assert report.is_paused
    assert re.fullmatch(
        r"report: idle, next 20\d\d-01-01 00:00\n", session.run("%cron resume report")
    )
    assert not report.is_paused
    assert session.run("%cron pause --all --until 2h").startswith(
        "report: paused until"
    )
    left = (report.paused_until - get_now()).total_seconds()
    assert 7000 < left <= 7201


def test_next_of_a_paused_task_is_what_will_run(session):
    """From the end of the pause on; a fire at that moment is one."""
    session.run("%%cron 0 9 * * * --tz UTC --name it --quiet\n1")
    get_task("it").start().result(DEADLINE)
    session.run("%cron pause it --until '2999-03-01 09:00'")
    said = session.run("%cron next it -n 2")
    assert said == "it: 2999-03-01 09:00, 2999-03-02 09:00\n"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--until yesterday", "until: got 'yesterday', expected seconds from now"),
        ("--catch-up all", "'--catch-up' is not an option"),
        ("--until 2020-01-01", "until: got '2020-01-01', expected an instant to come"),
        (f"--note {'x' * 501}", "expected text of at most 500 characters"),
    ],
)
def test_pause_refuses_what_it_does_not_understand(session, report, options, error):
    """In one line, and the task is not paused."""
    assert error in session.run(f"%cron pause report {options}")
    assert not report.is_paused


def test_note_of_a_pause_cannot_disturb_the_list(session, report):
    """Not by its lines, nor by what turns the text around."""
    report.pause(note="a\nb \u202etxt\x1b[2J <b>").result(DEADLINE)
    row = session.run("%cron").splitlines()[1]
    assert row.startswith("report  paused (a b ")
    assert "\u202e" not in row
    assert "\x1b" not in row
    page = session.shell.display_formatter.format(report)[0]["text/html"]
    assert "&lt;b&gt;" in page


def test_tasks_are_destroyed(session, report):
    """A destroyed task is gone."""
    assert session.run("%cron destroy report") == "report: destroyed\n"
    assert names() == []


@pytest.mark.alone
def test_all_tasks_are_stopped_at_the_same_time(session):
    """Waiting for two runs one after the other would take 2 s."""
    for name in "ab":
        session.run(
            f"%%cron @yearly --name {name} --stop-timeout 1 --run-now --quiet\n"
            "import time\ntime.sleep(60)"
        )
    eventually(lambda: all(task.is_busy for task in get_tasks().values()))
    began = time.monotonic()
    assert session.run("%cron stop --all") == "a: stopped\nb: stopped\n"
    assert time.monotonic() - began < 1.9


def test_stop_does_not_wait_when_it_is_forced(session):
    """``--force`` ends a run at once."""
    session.run(
        "%%cron @yearly --name a --stop-timeout 60 --run-now --quiet\n"
        "import time\ntime.sleep(60)"
    )
    eventually(lambda: get_task("a").is_busy)
    assert session.run("%cron stop a --force") == "a: stopped\n"


def test_start_says_why_it_fails(session, tmp_path):
    """The traceback of the file, then one line."""
    (tmp_path / "bad.py").write_text("import nothing_of_this_name\ndef task(): pass\n")
    session.run(f"%cron @yearly {tmp_path}/bad.py --quiet")
    said = session.run("%cron start bad")
    assert f'File "{tmp_path}/bad.py", line 1' in said
    assert said.endswith(
        "UsageError: task 'bad' did not start: ModuleNotFoundError: "
        "No module named 'nothing_of_this_name'\n"
    )


def test_run_does_not_wait(session):
    """It says that the run is in progress."""
    session.run("%%cron @yearly --name it --quiet\nimport time\ntime.sleep(60)")
    assert session.run("%cron run it") == "it: runs now\n"
    assert get_task("it").history.finished == 0


SLOW = """%%cron 0 0 1 1 * --name it --into value
import threading, time

class Slow:
    def __reduce__(self):
        return time.sleep, (0.5,)

Slow()
"""


@pytest.mark.parametrize("command", ["%cron run it --wait", "%cron wait it --runs 1"])
def test_result_is_in_its_variable_when_the_wait_is_over(session, command):
    """However long loading takes, and whatever other listeners there are."""
    session.run(SLOW)
    if "runs" in command:
        threading.Timer(0.5, get_task("it").execute).start()
    session.run(command)
    assert "value" in session.names


def test_stopped_run_is_not_logged_as_a_failure(session, caplog):
    """The user asked for the stop."""
    session.run("%%cron @yearly --name it --quiet\nimport time; time.sleep(60)")
    session.run("%cron run it")
    session.run("%cron destroy it --force")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_unseen_run_logs_its_failure(session, caplog):
    """A quiet task shows it nowhere else."""
    session.run("%%cron @yearly --name it --quiet\n1 / 0")
    session.run("%cron run it")
    eventually(lambda: caplog.records)
    assert caplog.records[0].getMessage() == (
        "task 'it': a run failed: ZeroDivisionError: division by zero"
    )


def test_run_waits_when_it_is_to(session):
    """Its output, then when it ran, how long, and the result."""
    session.run("%%cron @yearly --name it --quiet\nprint('hello')\n[4]")
    said = session.run("%cron run it --wait")
    assert re.fullmatch(rf"hello\nit: {INSTANT} finished in {TOOK}: \[4\]\n", said)


def test_run_shows_the_failure_that_it_waits_for(session):
    """A failed run is not an error in the line."""
    session.run("%%cron @yearly --name it --quiet\n1 / 0")
    said = session.run("%cron run it --wait")
    assert "ZeroDivisionError" in said
    assert re.search(
        r"it: .* failed after .*: ZeroDivisionError: division by zero\n", said
    )
    assert session.result.success


def test_run_is_refused_when_the_task_is_stopped(session, report):
    """The refusal is one line."""
    session.run("%cron stop report")
    assert session.run("%cron run report") == (
        "UsageError: task 'report' is stopped. Start it with %cron start.\n"
    )


def test_show_tells_all_of_a_task(session, report):
    """State, schedule, next and last run, and the last run's output."""
    session.run("%cron run report --wait")
    lines = session.run("%cron show report").splitlines()
    assert lines[0].split() == ["report", "idle"]
    assert lines[1] == (
        "schedule  @yearly  At 00:00, on day 1 of the month, only in January "
        f"({report.timezone})"
    )
    assert lines[-2:] == ["  hello", "  42"]


def test_logs_print_the_last_run(session, report):
    """Its output, or that there was no run."""
    assert session.run("%cron logs report") == "report: has not run yet\n"
    session.run("%cron run report --wait")
    assert re.fullmatch(
        rf"report: {INSTANT} finished in {TOOK}: 42\nhello\n",
        session.run("%cron logs report"),
    )


def test_next_prints_as_many_fires_as_asked_for(session):
    """Whether or not the task is armed."""
    session.run("%%cron 0 0 1 1 * --tz UTC --name it --quiet\n1")
    session.run("%cron stop it")
    said = session.run("%cron next it -n 2")
    assert re.fullmatch(
        r"it: (20\d\d)-01-01 00:00, (20\d\d)-01-01 00:00 \(it is stopped\)\n", said
    )


def test_explain_tells_what_an_expression_means(session):
    """Words, zone and fires, without a task."""
    said = session.run("%cron explain 0 0 1 1 * --tz Europe/Rome -n 2").splitlines()
    assert said[:3] == [
        "expression  0 0 1 1 *",
        "means       At 00:00, on day 1 of the month, only in January",
        "zone        Europe/Rome",
    ]
    assert re.fullmatch(r"next        20\d\d-01-01 00:00, 20\d\d-01-01 00:00", said[3])
    assert not get_tasks()


def test_panel_is_a_table_at_a_prompt(session, report):
    """Since there are no widgets."""
    assert session.run("%cron panel").splitlines()[1].startswith("report  idle")


def test_wait_returns_when_the_runs_have_ended(session):
    """It prints how long it took and how many runs there were."""
    session.run("%%cron * * * * * * --name it --quiet\n1 / 0")
    said = session.run("%cron wait it --runs 2")
    # It goes on: by the time that it is counted, there may have been another run.
    assert re.fullmatch(
        r"waited [\d.]+ s; it: ([2-9]|\d\d+) runs, \1 failed\n", said
    ), said


def test_wait_returns_when_the_time_is_over(session, report):
    """A timeout is not an error."""
    said = session.run("%cron wait --runs 1 --for 100ms")
    assert re.fullmatch(r"timed out after [\d.]+ s; report: 0 runs\n", said)


def test_wait_returns_when_all_tasks_are_over(session):
    """A task with a limit ends by itself."""
    session.run("%%cron * * * * * * --max 1 --name it --quiet\n1")
    assert re.fullmatch(r"waited [\d.]+ s; it: 1 run\n", session.run("%cron wait"))


def test_wait_returns_when_a_start_fails(session, tmp_path):
    """That task will never run; "0 runs" would look as if it had nothing to do."""
    (tmp_path / "bad.py").write_text("1 / 0\ndef task(): pass\n")
    session.run(f"%cron * * * * * * {tmp_path}/bad.py --quiet")
    assert re.fullmatch(
        r"waited [\d.]+ s; bad: did not start: ZeroDivisionError: division by zero\n",
        session.run("%cron wait bad --runs 1"),
    )


def test_help_of_a_command_is_short(session):
    """Its syntax, and what it does."""
    assert session.run("%cron stop --help") == (
        "%cron stop NAME... | --all [--force]\nstop; %cron start starts it again\n"
    )


@pytest.mark.parametrize(
    "source",
    ["%cron --help", "%cron -h", "%%cron --help", "%%cron * * * * * --help\nprint(1)"],
)
def test_help_is_the_manual(session, source):
    """Examples, every option, every command; nothing is scheduled."""
    said = session.run(source)
    assert "%%cron 0 9 * * mon-fri --tz Europe/Berlin" in said
    for text in (
        "--timezone, --tz TEXT",
        "--max-executions, --max N",
        "--into TEXT",
        "--no-day-or, --day-and                  both day fields must match",
        "--jitter TIME",
        "%cron wait [NAME...] [--runs N] [--for TIME]",
    ):
        assert text in said
    assert max(map(len, said.splitlines())) <= 120
    assert not get_tasks()


def test_question_mark_shows_the_manual(session):
    """``%%cron?`` is what people try first."""
    info = session.shell.object_inspect("%%cron")
    assert info["found"]
    assert info["docstring"].startswith("Run a cell or a file on a schedule")


def test_manual_names_each_option_once():
    """An alias of the command line may be the magic's own name of the option."""
    lines = [line.split() for line in write_manual().splitlines()]
    names = [[w.strip(",") for w in line if w.startswith("--")] for line in lines]
    assert ["--jitter"] in names
    assert ["--no-history"] in names
    assert all(len(set(each)) == len(each) for each in names)
