"""The text after `%cron`: words, options, durations, expressions. Starts nothing."""

import logging
from dataclasses import dataclass

import pytest

from ipycron.errors import InvalidOption
from ipycron.notebook.magic.grammar import (
    LineError,
    parse_words,
    read_duration,
    split_trigger,
    split_words,
)
from ipycron.notebook.magic.options import (
    get_task_options,
    index_options,
    split_values,
)
from ipycron.scheduling.checks import OptionKind, check_deadline, option
from ipycron.scheduling.policy import CatchUp
from ipycron.scheduling.retry import Retry


def parse(line, **names):
    """Parse a line of `%%cron`."""
    return parse_words(split_words(line), get_task_options(), names=names)


@pytest.mark.parametrize(
    ("line", "expression", "rest"),
    [
        ("* * * * *", "* * * * *", ()),
        ("*/5 * * * * *", "*/5 * * * * *", ()),
        ("0 9 * * mon-fri", "0 9 * * mon-fri", ()),
        ("0 0 * * 5#3", "0 0 * * 5#3", ()),
        ("0 0 L * ?", "0 0 L * ?", ()),
        ("H H(0-6) * * *", "H H(0-6) * * *", ()),
        ("@daily", "@daily", ()),
        ("@Hourly x.py", "@Hourly", ("x.py",)),
        ('"*/5 * * * *"', "*/5 * * * *", ()),
        ("'0 9 * * 1' x.py", "0 9 * * 1", ("x.py",)),
        ("* * * * * x.py -1 b", "* * * * *", ("x.py", "-1", "b")),
        ("* * * * * 5 x.py", "* * * * * 5", ("x.py",)),
        ("0 9 * * mon report.py", "0 9 * * mon", ("report.py",)),
    ],
)
def test_expression_is_the_longest_beginning_that_is_one(line, expression, rest):
    """The longest of six words, five or one that is an expression."""
    assert split_trigger(split_words(line)) == (expression, rest)


@pytest.mark.parametrize(
    "line", ["* * * *", "x.py", "", "61 * * * *", "list", "@often", "a b c d e f g"]
)
def test_expression_is_none_when_no_beginning_is_one(line):
    """Other text is not taken for an expression."""
    assert split_trigger(split_words(line)) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1.5h", 5400.0),
        ("1d", 86400.0),
        ("1h30m", 5400.0),
        ("0", 0.0),
        ("", None),
        ("m", None),
        ("-5", None),
        ("10 m", None),
        ("5x", None),
        ("1h30", None),
        ("10m!", None),
        ("1e3", None),
        ("nan", None),
    ],
)
def test_duration_is_read_as_people_write_it(text, seconds):
    """Seconds, or numbers with units; nothing else is guessed."""
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("--name 'my job'", ["--name", "my job"]),
        ('--name "it\'s"', ["--name", "it's"]),
        (r"a\ b", ["a b"]),
        ("5#3 #x", ["5#3", "#x"]),
        ("''", [""]),
    ],
)
def test_words_are_split_as_by_a_shell(line, words):
    """Quotes keep spaces together; ``#`` starts no comment."""
    assert split_words(line) == words


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("* --name 'x", "a quote is not closed: * --name 'x"),
        ('* --name "x', 'a quote is not closed: * --name "x'),
        ("* --name x\\", "a \\ ends the line: * --name x\\"),
        ("--nme x", "'--nme' is not an option. Did you mean '--name'?"),
        ("--tiemout 5", "'--tiemout' is not an option. Did you mean '--timeout'?"),
        ("--no-overlap=1", "--no-overlap takes no value, got '1'"),
        ("--name", "--name: got nothing, expected a value"),
        ("--name --max 3", "--name: got nothing, expected a value"),
        ("--name ''", "--name: got '', expected non-empty text"),
        ("--max", "--max: got nothing, expected a whole number"),
        ("--max many", "--max: got 'many', expected a whole number"),
        ("--max 1.5", "--max: got '1.5', expected a whole number"),
        ("--max 0", "--max: got '0', expected a whole number ≥ 1"),
        ("--max-restarts -1", "--max-restarts: got '-1', expected a whole number ≥ 0"),
        (
            "--timeout soon",
            "--timeout: got 'soon', expected a time such as 90, 1.5, 10m or 2h",
        ),
        ("--timeout 0", "--timeout: got '0', expected seconds > 0"),
        (
            "--jitter -5",
            "--jitter: got '-5', expected a time such as 90, 1.5, 10m or 2h",
        ),
        (
            "--if-exists maybe",
            "--if-exists: got 'maybe', expected one of 'replace', 'keep', 'error'",
        ),
        ("--retry x", "--retry: got 'x', expected a whole number"),
        (
            "--retry -1",
            (
                "--retry: got '-1', expected a number of attempts after the first, "
                "≥ 0, or a Retry"
            ),
        ),
        (
            "--retry-jitter 2",
            "--retry-jitter: got '2', expected a finite number from 0 to 1",
        ),
        (
            "--retry-backoff y",
            "--retry-backoff: got 'y', expected a number such as 2 or 0.1",
        ),
        (
            "--retry-on Flaky",
            (
                "--retry-on: got 'Flaky', expected an exception class or its name, "
                "'timeout', 'crash', or an exit code from 1 to 255. A class of your "
                "script or notebook is '__main__.Flaky'."
            ),
        ),
        (
            "--exclude satt",
            (
                "--exclude: got 'satt', expected text such as 'sat,sun', "
                "'22:00-06:00', 'mon-fri 12:00-13:00', '2026-12-24..2027-01-01' or "
                "'holidays:DE'. Did you mean 'sat'?"
            ),
        ),
        (
            "--overlap later",
            (
                "--overlap: got 'later', expected one of 'allow', 'skip', 'queue', "
                "'replace'"
            ),
        ),
        ("--priority high", "--priority: got 'high', expected a whole number"),
        (
            "--catch-up newest",
            "--catch-up: got 'newest', expected 'none', 'latest' or 'all'",
        ),
        (
            "--catch-up-limit 0",
            "--catch-up-limit: got '0', expected a whole number from 1 to 10000",
        ),
        (
            "--catch-up-window 0",
            "--catch-up-window: got '0', expected seconds > 0",
        ),
        (
            "--end soon",
            (
                "--end: got 'soon', expected an instant: a datetime or ISO text, such "
                "as '2026-12-01 09:00'"
            ),
        ),
        ("--launcher x", "--launcher: got 'x', expected one of 'fork', 'spawn'"),
        ("--into class", "--into: got 'class', expected a name for a variable"),
        ("--into a.b", "--into: got 'a.b', expected a name for a variable"),
        ("--capture a,1b", "--capture: got 'a,1b', expected names of variables"),
        ("--env PATH", "--env: got 'PATH', expected KEY=VALUE"),
        ("--cwd /no/such", "--cwd: got '/no/such', expected an existing folder"),
        (
            "--logger lgo",
            (
                "--logger: got 'lgo', expected the name of a variable of the "
                "notebook. Did you mean 'log'?"
            ),
        ),
    ],
)
def test_line_is_refused_with_one_sentence_when_it_cannot_be_read(line, message):
    """It names the option as typed, its value, and what is valid."""
    with pytest.raises(LineError) as caught:
        parse(line, log=object())
    assert str(caught.value) == message


def test_options_stand_anywhere():
    """Before, between and after the other words."""
    parsed = parse("--name a * * --no-overlap * * * x.py --max=3 b")
    assert parsed.words == ("*", "*", "*", "*", "*", "x.py", "b")
    assert parsed.values == {"name": "a", "no_overlap": True, "max_executions": 3}


def test_words_behind_two_dashes_belong_to_the_file():
    """An argument that looks like an option is not parsed."""
    parsed = parse("* * * * * x.py a -- --name b")
    assert parsed.words[-2:] == ("x.py", "a")
    assert parsed.rest == ("--name", "b")
    assert parsed.values == {}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--tz UTC", {"timezone": "UTC"}),
        ("--timezone UTC", {"timezone": "UTC"}),
        ("--jitter 2m", {"jitter": 120.0}),
        ("--day-and", {"day_or": False}),
        ("--no-day-or", {"day_or": False}),
        ("--tolerance 500ms", {"tolerance": 0.5}),
        ("--env A=1 --env B=x=y", {"env": {"A": "1", "B": "x=y"}}),
        ("--capture a,b --capture c", {"capture": ("a", "b", "c")}),
        (
            "--run-now --quiet --inline",
            dict.fromkeys(("run_now", "quiet", "inline"), True),
        ),
        ("--stop-timeout 0", {"stop_timeout": 0.0}),
        ("--max-result-bytes 1000", {"max_result_bytes": 1000}),
        ("--suppress-missed-warning", {"suppress_missed_warning": True}),
    ],
)
def test_options_are_read_by_their_declaration(line, values):
    """Aliases, switches to turn a default off, repeated pairs and names."""
    assert parse(line).values == values


def test_objects_are_variables_of_the_notebook():
    """An option whose value is an object takes a variable's name."""
    log = logging.getLogger("jobs")
    assert parse("--logger log", log=log).values["logger"] is log


def test_values_are_split_into_those_of_the_task_and_of_the_cell():
    """The API gets its options, the notebook keeps the others."""
    task, cell = split_values(parse("--name a --into r --run-now --max 2").values)
    assert task == {"name": "a", "max_executions": 2}
    assert (cell.into, cell.run_now, cell.quiet) == ("r", True, False)


def test_knobs_become_parts_of_the_options_that_they_belong_to():
    """`CatchUp(…)` is spelled out."""
    line = "--catch-up all --catch-up-window 1h --catch-up-limit 5"
    task, _ = split_values(parse(line).values)
    assert task == {"catch_up": CatchUp("all", window=3600, limit=5)}
    task, _ = split_values(parse("--catch-up latest").values)
    assert task == {"catch_up": "latest"}
    line = "--retry 3 --retry-delay 30 --retry-on OSError,timeout,3 --retry-past-next"
    task, _ = split_values(parse(f"{line} --retry-backoff 1.5 --retry-jitter 0").values)
    on = ("OSError", "timeout", 3)
    expected = Retry(3, delay=30, on=on, past_next=True, backoff=1.5, jitter=0)
    assert task == {"retry": expected}
    task, _ = split_values(parse("--retry 3 --priority 5 --pool gpu").values)
    assert task == {"retry": 3, "priority": 5, "pool": "gpu"}


@pytest.mark.parametrize(
    "line", ["--catch-up-window 1h", "--catch-up none --catch-up-limit 5"]
)
def test_knob_without_its_option_is_refused(line):
    """It would do nothing."""
    with pytest.raises(InvalidOption, match=r"expected 'latest' or 'all' with --catch"):
        split_values(parse(line).values)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_noticed_wherever_it_stands(word):
    """Before or after anything else."""
    assert parse(f"* * * * * {word}").is_help
    assert parse(f"{word} --name x").is_help


Seconds = float


@dataclass(kw_only=True)
class _Declared:
    wait: Seconds = option(1.0, check_deadline, "how long", kind=OptionKind.DURATION)


def test_option_is_read_as_its_declaration_says():
    """However its type is written."""
    options = index_options(_Declared)
    assert parse_words(split_words("--wait 2m"), options, names={}).values == {
        "wait": 120.0
    }
