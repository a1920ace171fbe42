"""What a front end offers after `%cron` and `%%cron`."""

import pytest
from IPython.core.completer import CompletionContext, provisionalcompleter

from ipycron import create_task
from ipycron.notebook.magic.completion import complete


def offer(session, text):
    """Return the completions for the last word."""
    found = complete(text, session.shell)
    return None if found is None else found.texts


def offer_all(session, text):
    """Return the completions of the shell's own completer."""
    completer = session.shell.Completer
    with provisionalcompleter():
        return [found.text for found in completer.completions(text, len(text))]


@pytest.fixture
def tasks(session):
    """Two tasks, one with a space in its name, and variables."""
    session.run("apple, avocado, berry = 1, 2, 3")
    for name in ("report", "read mail"):
        create_task("@yearly", len, name=name)
    return session


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("%cron st", ["start", "stop"]),
        ("%cron @m", ["@midnight", "@monthly"]),
        ("%%cron @m", ["@midnight", "@monthly"]),
        ("%%cron st", []),
        ("%cron stop ", ["report", '"read mail"']),
        ("%cron stop rep", ["report"]),
        ("%cron stop report ", ['"read mail"']),
        ("%cron wait re", ["report"]),
        ("%cron stop --", ["--all", "--force"]),
        ("%cron pa", ["pause", "panel"]),
        ("%cron po", ["pool"]),
        ("%cron pool --", ["--others"]),
        ("%cron pause rep", ["report"]),
        ("%cron resume rep", ["report"]),
        ("%cron pause report --", ["--all", "--until", "--note"]),
        ("%cron pause report --until ", []),
        ("%cron resume report --catch-up l", ["latest"]),
        ("%cron stop --all --", ["--force"]),
        ("%cron wait --", ["--runs", "--for"]),
        ("%cron list --", []),
        (
            "%%cron * * * * * --no",
            ["--no-capture", "--no-overlap", "--no-day-or", "--no-history"],
        ),
        ("%%cron * * * * * --t", ["--timezone", "--tolerance", "--timeout", "--tz"]),
        ("%%cron --tz UTC --t", ["--tolerance", "--timeout"]),
        ("%%cron * * * * * --tz europe/ber", ["Europe/Berlin"]),
        ("%%cron * * * * * --into a", ["apple", "avocado"]),
        ("%%cron * * * * * --capture berry,a", ["berry,apple", "berry,avocado"]),
        ("%%cron * * * * * --if-exists ", ["replace", "keep", "error"]),
        ("%%cron * * * * * --launcher s", ["spawn"]),
        ("%%cron * * * * * --catch-up l", ["latest"]),
        ("%%cron * * * * * --overlap q", ["queue"]),
        ("%%cron * * * * * --retry-on ti", ["timeout", "TimeoutError"]),
        ("%%cron * * * * * --retry-p", ["--retry-past-next"]),
        ("%%cron * * * * * --name re", []),
        ("%%cron * * * * * --logger a", ["apple", "avocado"]),
        ("%cron @daily ./no", None),
        ("%%cron */5 *", None),
        ("print(%cron st", None),
        ("cron st", None),
        ("x = 1\n%cron sto", ["stop"]),
    ],
)
def test_line_is_completed_by_what_may_stand_there(tasks, text, offered):
    """Commands, options not yet given, names, zones, variables."""
    got = offer(tasks, text)
    # Variables of other tests' making do not matter here.
    assert got == offered


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("%cron sto", "stop", "stopped"),
        ("%%cron * * * * * --nam", "--name", "name"),
        ("%cron stop rep", "report", "repr"),
    ],
)
def test_completer_of_the_shell_offers_nothing_else(tasks, text, wanted, unwanted):
    """Where we offer completions, no built-ins are mixed in."""
    offered = offer_all(tasks, text)
    assert wanted in offered
    assert unwanted not in offered


def test_completer_of_the_shell_offers_files_behind_an_expression(
    tasks, tmp_path, monkeypatch
):
    """IPython itself completes paths."""
    (tmp_path / "backup.py").touch()
    monkeypatch.chdir(tmp_path)
    text = "%cron @daily back"
    context = CompletionContext(
        token="back",
        full_text=text,
        cursor_position=len(text),
        cursor_line=0,
        limit=None,
    )
    assert offer(tasks, context.text_until_cursor) is None
    assert "backup.py" in offer_all(tasks, text)
