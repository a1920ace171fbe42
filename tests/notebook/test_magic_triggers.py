"""`%%cron` and `%cron` with triggers that are no cron expressions."""

import re

import pytest
from hours import INSTANT
from IPython.core.error import UsageError
from polling import eventually

from ipycron import get_task, get_tasks
from ipycron.notebook.magic.completion import complete


def test_cell_runs_at_an_interval(session):
    """The line says what was understood; the words are those of the card."""
    said = session.run("%%cron every 2s --name poll --into seen\n42")
    assert re.match(rf"poll: Every 2 seconds \(.*\), next {INSTANT}, ", said)
    eventually(lambda: session.names.get("seen") == 42)
    assert get_task("poll").pattern == "@every 2s"
    assert "Every 2 seconds" in session.run("%cron list")


@pytest.mark.parametrize(
    ("line", "pattern", "words"),
    [
        ("every 90s after finish", "@every 90s after finish", "90 seconds after the"),
        ("@every 1h", "@every 1h", "Every hour"),
        ("0 9 * * mon | every 2h", "0 9 * * mon | @every 2h", "; or every 2 hours"),
        ("at 2999-12-01 09:00", None, "At 2999-12-01 09:00"),
    ],
)
def test_line_with_a_trigger_is_understood(session, line, pattern, words):
    """Without quotes."""
    said = session.run(f"%%cron {line} --name it --tz UTC\n1")
    assert words in said
    assert get_task("it").pattern == pattern or "@at 2999-12-01T09:00:00+00:00"


def test_file_runs_by_a_trigger(session, tmp_path):
    """The file's name follows the trigger, its arguments the name."""
    path = tmp_path / "job.py"
    path.write_text("import sys\nprint(sys.argv[1:])\n")
    session.run(f"%cron every 1h after finish {path} -- -v --name it")
    (task,) = get_tasks().values()
    assert (task.pattern, task.options.args) == (
        "@every 1h after finish",
        ("-v", "--name", "it"),
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("%%cron every 5 minutes\n1", "Try: @every 5m"),
        ("%%cron every 0s\n1", "every: got '0s', expected whole seconds"),
        ("%%cron every\n1", "got nothing, expected an interval"),
        ("%%cron at 9:00\n1", "Try: @at 2026-12-01T09:00"),
        ("%%cron at 2020-01-01\n1", "an instant to come"),
        ("%cron every 90s", "says when, but not what"),
        ("%cron explain every soon", "every: got 'soon'"),
    ],
)
def test_trigger_that_is_wrong_is_refused(session, source, message):
    """In a usage error, as any mistake."""
    session.run(source)
    error = session.result.error_in_exec
    assert type(error) is UsageError
    assert message in str(error)
    assert not get_tasks()


def test_explain_shows_a_trigger(session):
    """Words, zone, the next fires."""
    said = session.run("%cron explain every 90s -n 2 --tz UTC")
    following = rf"next +{INSTANT}, {INSTANT}"
    assert re.search(rf"means +Every 90 seconds\nzone +UTC\n{following}\n", said)


def test_trigger_is_shown_like_an_expression(session):
    """As the last line of a cell."""
    said = session.run("import ipycron\nipycron.every('90s')")
    assert "Every 90 seconds" in said


def test_keywords_are_completed(session):
    """Beside the nicknames and the commands."""
    assert complete("%cron ev", session.shell).texts == ["every"]
    assert complete("%%cron a", session.shell).texts == ["at"]


def test_exclusions_are_options_of_the_line(session):
    """In the words of the card; completed; refused like other options."""
    said = session.run(
        '%%cron 0 9 * * * --exclude "sat,sun; 2999-12-24" --on-excluded next\n1'
    )
    assert "At 09:00, except sat,sun; 2999-12-24, then as soon as possible" in said
    (task,) = get_tasks().values()
    assert task.options.on_excluded == "next"
    found = complete("%%cron 0 9 * * * --on-excluded ", session.shell)
    assert found.texts == ["skip", "next"]
    session.run("%%cron 0 9 * * * --exclude satt\n1")
    assert str(session.result.error_in_exec) == (
        "--exclude: got 'satt', expected text such as 'sat,sun', '22:00-06:00', "
        "'mon-fri 12:00-13:00', '2026-12-24..2027-01-01' or 'holidays:DE'. "
        "Did you mean 'sat'?"
    )


def test_exclusions_that_are_given_more_than_once_add_up(session):
    """None of them is lost: a task would run when it must not."""
    words = "--exclude sat,sun --exclude=2999-12-24 --exclude '22:00-06:00; 2999-12-25'"
    session.run(f"%%cron 0 9 * * * --name it {words}\n1")
    text = get_task("it").options.exclude.text
    assert text == "sat,sun; 2999-12-24; 22:00-06:00; 2999-12-25"
    session.run("%%cron 0 9 * * * --exclude sat --exclude sunn\n1")
    assert "--exclude: got 'sunn'" in str(session.result.error_in_exec)


def test_reasons_are_shown(session):
    """`%cron why` takes a name and an instant."""
    session.run("%%cron 30 9 * * mon-fri --tz UTC --name it\n1")
    said = session.run("%cron why it 2999-12-07 09:30")
    assert "it will not run: no slot" in said
    assert "Saturday: does not match mon-fri" in said
    session.run("%cron why it")
    assert "write a task's name and an instant" in str(session.result.error_in_exec)


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ("--overlap queu", "queue"),
        ("--retry 1 --retry-on ConectionError", "ConnectionError"),
    ],
)
def test_word_that_is_close_to_another_is_suggested(session, options, meant):
    """As by the functions."""
    session.run(f"%%cron @daily {options}\n1")
    assert f". Did you mean {meant!r}?" in str(session.result.error_in_exec)
