"""Whatever a result or error does at its run's end, only that run ends (V5)."""

import signal
import textwrap
import threading
import time
import tracemalloc

import pytest
from house import NEVER
from polling import SECONDS, eventually

import ipycron
from ipycron.client.jobs import Cell
from ipycron.errors import RemoteError
from ipycron.process.wire import describe
from ipycron.process.wire.outcome import summarize
from ipycron.process.wire.payload import Payload

pytestmark = pytest.mark.usefixtures("supervisor")

DEEDS = {
    "raises": "raise ValueError('no')",
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "has no memory": "raise MemoryError",
    "recurses": "return f'{self!r}{self!s}{self.__reduce__()}'",
    "is no text": "return 5",
    "blocks": "import threading; threading.Event().wait()",
    "spins": "while True: pass",
    "catches": "try:\n            while 1: pass\n        except BaseException: 1 / 0",
}
OFTEN = [deed for deed in DEEDS if deed not in ("blocks", "spins", "catches")]
HOSTILE = """
import math, resource, sys
class Repr:
    def __repr__(self):
        {deed}
    __str__ = __repr__
class Reduce:
    def __reduce__(self):
        {deed}
class Both:
    def __repr__(self):
        {deed}
    __reduce__ = __repr__
class Error(Exception):
    def __str__(self):
        {deed}
    __repr__ = __str__
class Unsendable(Exception):
    def __reduce__(self):
        {deed}
class Chained(Exception): pass
"""


@pytest.fixture
def start():
    """Start a task in a worker, of a function that returns hostile objects."""

    def start_task(source, deed="pass", **options):
        names = {"__name__": "__main__"}
        exec(HOSTILE.format(deed=DEEDS.get(deed, deed)), names)
        exec("def job():\n" + textwrap.indent(textwrap.dedent(source), "    "), names)
        task = ipycron.create_task(NEVER, names["job"], background=True, **options)
        task.start().result(SECONDS)
        if deed not in OFTEN:  # it would hold up threads of this process as well
            names["Error"].__str__ = names["Error"].__repr__ = lambda _: "here"
        return task

    return start_task


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    """Nothing for inline tasks; workers use their limit of a second."""
    monkeypatch.setattr(describe, "BRIEFLY", 0.2)


@pytest.fixture
def without_alarm():
    """Suspend pytest's own alarm."""
    left, again = signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left, again)


def survive(task, runs=2):
    """Run a task; return its last run. The worker must be the same as before."""
    task.execute().exception(SECONDS)
    pid = eventually(lambda: task.last_run.pid)
    for _ in range(runs - 1):
        task.execute().exception(SECONDS)
    assert eventually(lambda: task.last_run.pid) == pid
    assert task.status == "idle"
    return task.last_run


@pytest.mark.parametrize("deed", DEEDS)
def test_repr_of_a_result_is_not_asked_for(start, deed):
    """The result arrives; its summary is its type."""
    run = survive(start("return Repr()", deed))
    assert run.is_ok
    assert type(run.result).__name__ == "Repr"
    assert run.summary == "<Repr>"


@pytest.mark.alone
@pytest.mark.parametrize("deed", OFTEN)
def test_result_that_does_not_pickle_is_described(start, deed):
    """Whatever it raises; its repr is called once."""
    for name in ("Reduce", "Both"):
        run = survive(start(f"return [{name}()]", deed))
        assert run.is_ok
        assert isinstance(run.result, ipycron.Unserializable)
        assert run.result.type_name == "list"


@pytest.mark.parametrize("deed", ["blocks", "spins"])
def test_repr_of_what_does_not_pickle_is_given_a_second(start, deed):
    """If it takes longer, the result is described without it."""
    source = "value = Repr()\nvalue.lock = __import__('threading').Lock()\nreturn value"
    run = survive(start(source, deed))
    assert run.result.text == "<repr() raised TookTooLong>"
    assert "lock" in run.result.reason


@pytest.mark.parametrize("deed", DEEDS)
def test_text_of_an_error_is_asked_for_and_not_waited_for(start, deed):
    """The run fails with the error anyway; the traceback shows where."""
    run = survive(start("raise Error(1)", deed), runs=1 + (deed in OFTEN))
    assert run.is_ok is False
    assert type(run.error).__name__ == "Error"
    assert run.error.args == (1,)
    assert "Error: <str() raised" in run.summary
    assert "in job" in run.traceback_text


@pytest.mark.parametrize("deed", OFTEN)
def test_error_that_does_not_pickle_is_sent_as_text(start, deed):
    """With its type and its message."""
    run = survive(start("raise Unsendable('the text')", deed))
    assert isinstance(run.error, RemoteError)
    assert (run.error.type_name, run.error.message) == ("Unsendable", "the text")
    assert run.summary == "Unsendable: the text"


def test_cause_may_do_as_it_likes(start):
    """It is described as far as possible."""
    run = survive(start("raise Chained('top') from Error(2)", "exits"))
    assert str(run.error) == "top"
    assert type(run.error.__cause__).__name__ == "Error"
    assert "Chained: top" in run.traceback_text


EXITING = """
class Meta(type):
    def __getattribute__(cls, name): raise SystemExit
class K(Exception, metaclass=Meta): pass
"""
LIMITED = {
    "a metaclass that exits": EXITING + "return K()",
    "a metaclass of an error that exits": EXITING + "raise K()",
    "a large number": "return math.factorial(2000)",
    "large numbers": "return [10 ** 5000, {10 ** 5000: (10 ** 5000,)}]",
    "an error of a large number": "raise ValueError(10 ** 5000)",
    "a class of any name": (
        r"return type('caf\x1b[2J' * 1000, (), {'__module__': '\udce9'})"
    ),
    "an error of any name": (
        r"raise type('a\x1b[2J', (Exception,), {'__module__': '\udce9'})('\udce9\0')"
    ),
    "a module that is none": "return type('K', (), {'__module__': 7})()",
    "no room for files": (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "return b'x' * 10 ** 6"
    ),
    "no room for an error": (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "raise ValueError('x' * 10 ** 6)"
    ),
    "no room to recurse": "sys.setrecursionlimit(40)\nreturn Repr()",
    "no room to recurse in an error": "sys.setrecursionlimit(40)\nraise Chained('x')",
    "a bottomless list": "x = []\nfor _ in range(10 ** 5): x = [x]\nreturn x",
    "a list of itself": "x = []\nx.append(x)\nreturn x",
}


@pytest.mark.parametrize("source", LIMITED.values(), ids=LIMITED)
def test_worker_lives_whatever_its_result_is(start, source):
    """The result is described."""
    run = survive(start(source))
    if "\nraise" in f"\n{source}":
        assert run.error is not None
        assert run.traceback_text or "File too large" in run.error.reason
    else:
        assert run.is_ok
        assert run.result is not None
    assert run.summary
    assert len(run.summary) <= 300
    assert run.summary.isprintable()


@pytest.mark.parametrize("deed", [*OFTEN, "sleeps"])
def test_cell_that_fails_with_such_an_error_fails(deed):
    """IPython's rendering of it has a time limit, too."""
    sleep = "import time; time.sleep(3)"
    source = HOSTILE.format(deed=DEEDS.get(deed, sleep)) + "\nraise Error(1)"
    cell = Cell(source=source, filename="<cell it>", payload=Payload())
    task = ipycron.create_task(NEVER, cell, start_timeout=20)
    task.start().result(SECONDS)
    run = survive(task, runs=1 + (deed in OFTEN))
    assert type(run.error).__name__ == "Error"
    assert "Error" in run.traceback_text


@pytest.mark.parametrize("deed", OFTEN)
def test_cell_whose_value_cannot_be_displayed_finishes(deed):
    """Its output says why; its result arrives."""
    source = HOSTILE.format(deed=DEEDS[deed]) + "\nRepr()"
    cell = Cell(source=source, filename="<cell it>", payload=Payload())
    task = ipycron.create_task(NEVER, cell, start_timeout=20)
    task.start().result(SECONDS)
    run = survive(task)
    assert run.is_ok
    assert run.summary == "<Repr>"
    assert "Error" in run.output.stderr or "could not be disp" in run.output.stderr


def test_display_of_strange_texts_is_sent_as_plain_ones():
    """Instances of users' str subclasses are sent as plain text."""
    source = """
    from IPython.display import display
    class Text(str): pass
    class Shown:
        def _repr_mimebundle_(self, **_): return {Text("text/plain"): Text("shown")}
    display(Shown(), display_id=Text("name"), metadata={Text("k"): Text("v")})
    """
    cell = Cell(source=textwrap.dedent(source), filename="<cell it>", payload=Payload())
    task = ipycron.create_task(NEVER, cell, start_timeout=20)
    task.start().result(SECONDS)
    run = survive(task)
    assert run.is_ok
    display = run.output.displays[0]
    assert display.data == {"text/plain": "shown"}
    assert display.display_id == "name"


def test_what_takes_too_long_is_interrupted_in_the_main_thread(without_alarm):
    """Even while it waits; the process's alarm is restored."""
    with pytest.raises(describe.TookTooLong), describe.interrupting(0.05):
        threading.Event().wait(10)
    after = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    assert after == (signal.SIG_DFL, (0, 0))


def test_alarm_of_the_job_is_left_alone(without_alarm):
    """A slow repr is then abandoned in a thread."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 100)
    with pytest.raises(describe.TookTooLong):
        describe.call_briefly(threading.Event().wait, 0.5, 0.01)
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 90


@pytest.mark.parametrize("deed", [*OFTEN, "sleeps"])
def test_inline_run_ends_as_well(deed):
    """In the client, without blocking any thread."""
    names = {"__name__": "__main__"}
    exec(HOSTILE.format(deed=DEEDS.get(deed, "import time; time.sleep(1)")), names)

    def fail():
        raise names["Error"](1)

    for job in (names["Repr"], fail):
        task = ipycron.create_task(NEVER, job)
        task.start().result(SECONDS)
        task.execute().exception(SECONDS)
        assert task.last_run.is_ok is (job is not fail)
        assert task.last_run.summary


# --- what a summary costs -----------------------------------------------------------

LARGE = {
    "bytes": lambda: b"x" * (60 << 20),
    "text": lambda: "x" * (60 << 20),
    "a set": lambda: set(range(10**6)),
    "a dictionary": lambda: dict.fromkeys(range(10**6, 0, -1)),
    "a number": lambda: 1 << 10**7,
    "a tree": lambda: make_tree(7),
    "large parts": lambda: [b"x" * (1 << 20), {"key" * 10**6: "x" * (1 << 20)}],
}


def make_tree(depth):
    """Return nested lists of eight lists each."""
    return [make_tree(depth - 1)] * 8 if depth else "leaf" * 100


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_summary_costs_little_whatever_the_object(make):
    """At most 1 MB and 5 ms, as the best of three."""
    value = make()
    tracemalloc.start()
    try:
        text = summarize(value)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert len(text) <= 300

    def take():
        begin = time.process_time()  # of a busy machine, only what it costs
        summarize(value)
        return time.process_time() - begin

    assert min(take() for _ in range(3)) < 0.005


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_error_of_a_large_value_is_short(make):
    """Its text would be the repr of the value."""
    error = KeyError(make())

    def take():
        begin = time.process_time()
        text = describe.get_error_text(error).text
        assert len(text) < 10_000
        return time.process_time() - begin

    assert min(take() for _ in range(3)) < 0.1


def test_summary_shows_what_is_short():
    """As Python's repr."""
    for value in (7, -1.5, "text", b"x", [1, (2,), ()], {"a": {3}}, {"k": None}, set()):
        assert summarize(value) == repr(value)
    assert summarize(frozenset({1})) == "frozenset({1})"
    assert summarize([object()]) == "[<object>]"
    assert summarize(list(range(9))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert summarize(10**5000) == "<int of 16,610 bits>"
    assert summarize("x" * 500) == "'" + "x" * 57 + "..." + "x" * 57 + "'"
