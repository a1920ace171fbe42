"""Invalid input: one clear line, exactly a `UsageError`, and nothing is scheduled."""

import pytest
from IPython.core.error import UsageError

from ipycron import get_tasks

NOTEBOOK = """\
import sqlite3, threading
name = "report"
connection = sqlite3.connect(":memory:")
lock = threading.Lock()
numbers = (n for n in range(3))
log = None
"""

FIELDS = (
    "expected 5 fields (minute, hour, day of month, month, day of week), "
    "6 with seconds first, or a nickname such as @daily."
)
WAY_OUT = "or leave it out: --capture NAMES sends exactly those, --no-capture nothing."


def refuse(session, source):
    """Run a cell that is refused; return the error's text."""
    session.run(NOTEBOOK)
    written = session.run(source)
    session.names["connection"].close()
    error = session.result.error_in_exec
    assert type(error) is UsageError, written
    assert written == f"UsageError: {error}\n"
    assert not get_tasks()
    return str(error)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "* * * *",
            f"expression: got 4 fields, {FIELDS}\n  * * * *\n        ^",
        ),
        (
            "0 * * * * * 2026",
            (
                f"expression: got 7 fields, {FIELDS}\n"
                "  0 * * * * * 2026\n              ^^^^\nTry: 0 * * * * *"
            ),
        ),
        (
            "60 * * * *",
            (
                "minute: got '60', expected 0 to 59; also lists (1,5), ranges (1-5), "
                "steps (*/5).\n  60 * * * *\n  ^^\nTry: 0 * * * *"
            ),
        ),
        (
            "0 0 30 2 *",
            (
                "day of month: got '30', expected a day that month 2 has. It never "
                "fires.\n  0 0 30 2 *\n      ^^"
            ),
        ),
        (
            "",
            (
                "an expression is missing: %%cron */5 * * * *, say; "
                "%%cron? is the manual"
            ),
        ),
        ("list", "'list' is a command: write %cron list, with one %"),
        (
            "* * * * * --tz Europe/Berln",
            (
                "timezone: got 'Europe/Berln', expected an IANA name such as "
                "'Europe/Berlin', or a tzinfo. Did you mean 'Europe/Berlin'?"
            ),
        ),
        ("* * * * * --nme x", "'--nme' is not an option. Did you mean '--name'?"),
        (
            "* * * * * --misfire-grace-time 5",
            (
                "'--misfire-grace-time' is not an option. "
                "Here it is called '--tolerance'."
            ),
        ),
        (
            "* * * * * --max-instances 1",
            "'--max-instances' is not an option. Here it is called '--no-overlap'.",
        ),
        (
            "* * * * * --every 5",
            (
                "'--every' is not an option. When it runs is the expression: "
                "'*/10 9-17 * * mon-fri', or '@every 90s'."
            ),
        ),
        (
            "* * * * * --tags nightly",
            ("'--tags' is not an option. Tasks have a name; tags have no counterpart."),
        ),
        (
            "CRON_TZ=Asia/Tokyo 0 9 * * *",
            (
                "expression: got 'CRON_TZ=Asia/Tokyo', expected the fields alone. Give "
                "the zone separately: timezone='Asia/Tokyo', or --timezone Asia/Tokyo "
                "in a magic or a shell.\n  CRON_TZ=Asia/Tokyo 0 9 * * *\n"
                "  ^^^^^^^^^^^^^^^^^^"
            ),
        ),
        ("* * * * * --name 'x", "a quote is not closed: * * * * * --name 'x"),
        (
            "* * * * * --name {nmae}",
            (
                "'nmae' is not a variable of the notebook. Did you mean 'name'? "
                "Write {{ }} and $$ for braces and dollar signs."
            ),
        ),
        (
            "* * * * * --name $nmae",
            (
                "'nmae' is not a variable of the notebook. Did you mean 'name'? "
                "Write {{ }} and $$ for braces and dollar signs."
            ),
        ),
        (
            "* * * * * --name {1/0}",
            (
                "the line cannot be expanded (ZeroDivisionError: division by zero): "
                "* * * * * --name {1/0}. Write {{ }} and $$ for braces and dollar "
                "signs."
            ),
        ),
        (
            "* * * * * --name {",
            (
                "the line cannot be expanded (ValueError: Single '{' encountered in "
                "format string): * * * * * --name {. Write {{ }} and $$ for braces "
                "and dollar signs."
            ),
        ),
        (
            "* * * * * --into class",
            "--into: got 'class', expected a name for a variable",
        ),
        (
            "* * * * * --capture nmae",
            (
                "--capture: got 'nmae', expected the name of a variable of the "
                "notebook. Did you mean 'name'?"
            ),
        ),
        (
            "* * * * * --capture name --no-capture",
            "--capture and --no-capture exclude each other",
        ),
        (
            "* * * * * --inline --capture name",
            "--inline runs in the notebook itself and captures nothing",
        ),
        (
            "* * * * * --inline --timeout 5",
            (
                "--timeout cannot end a cell that runs in the notebook itself: "
                "leave --inline out, or interrupt the kernel"
            ),
        ),
        (
            "* * * * * --distributed",
            "--distributed needs a --name: it is the key that all instances share",
        ),
        (
            "* * * * * --distributed --name {name}",
            (
                "run coordinator: IPYCRON_RUN: got nothing, expected 'true' or "
                "'false'. Set it to 'true' on the one instance that runs distributed "
                "tasks and to 'false' on the others, or pass a --run-coordinator."
            ),
        ),
    ],
)
def test_cell_is_refused_when_its_line_is_wrong(session, line, message):
    """The error says what was wrong, what is valid, and what was meant."""
    assert refuse(session, f"%%cron {line}\nprint(1)") == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(:\n    pass", "line 2: invalid syntax: def f(:"),
        ("x = 1\nreturn x", "line 3: 'return' outside function: return x"),
        ("x = 1\n\n  y = 2", "line 4: unexpected indent: y = 2"),
        (
            "# nothing",
            "the cell is empty: write what is to run below the line of %%cron",
        ),
        ("\n  \n", "the cell is empty: write what is to run below the line of %%cron"),
        (
            "connection.execute('select 1')",
            (
                "'connection' (Connection) cannot be sent to a worker: cannot pickle "
                f"'sqlite3.Connection' object. Connect inside the cell, {WAY_OUT}"
            ),
        ),
        (
            "lock.acquire()",
            (
                "'lock' (lock) cannot be sent to a worker: cannot pickle "
                f"'_thread.lock' object. Make it inside the cell, {WAY_OUT}"
            ),
        ),
        (
            "list(numbers)",
            (
                "'numbers' (generator) cannot be sent to a worker: cannot pickle "
                "'generator' object. Make a list of it, or make it inside the cell, "
                f"{WAY_OUT}"
            ),
        ),
    ],
)
def test_cell_is_refused_when_it_cannot_run(session, body, message):
    """Errors in the cell have the notebook's line numbers."""
    assert refuse(session, f"%%cron * * * * *\n{body}") == message


def test_cell_is_refused_with_its_line_below_comments_and_blanks(session):
    """Lines above the header count, too."""
    source = "\n# every minute\n\n%%cron * * * * *\nx = 1\nx = = 2"
    assert refuse(session, source) == "line 6: invalid syntax: x = = 2"


def test_cell_without_a_body_is_refused(session):
    """With IPython's own error, which names the other magic."""
    assert refuse(session, "%%cron * * * * *") == (
        "%%cron is a cell magic, but the cell body is empty. Did you mean the line "
        "magic %cron (single %)?"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "lst",
            (
                "%cron has no command 'lst'. Did you mean 'list'? Commands: list, "
                "start, stop, pause, resume, run, destroy, show, history, logs, next, "
                "explain, why, pool, panel, wait; "
                "else EXPRESSION FILE."
            ),
        ),
        (
            "* * * * *",
            (
                "'* * * * *' says when, but not what: write a file after it, or "
                "%%cron (two signs) above a cell"
            ),
        ),
        (
            "* * * * nothing.py",
            f"expression: got 4 fields, {FIELDS}\n  * * * *\n        ^",
        ),
        (
            "* * * * * bad.py",
            "bad.py, line 2: expected ':': def task()",
        ),
        (
            "* * * * * --inline good.py",
            "--inline is for cells: a file takes no variables along",
        ),
        (
            "* * * * * --capture name good.py",
            "--capture is for cells: a file takes no variables along",
        ),
        (
            "* * * * * --no-capture good.py",
            "--no-capture is for cells: a file takes no variables along",
        ),
        ("list all", "%cron list takes no words, got 'all'"),
        ("list --all", "got '--all', but there are no options here"),
        ("stop", "%cron stop: name a task, or say --all. There are no tasks."),
        ("stop --all x", "%cron stop: names and --all exclude each other"),
        ("stop nobody", "no task is called 'nobody'. There are no tasks."),
        ("start nobody", "no task is called 'nobody'. There are no tasks."),
        ("destroy nobody", "no task is called 'nobody'. There are no tasks."),
        ("run nobody", "no task is called 'nobody'. There are no tasks."),
        ("show nobody", "no task is called 'nobody'. There are no tasks."),
        ("logs nobody", "no task is called 'nobody'. There are no tasks."),
        ("next nobody", "no task is called 'nobody'. There are no tasks."),
        ("wait nobody", "no task is called 'nobody'. There are no tasks."),
        ("stop --forc", "'--forc' is not an option. Did you mean '--force'?"),
        ("wait --runs 0", "--runs: got '0', expected a whole number ≥ 1"),
        (
            "wait --for ever",
            "--for: got 'ever', expected a time such as 90, 1.5, 10m or 2h",
        ),
        ("explain", "%cron explain: write an expression after it"),
        (
            "explain * * * *",
            f"expression: got 4 fields, {FIELDS}\n  * * * *\n        ^",
        ),
    ],
)
def test_line_is_refused_when_it_is_wrong(
    session, tmp_path, monkeypatch, line, message
):
    """`%cron` reports errors like `%%cron`."""
    (tmp_path / "bad.py").write_text("import os\ndef task()\n    pass\n")
    (tmp_path / "good.py").write_text("print(1)\n")
    monkeypatch.chdir(tmp_path)
    assert refuse(session, f"%cron {line}") == message


def test_file_is_refused_when_it_is_not_there(session, tmp_path, monkeypatch):
    """The error says where it was looked for."""
    monkeypatch.chdir(tmp_path)
    assert refuse(session, "%cron @daily nothing.py") == (
        f"task file: nothing.py (relative to {tmp_path}) does not exist. "
        "Give the path of a Python file that exists now."
    )


def test_name_that_exists_is_refused_when_so_asked(session):
    """``--if-exists error`` keeps the first task."""
    session.run("%%cron @yearly --name report\n1")
    session.run("%%cron @daily --name report --if-exists error\n2")
    assert str(session.result.error_in_exec) == (
        "task 'report' already exists. Destroy it first, choose another name, or "
        "pass --if-exists replace or --if-exists keep."
    )
    assert [task.pattern for task in get_tasks().values()] == ["@yearly"]


def test_large_variable_is_refused_until_it_is_confirmed(session):
    """More than 256 MB are only captured if requested by name."""
    session.run("big = bytes(300 * 2**20)")
    session.run("%%cron @yearly\nlen(big)")
    message = str(session.result.error_in_exec)
    assert message.startswith(
        "'big' (bytes) cannot be sent to a worker: the variables of this cell take "
        "more than 256.0 MB"
    )
    assert message.endswith("or confirm with --capture big.")


@pytest.mark.parametrize("path", ["long" * 2500, "~nobody-of-that-name/x.py"])
def test_path_that_cannot_exist_is_refused_as_one_that_does_not(session, path):
    """The system's own error would be a traceback."""
    text = refuse(session, f"%cron * * * * * {path}")
    assert text.startswith(f"task file: {path} (relative to ")
    assert "does not exist" in text
