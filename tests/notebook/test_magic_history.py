"""`%cron history` and `%cron show NAME --run ID`: what happened, in a notebook."""

from __future__ import annotations

import pytest
from history_rows import BEGAN, make_run, make_task, write
from hostile_texts import TEXTS
from IPython.core.error import UsageError

from ipycron.notebook.magic.completion import complete
from ipycron.notebook.magic.grammar import ParsedLine
from ipycron.notebook.magic.show import show_tasks
from ipycron.notebook.magic.usage import usage_errors

TRACE = (
    'Traceback (most recent call last):\n  File "job.py", line 3\nValueError: no luck'
)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file that this process reads."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("IPYCRON_HISTORY", str(path))
    return path


@pytest.fixture
def filled(path):
    """Runs of a task that is not scheduled here, and of one with a blank in it."""
    write(path, make_task(origin="/work/report.ipynb"))
    write(path, make_task("other", name="read mail"))
    for n in range(3):
        said = {"started_at": BEGAN + 60 * n, "finished_at": BEGAN + 60 * n + 1}
        write(path, make_run(n, id=f"{n}" * 32, summary=str(n), **said))
    said = {"error_type": "ValueError", "error": "no luck", "traceback": TRACE}
    said |= {"output": "a <b>\n\x1b[31mred\x1b[0m 1 %\r99 %\n", "pid": 4321}
    write(path, make_run(3, "failed", id="3" * 32, started_at=BEGAN + 180, **said))
    return write(path, make_run(4, "missed", task="other", missed_count=3))


def refuse(session, line):
    """Run a line that is a mistake; return what it says."""
    with pytest.raises(UsageError) as caught:
        session.shell.run_line_magic("cron", line)
    assert type(caught.value) is UsageError
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_history_is_shown_as_a_table(session, filled):
    """The newest first, of tasks of any program."""
    head, names, *rows = session.run("%cron history").splitlines()
    assert head == "<History: 5 runs>"
    assert names.split()[:3] == ["at", "task", "outcome"]
    assert rows[0] == "2094-01-15 08:04:00  read mail  missed (3 slots)"
    assert rows[1].split()[3:] == ["failed", "ValueError:", "no", "luck", "33333333"]


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("history report", 4),
        ('history report "read mail"', 5),
        ("history --failed", 1),
        ("history -n 2", 2),
        ("history report --last 4000w", 4),
        ("history report -n 3 --failed", 1),
    ],
)
def test_history_is_chosen_by_name_outcome_time_and_number(
    session, filled, line, count
):
    """As on the command line."""
    assert len(session.run(f"%cron {line}").splitlines()) == 2 + count


def test_limit_is_said_where_it_leaves_something_out(session, filled):
    """In the first line."""
    assert session.run("%cron history -n 2").startswith("<History: 2 runs, limit=2>\n")


def test_history_that_is_empty_says_so(session, path):
    """No file yet, or a task of this notebook that has not run."""
    assert session.run("%cron history") == "<History: nothing>\n"
    session.run("%%cron @yearly --name fresh --quiet\n1")
    assert session.run("%cron history fresh") == "<History: nothing>\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("history reprot", "no task called 'reprot'. Did you mean 'report'?"),
        ("history -n 0", "-n: got '0', expected a whole number ≥ 1"),
        ("history --last soon", "--last: got 'soon', expected a time such as"),
        ("history --lst 7d", "'--lst' is not an option. Did you mean '--last'?"),
        ("show report --run zz", "no run 'zz' of 'report'"),
        ("show --run 3", "name the one task whose run it is"),
        ("show --all --run 3", "name the one task whose run it is"),
        ('show report "read mail" --run 3', "name the one task"),
        ("show nobody --run 3", "no task called 'nobody'"),
    ],
)
def test_mistake_is_one_line(session, filled, line, said):
    """With what was meant, or is to be written."""
    assert said in refuse(session, line)


def test_file_that_cannot_be_read_is_one_line(session, path):
    """In each command, and none in completion."""
    path.write_bytes(b"no database" * 1000)
    assert "not an SQLite database" in refuse(session, "history")
    assert "not an SQLite database" in refuse(session, "show report --run 3")
    assert complete("%cron history ", session.shell).texts == []
    assert complete("%cron show report --run ", session.shell).texts == []


@pytest.mark.parametrize("command", ["show", "status", "logs"])
def test_task_that_is_gone_is_found_in_the_history(session, filled, command):
    """`%cron show` and `%cron logs` say which line shows its runs; that line works."""
    said = refuse(session, f'{command} "read mail"')
    assert said == (
        "no task is called 'read mail'. There are no tasks. "
        "It is in the history: %cron history 'read mail'"
    )
    table = session.run(said.partition("history: ")[2])
    assert table.startswith("<History: 1 run>")
    session.run("%%cron @yearly --name other --quiet\n1")
    said = refuse(session, f"{command} other report")
    assert said.endswith("Tasks: other. It is in the history: %cron history report")


@pytest.mark.parametrize("content", [None, b"no database" * 1000])
def test_history_is_not_named_when_it_has_no_such_task(session, path, content):
    """Nor where it is off or cannot be read: the mistake is the name."""
    if content is not None:
        path.write_bytes(content)
    said = refuse(session, "show reprot")
    assert said == "no task is called 'reprot'. There are no tasks."


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_name_of_a_task_that_is_gone_is_safe(session, path, text):
    """One line without control characters, whatever it was called."""
    write(path, make_task(name=text), make_run(0))
    with pytest.raises(UsageError) as caught, usage_errors():
        show_tasks(None, ParsedLine(words=(text,), values={}))
    said = str(caught.value)
    assert "%cron history " in said
    assert not set(said) & set(map(chr, (*range(0x20), 0x7F)))


def test_past_run_is_shown_whole(session, filled):
    """The facts, what it wrote as a terminal would show it, and the traceback."""
    assert session.run("%cron show report --run 33").splitlines() == [
        "report  failed",
        f"run       {'3' * 32}",
        "at        2094-01-15 08:03:00 UTC",
        "trigger   scheduled",
        "schedule  * * * * *",
        "error     ValueError: no luck",
        *shown(session, "worker"),
        "declared  function /work/report.ipynb",
        "  a <b>",
        "  99 %",
        *[f"  {line}" for line in TRACE.splitlines()],
    ]


def shown(session, label):
    """Return the lines of the run's view with this label: they name this machine."""
    lines = session.run("%cron show report --run 33").splitlines()
    return [line for line in lines if line.startswith(f"{label} ")]


def test_past_run_is_shown_on_a_page(session, filled):
    """With colours, everything else escaped."""
    session.run("import ipycron; run = ipycron.history('report')[0]")
    html = session.shell.display_formatter.format(session.names["run"])[0]["text/html"]
    assert "a &lt;b&gt;" in html
    assert "99 %" in html
    assert "1 %\r" not in html
    assert "ValueError: no luck" in html
    assert "✗" in html
    assert "process 4321" in html


def test_attempts_are_listed_with_their_run(session, filled):
    """When, with what end, and why."""
    write(filled, make_run(5, id="5" * 32, attempts=2, started_at=BEGAN + 300))
    for n in (1, 2):
        said = {"error": "busy"} if n == 1 else {}
        outcome = "failed" if n == 1 else "finished"
        row = make_run(5, outcome, id=f"try{n}", run="5" * 32, attempt=n, **said)
        write(filled, row)
    lines = session.run("%cron show report --run 5").splitlines()
    assert lines[0] == "report  finished (2 attempts)"
    assert lines[-2:] == [
        "attempt 1 2094-01-15 08:05:00 failed: busy",
        "attempt 2 2094-01-15 08:05:00 finished",
    ]


def test_failure_says_why_no_attempt_followed(session, filled):
    """In the details of a past run, and with the output of the last one."""
    why = "no further attempt: ended by the next slot of the task"
    said = {"error_type": "OSError", "error": "no", "summary": why}
    write(filled, make_run(5, "failed", id="5" * 32, started_at=BEGAN + 300, **said))
    lines = session.run("%cron show report --run 5").splitlines()
    assert f"retry     {why}" in lines
    session.run(
        "%%cron @yearly --name now --quiet --retry 3 --retry-on ValueError\n1/0"
    )
    session.run("%cron run now --wait")
    said = session.run("%cron logs now")
    (line, *_) = said.splitlines()
    assert line.endswith(" (no further attempt: on= does not name this failure)")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_past_run_is_safe_whatever_its_texts_are(session, path, text):
    """As text and on a page; a long output is cut."""
    write(path, make_task(name=text, origin=text, pattern=text))
    said = {"error": text, "output": text * 3, "traceback": text, "summary": text}
    write(path, make_run(0, "failed", started_at=BEGAN, id="ab12", **said))
    session.run("import ipycron; found = ipycron.history()")
    for name in ("found", "found[0]"):
        session.run(f"shown = {name}")
        bundle = session.shell.display_formatter.format(session.names["shown"])[0]
        html, plain = bundle["text/html"], bundle["text/plain"]
        for evil in ("<script", "<img", "</style", "<style", "\x1b", "\x07"):
            assert evil not in html
        assert not set(plain) & set(map(chr, (*range(0x09), *range(0x0B, 0x20), 0x7F)))


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("%cron hist", ["history"]),
        ("%cron history ", ['"read mail"', "report"]),
        ("%cron history rep", ["report"]),
        ("%cron history report ", ['"read mail"']),
        ("%cron history --", ["--last", "--failed", "--count"]),
        ("%cron show --", ["--all", "--run"]),
        ("%cron show report --run ", ["3" * 32, "2" * 32, "1" * 32, "0" * 32]),
        ("%cron show report --run 2", ["2" * 32]),
        ('%cron show "read mail" --run ', []),
        ('%cron show "read --run ', []),
        ("%cron show --run ", []),
    ],
)
def test_line_is_completed_from_the_history(session, filled, text, offered):
    """Names of tasks that have run, and ids of runs with something to show."""
    assert complete(text, session.shell).texts == offered


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("history", "[NAME...] [--last 7d] [--failed] [-n 50]"),
        ("show", "NAME... | --all | NAME --run ID"),
        ("pause", "NAME... | --all [--until TIME] [--note TEXT]"),
        ("resume", "NAME... | --all [--catch-up latest|all]"),
    ],
)
def test_manual_names_the_commands(session, name, usage):
    """With their options, in `%cron help` and `%%cron?`; `%cron help NAME` is one's."""
    asked = session.shell.object_inspect("%%cron")["docstring"]
    for manual in (session.run("%cron help"), asked):
        assert f"%cron {name} {usage}" in manual
    assert session.run(f"%cron help {name}").startswith(f"%cron {name} {usage}\n")


def test_cell_that_has_just_run_is_in_the_history(session):
    """Its output and its result, though the writer is on another thread."""
    session.run("%%cron @yearly --name just-now --quiet\nprint('hello'); 6 * 7")
    session.run("%cron run just-now --wait")
    head, _, row = session.run("%cron history just-now").splitlines()
    assert head == "<History: 1 run>"
    assert " just-now  finished " in row
    assert "  42  " in row
    shown = session.run(f"%cron show just-now --run {row.split()[-1]}").splitlines()
    assert shown[0] == "just-now  finished"
    assert shown[-1] == "  hello"


def test_cell_that_has_failed_is_in_the_history(session):
    """With the traceback of its worker, and its lines."""
    session.run("%%cron @yearly --name bad-one --quiet\nx = 1\nx / 0")
    session.run("%cron run bad-one --wait")
    run = session.run("%cron history bad-one --failed").split()[-1]
    shown = session.run(f"%cron show bad-one --run {run}")
    assert "error     ZeroDivisionError: division by zero" in shown
    assert "x / 0" in shown
