"""What users may change on a task, and the errors where they may not."""

import collections
import functools
import pickle
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import pytest
from house import drain
from polling import eventually

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import (
    CaptureError,
    CronSyntaxError,
    InvalidOption,
    TaskDestroyed,
    UnknownOption,
    UnknownTask,
)

NEVER = "0 0 1 1 *"


def add(a, b=0, *, c=0):
    """Return its arguments."""
    return (a, b, c)


def add_with_context(context, *, c):
    """Return its arguments and the reason of the run."""
    return (c, context.execution.reason)


@pytest.fixture(params=[False, True], ids=["inline", "background"])
def options(request):
    """Options that select where the task runs."""
    return {"background": request.param}


def test_reschedule_keeps_listeners_history_and_limits(options):
    """Another schedule, the same task, started or not."""
    task = ipycron.create_task(NEVER, add, args=[1], max_executions=2, **options)
    ended = []
    task.on("execution:finished", ended.append)
    assert task.reschedule("0 0 2 2 *").pattern == "0 0 2 2 *"
    task.start().result(20)
    task.execute().result(20)
    assert task.reschedule("* * * * * *") is task
    assert task.pattern == "* * * * * *"
    assert task.seconds_to_next < 2  # if a slot has just been taken, above 1
    eventually(lambda: task.status == "destroyed", "both slots have run")
    eventually(lambda: len(ended) == 3, "the listener has heard of each run")
    assert len(task.history) == 3


def test_reschedule_to_a_rare_slot_ends_the_old_series(options):
    """No slot of the previous schedule occurs any more."""
    task = ipycron.schedule("* * * * * *", add, args=[1], **options)
    eventually(lambda: task.last_run, "it has run")
    task.reschedule(NEVER)
    task.execute().result(20)  # behind it, in the same order
    eventually(lambda: not task.is_busy, "what had begun before has ended")
    count = len(task.history)
    ipycron.wait(task, runs=1, timeout=1.5)
    assert len(task.history) == count


def test_reschedule_refuses_what_schedule_would(options):
    """Then nothing has changed."""
    task = ipycron.schedule(NEVER, add, args=[1], timezone="Europe/Berlin", **options)
    with pytest.raises(CronSyntaxError):
        task.reschedule("61 * * * *")
    assert task.pattern == NEVER
    task.reschedule("0 9 * * *")
    assert (task.timezone, task.next_run.hour) == ("Europe/Berlin", 9)
    task.reschedule(ipycron.CronExpression("0 9 * * *", "Asia/Tokyo"))
    assert task.timezone == "Asia/Tokyo"
    task.destroy().result(20)
    with pytest.raises(TaskDestroyed):
        task.reschedule("0 9 * * *")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("expression", "Use reschedule()."),
        ("pattern", "Use reschedule()."),
        ("name", "Schedule it again."),
        ("options", "Schedule it again."),
        ("max_executions", "Schedule it again."),
    ],
)
def test_attribute_of_a_task_cannot_be_set(name, advice):
    """It would not affect what runs."""
    task = ipycron.create_task(NEVER, add, args=[1])
    message = f"{name!r} of a task cannot be set. {advice}"
    with pytest.raises(AttributeError, match=re.escape(message)):
        setattr(task, name, "* * * * *")


@pytest.mark.parametrize(
    ("job", "given", "result"),
    [
        (add, {"args": [1, 2]}, (1, 2, 0)),
        (add, {"args": (1,), "kwargs": {"c": [3]}}, (1, 0, [3])),
        (add, {"kwargs": {"a": 1}}, (1, 0, 0)),
        (add_with_context, {"kwargs": {"c": 5}}, (5, "invoked")),
    ],
)
def test_function_gets_its_arguments(options, job, given, result):
    """Bound when scheduled; the context is passed if one more is required."""
    task = ipycron.create_task(NEVER, job, **given, **options)
    task.start().result(20)
    assert task.execute().result(20) == result


@pytest.mark.parametrize(
    ("job", "given", "said"),
    [
        (add, {"args": [1, 2, 3]}, "args: got"),
        (add, {"args": [1], "kwargs": {"d": 1}}, "got an unexpected keyword argument"),
        (add, {"args": "a"}, "args: got a str, expected a list."),
        (add, {"args": 1}, "args: got an int, expected a list."),
        (5, {}, "job: got an int, expected a path, a function or a coroutine function"),
        (add, {"kwargs": [1]}, "expected a dict with str as keys"),
        (add, {"kwargs": {1: 2}}, "expected a dict with str as keys"),
        ("job.py", {"kwargs": {"a": 1}}, "Keyword arguments are for functions"),
        ("job.py", {"args": [1]}, "expected a list of str"),
        ("job.py", {"args": ["lone \ud800"]}, "expected a list of str"),
    ],
)
def test_arguments_that_cannot_be_are_refused(write, job, given, said):
    """When the task is created, not at each fire."""
    job = write("pass") if job == "job.py" else job
    with pytest.raises((InvalidOption, UnknownOption), match=re.escape(said)):
        ipycron.create_task(NEVER, job, **given)


def test_tasks_are_found_by_name_too():
    """By id first, then the newest with a name; else a helpful KeyError."""
    task = ipycron.create_task(NEVER, add, args=[1], name="report")
    tasks = ipycron.get_tasks()
    assert tasks["report"] is tasks[task.id] is tasks.get("report") is task
    assert "report" in tasks
    assert "other" not in tasks
    assert tasks.get("other") is None
    assert [*tasks] == [task.id]
    with pytest.raises(KeyError, match="Did you mean 'report'") as caught:
        tasks["reprot"]
    assert str(caught.value).startswith("no task is called 'reprot'.")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(UnknownTask):
        ipycron.get_task("other")
    with pytest.raises(TypeError):
        tasks["x"] = task


def test_wait_counts_no_run_that_was_over_before_it(options, monkeypatch):
    """Even if its event is still on its way to the listeners."""
    monkeypatch.setattr("ipycron.client.listeners.PATIENCE", 60)
    task = ipycron.create_task(NEVER, add, args=[1], **options)
    heard = []
    task.on("execution:finished", heard.append)
    task.start().result(20)
    busy, gate = threading.Event(), threading.Event()
    registry.client.dispatcher.submit(lambda: busy.set() or gate.wait(20))
    assert busy.wait(20)
    task.execute().result(20)
    eventually(lambda: len(task.history) == 1, "it is over")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ipycron.wait, task, runs=1, timeout=20)
        listeners = registry.client.listeners
        eventually(lambda: listeners.has_named("execution:finished"), "it waits")
        gate.set()
        eventually(lambda: heard, "its event arrives")
        drain()
        assert not waiting.done()
        task.execute().result(20)
        assert waiting.result(20)


def test_history_says_why_it_has_no_result():
    """The error explains why the attribute is missing."""
    task = ipycron.create_task(NEVER, add, args=[1])
    task.start().result(20)
    task.execute().result(20)
    with pytest.raises(AttributeError, match="the history keeps no results"):
        _ = task.history[0].result


class Connection:
    """Contains something that cannot be pickled."""

    def __init__(self):
        self._conn = threading.Lock()


class Engine:
    """Holds a connection in a slot."""

    __slots__ = ("empty", "pool")

    def __init__(self):
        self.pool = Connection()


class App:
    """Holds an engine, and has several methods that can be jobs."""

    def __init__(self):
        self.engine = Engine()

    def run(self):
        """Do nothing."""

    def __call__(self):
        """Do nothing."""


APP = App()
Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024 - the plain kind


def use_global():
    """Use a global."""
    return APP.engine


def use_helper():
    """Use a global through another function."""
    return use_global()


def enclose(value):
    """Return a function that encloses a value."""

    def inner():
        return value

    return inner


def make_nested():
    """Return a nested function that uses the global."""

    def inner():
        return APP

    return inner


def have_default(value=APP):
    """Have it as a default."""


class Odd:
    """Refuses to be pickled, with a reason."""

    def __reduce__(self):
        raise ValueError("it is odd")


@pytest.mark.parametrize(
    ("job", "place"),
    [
        (APP.run, "self.engine.pool._conn"),
        (APP, "self.engine.pool._conn"),
        (lambda: APP.run() or 1, "APP.engine.pool._conn"),
        (use_global, "APP.engine.pool._conn"),
        (use_helper, "use_global: APP.engine.pool._conn"),
        (make_nested, "APP.engine.pool._conn"),
        (have_default, "value.engine.pool._conn"),
        (enclose(APP), "value.engine.pool._conn"),
        (enclose({"a": [0, (Connection(),)]}), "value['a'][1][0]._conn"),
        (enclose(Pair(1, Connection())), "value[1]._conn"),
        (enclose(collections.deque([Connection()])), "value[0]._conn"),
        (enclose(collections.defaultdict(list, b=[APP])), "value['b'][0].engine"),
        (enclose({threading.Lock()}), "value{…}"),
        (enclose(enclose(APP)), "value: value.engine.pool._conn"),
        (enclose(APP.run), "value.__self__.engine.pool._conn"),
        (enclose(threading.Event()), "value._cond._lock"),
        (enclose(Odd()), "value"),
        (functools.partial(lambda a, b: a + b, 1, b=APP), "kwargs['b'].engine.pool"),
        (functools.partial(APP.run, 1), "self.engine.pool._conn"),
        (functools.lru_cache(use_global), "self.__wrapped__: APP.engine.pool._conn"),
    ],
)
def test_capture_error_names_the_place(job, place):
    """The path from a name in the job to the culprit, attribute by attribute."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with pytest.raises(CaptureError) as caught:
            ipycron.create_task(NEVER, job, background=True)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert caught.value.variable.startswith(place)
    assert str(caught.value).startswith(repr(caught.value.variable))
    assert caught.value.type_name in ("lock", "Odd")


def test_capture_error_names_an_argument():
    """`args` and `kwargs` are named as in the call."""
    with pytest.raises(CaptureError, match=r"'args\[1\].engine.pool._conn' \(lock\)"):
        ipycron.create_task(NEVER, add, args=[1, APP], background=True)
    with pytest.raises(CaptureError, match=r"\"kwargs\['c'\].engine.pool._conn\""):
        ipycron.create_task(NEVER, add, args=[1], kwargs={"c": APP}, background=True)
