"""Results and errors that are hard or impossible to send (V5)."""

import sqlite3
import threading
import uuid

import pytest
from house import BOTH, FORKED, NEVER, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import CaptureError, RemoteError
from ipycron.process.wire.outcome import get_traceback_text

pytestmark = pytest.mark.usefixtures("supervisor")

MIB = 1 << 20


@pytest.fixture
def start(write):
    """Start a forked task of a file."""

    def start_task(source, **options):
        path = write(source, f"job_{uuid.uuid4().hex}.py")
        task = ipycron.create_task(NEVER, path, **options)
        task.start().result(SECONDS)
        return task

    return start_task


def fail(task):
    """Return the error of one run, which is reported as failed once."""
    record = Record(task)
    error = task.execute().exception(SECONDS)
    drain()
    assert record.names == ["execution:started", "execution:failed"]
    assert not task.is_busy
    return error


# --- results ------------------------------------------------------------------------

TRAVELLERS = {
    "nothing": ("None", None),
    "a bool": ("True", True),
    "a big number": ("10 ** 100", 10**100),
    "text with a lone surrogate": (r"'\ud800'", "\ud800"),
    "bytes": ("bytes(range(256)) * 1000", bytes(range(256)) * 1000),
    "nested": ("{'a': [(1, {2}), frozenset({3})]}", {"a": [(1, {2}), frozenset({3})]}),
    "an infinity": ("float('inf')", float("inf")),
    "an exception": ("KeyError('as a value')", KeyError),
    "a lambda": ("lambda x: x + 1", None),
}


def test_results_arrive_as_they_were_returned(start):
    """Built-in values, functions and large blocks arrive unchanged."""
    for source, expected in TRAVELLERS.values():
        value = start(f"def task(): return {source}").execute().result(SECONDS)
        if source.startswith("lambda"):
            assert value(41) == 42
        elif isinstance(expected, type):
            assert type(value) is expected
        else:
            assert value == expected
    own = start("""
        class Point:
            def __init__(self): self.x = 3
        def task(): return Point()
    """)
    assert own.execute().result(SECONDS).x == 3


BAD = """
class Bad:
    def __reduce__(self): 1 / 0
def task(): return Bad()
"""
STRANGERS = {
    "a generator": ("def task(): return [(i for i in ())]", "list"),
    "a lock": ("import threading\ntask = threading.Lock", "_thread.lock"),
    "a socket": ("import socket\ndef task(): return socket.socket()", "socket"),
    "a database": (
        "import sqlite3\ndef task(): return sqlite3.connect(':memory:')",
        "sqlite3.Connection",
    ),
    "one deep inside": (
        "import threading\ndef task(): return [{1: threading.Lock()}]",
        "list",
    ),
    "a bottomless list": (
        "def task():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
        "list",
    ),
    "one whose repr fails, too": (BAD + "Bad.__repr__ = Bad.__reduce__", "Bad"),
    "one whose reduce fails": (BAD, "Bad"),
}


def test_result_that_cannot_travel_is_described(start, caplog):
    """It arrives as its repr and the reason; the run finishes; it is logged."""
    for what, (source, type_name) in STRANGERS.items():
        caplog.clear()
        task = start(source)
        record = Record(task)
        value = task.execute().result(SECONDS)
        assert isinstance(value, ipycron.Unserializable), what
        assert value.type_name.endswith(type_name), what
        assert value.reason, what
        record.expect("execution:started", "execution:finished")
        (warning,) = eventually(lambda: caplog.records)
        assert warning.levelname == "WARNING"
        assert value.type_name in warning.getMessage()
    assert "ZeroDivisionError" in value.reason


def test_result_that_cannot_travel_survives_a_broken_log(start):
    """The warning uses the job's own logging, which may be broken."""
    task = start("""
        import logging, threading
        class Broken(logging.Handler):
            def emit(self, record): raise OSError("full")
        def task():
            logging.getLogger().addHandler(Broken())
            return threading.Lock()
    """)
    value = task.execute().result(SECONDS)
    assert isinstance(value, ipycron.Unserializable)


def test_result_that_is_too_large_is_described(start, caplog):
    """`max_result_bytes` is a limit, and the description names it."""
    task = start("def task(): return bytes(3_000_000)", max_result_bytes=MIB)
    value = task.execute().result(SECONDS)
    assert isinstance(value, ipycron.Unserializable)
    assert value.reason.endswith("bytes, more than max_result_bytes=1,048,576")
    assert len(value.text) < 1_100_000
    large = start("def task(): return bytes(3_000_000)")
    assert large.execute().result(SECONDS) == bytes(3_000_000)


def test_result_that_cannot_be_rebuilt_here_is_described(start):
    """A value whose own code fails in the client is described, too."""
    task = start("""
        class Picky:
            def __reduce__(self): return (int, ("no number",))
        def task(): return Picky()
    """)
    value = task.execute().result(SECONDS)
    assert isinstance(value, ipycron.Unserializable)
    assert "invalid literal for int()" in value.reason


# --- errors -------------------------------------------------------------------------


def test_error_keeps_type_arguments_attributes_cause_and_notes(start):
    """Everything picklable arrives, with the worker's traceback at its end."""
    task = start("""
        def task():
            try:
                {}["key"]
            except KeyError as cause:
                error = OSError(28, "full", "/tmp/x")
                error.code = 7
                error.add_note("try elsewhere")
                raise error from cause
    """)
    error = fail(task)
    assert type(error) is OSError
    assert (error.errno, error.strerror, error.filename) == (28, "full", "/tmp/x")
    assert error.code == 7
    assert error.__notes__ == ["try elsewhere"]
    assert type(error.__cause__) is KeyError
    text = get_traceback_text(error)
    assert 'error = OSError(28, "full", "/tmp/x")' not in text
    assert "raise error from cause" in text
    assert "KeyError: 'key'" in text
    assert "ipycron/process" not in text


ERRORS = {
    "holds a lock": ("raise LookupError(threading.Lock())", "LookupError", "pickle"),
    "needs more arguments": (
        "raise Picky(1, 2)", "Picky", "missing 1 required positional"),
    "is not an exception of a program": ("raise SystemExit(3)", "SystemExit", "ends a"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt", "ends a program"),
    "closes generators": ("raise GeneratorExit", "GeneratorExit", "ends a program"),
    "is too large": ("raise ValueError('x' * 50_000_000)", "ValueError", "more than"),
    "lies about its class": ("raise Liar", "Liar", "rebuilt as"),
    "cannot say what it is": ("raise Mute", "Mute", None),
}  # fmt: skip

CLASSES = """
import threading
class Picky(Exception):
    def __init__(self, first, second):
        super().__init__("picky")
class Liar(Exception):
    def __reduce__(self): return (ValueError, ("me?",))
class Mute(Exception):
    def __str__(self): raise RuntimeError("mute")
def task():
    """


def test_error_that_cannot_travel_is_described(start):
    """It arrives as type, message, traceback and reason; nothing hangs."""
    for what, (statement, type_name, reason) in ERRORS.items():
        error = fail(start(CLASSES + statement, max_result_bytes=MIB))
        if reason is None:
            assert type(error).__name__ == type_name
            continue
        assert isinstance(error, RemoteError), what
        assert error.type_name.endswith(type_name), what
        assert reason in error.reason, what
        assert len(error.message) < 1_100_000, what
        assert statement.partition("(")[0] in error.traceback_text, what


def test_groups_of_errors_arrive_whole(start):
    """An ExceptionGroup is sent like any other exception."""
    error = fail(
        start("def task(): raise ExceptionGroup('two', [KeyError(1), OSError()])")
    )
    assert isinstance(error, ExceptionGroup)
    assert [type(e) for e in error.exceptions] == [KeyError, OSError]


# --- what is shipped ----------------------------------------------------------------


def test_function_that_captures_what_cannot_travel_is_refused():
    """The error names the variable, its type and what to do."""
    database = sqlite3.connect(":memory:")

    def job():
        return database.execute("select 1")

    with pytest.raises(CaptureError, match=r"'database' \(Connection\)") as caught:
        ipycron.create_task(NEVER, job, background=True)
    assert "Open such things inside the function" in str(caught.value)
    database.close()
    with pytest.raises(CaptureError, match=r"cannot be sent"):
        ipycron.create_task(NEVER, threading.Lock().acquire, background=True)
    assert not ipycron.get_tasks()


@pytest.mark.parametrize("house", BOTH, indirect=True)
def test_inline_results_are_the_objects_themselves(house):
    """What never leaves the process need not be picklable."""
    task = house.start(lambda _: threading.Lock())
    value = task.execute().result(SECONDS)
    if house.kind == FORKED:
        assert isinstance(value, ipycron.Unserializable)
    else:
        assert isinstance(value, type(threading.Lock()))
        assert task.execute().result(SECONDS) is not value


@pytest.mark.parametrize("house", BOTH, indirect=True)
def test_program_ending_errors_do_not_end_the_program(house):
    """SystemExit in a job is a named failure; it does not end the caller."""

    def leave(ctx):
        raise SystemExit(3)

    task = house.start(leave)
    error = task.execute().exception(SECONDS)
    assert isinstance(error, RemoteError)
    assert error.type_name == "SystemExit"
    assert task.status == "idle"
