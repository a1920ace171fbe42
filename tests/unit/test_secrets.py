"""Contents of `env`, `args` and captured variables never appear in our texts."""

import pickle
import traceback

import pytest

from ipycron.client.jobs import make_setting, make_source
from ipycron.client.options import make_options
from ipycron.errors import CaptureError, InvalidOption
from ipycron.notebook.magic.grammar import LineError, parse_words, split_words
from ipycron.notebook.magic.options import get_task_options
from ipycron.process.wire.protocol import FileJob

SECRET = "hunter2"


class Revealing:
    """An object whose repr shows a secret."""

    def __repr__(self):
        return f"<password {SECRET}>"

    def __reduce__(self):
        raise TypeError("cannot be sent")


def check(text, *words):
    """Fail if a text shows the secret, or lacks a helpful word."""
    assert SECRET not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("env", {"DB_PASSWORD": SECRET, "PORT": 5432}, ["'DB_PASSWORD'", "int", "str"]),
        ("env", {"DB_PASSWORD": f"{SECRET}\0"}, ["'DB_PASSWORD'", "a dict of str"]),
        ("env", f"DB_PASSWORD={SECRET}", ["a str"]),
        ("env", [("DB_PASSWORD", SECRET, 1)], ["a list of 1: tuple"]),
        ("env", Revealing(), ["a Revealing"]),
        ("env", {"A": Revealing()}, ["'A'", "Revealing"]),
        ("args", f"--password={SECRET}", ["a str", "a list of str"]),
        ("args", ["--password", SECRET, 5], ["a list of 3: int, str"]),
        ("args", {"--password": SECRET}, ["'--password'"]),
        ("args", (Revealing(),), ["a tuple of 1: Revealing"]),
        ("args", (f"{SECRET}\0",), ["a tuple of 1: str"]),
    ],
)
def test_refused_value_is_described_by_its_type_and_keys(option, value, words):
    """The log says what was wrong, but shows no password."""
    with pytest.raises(InvalidOption) as caught:
        make_options({option: value})
    check("".join(traceback.format_exception(caught.value)), option, *words)
    check(str(caught.value.value))
    check(repr(pickle.loads(pickle.dumps(caught.value)).__dict__))


@pytest.mark.parametrize("job", [["report", SECRET], {"cmd": SECRET}, Revealing()])
def test_refused_job_is_described_by_its_type(job):
    """A command line given instead of a file is refused without showing it."""
    with pytest.raises(InvalidOption) as caught:
        make_source(job, make_options({}))
    check(str(caught.value), "job", type(job).__name__)


def test_variable_that_cannot_be_captured_is_named_only():
    """Its name and type are shown, its contents are not."""
    connection = Revealing()

    def job():
        return connection

    with pytest.raises(CaptureError) as caught:
        make_source(job, make_options({"background": True}))
    check("".join(traceback.format_exception(caught.value)), "'connection'")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (f"* --env ={SECRET}", "KEY=VALUE"),
        (f"* --env '{SECRET}=", "a quote is not closed: *"),
        (f"* --env=DB_PASSWORD='{SECRET}", "a quote is not closed: *"),
        (f"* job.py --password '{SECRET}", "a quote is not closed: * job.py"),
        (f"* job.py -- --password {SECRET}\\", "ends the line: * job.py"),
        (f"* --enw DB_PASSWORD={SECRET}", "'--enw' is not an option"),
    ],
)
def test_refused_line_does_not_show_values(line, word):
    """The error says what is wrong with the line, without values."""
    with pytest.raises(LineError) as caught:
        parse_words(split_words(line), get_task_options(), names={})
    check(str(caught.value), word)


def test_what_holds_secrets_does_not_print_them():
    """Their reprs, as in debug logs, show only keys and counts."""
    env = {"DB_PASSWORD": SECRET}
    setting = make_setting(cwd="/", env=env, path=[], max_result_bytes=1)
    check(repr(setting), "DB_PASSWORD")
    check(repr(FileJob(b"/job.py", (SECRET.encode(),))), "job.py", "1 args")
    options = make_options({"env": env, "args": [SECRET]})
    check(repr(options), "DB_PASSWORD", "a tuple of 1")
