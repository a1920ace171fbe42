"""`Retry`: what it accepts, how long it waits, which failures it is about (Y1)."""

import concurrent.futures
import json
import math
import pickle
from datetime import timedelta

import msgspec
import pytest

from ipycron.errors import (
    Cancel,
    ExecutorError,
    InvalidOption,
    RunRefused,
    Snooze,
    StartRefused,
    WorkerCrashed,
)
from ipycron.scheduling.policy import Policy
from ipycron.scheduling.retry import (
    LONGEST_WAIT,
    Matcher,
    Retry,
    check_retry,
    find_class,
)


class Ours(Exception):
    """An error of the job's."""


class Narrow(Ours):
    """One of its kinds."""


def test_waits_grow_up_to_the_longest():
    """The factor is applied once for each failed attempt."""
    retry = Retry(9, delay=10, backoff=3, max_delay=100, jitter=0)
    waits = [retry.find_delay(attempt, jitter=0) for attempt in (1, 2, 3, 4)]
    assert waits == [10, 30, 90, 100]


def test_first_wait_is_never_cut():
    """Whoever gives a long delay means it, whatever the default of `max_delay` is."""
    assert Retry(1, delay=3600).find_delay(1, jitter=0) == 3600


@pytest.mark.parametrize("backoff", [2, 1e300, 1.5])
def test_factor_that_overflows_leads_to_the_longest_wait(backoff):
    """However many attempts there are."""
    assert Retry(10**6, backoff=backoff).find_delay(10**5, jitter=0) == 600
    assert Retry(10**6, backoff=backoff, delay=0).find_delay(10**5, jitter=0) == 0


@pytest.mark.parametrize(("where", "seconds"), [(-1, 5), (0, 10), (1, 15)])
def test_jitter_is_a_fraction_of_the_wait(where, seconds):
    """In both directions."""
    assert Retry(1, jitter=0.5).find_delay(1, jitter=where) == seconds


BAD = [
    ({"times": -1}, "times"),
    ({"times": 1.5}, "times"),
    ({"times": True}, "times"),
    ({"times": 2**63}, "times"),
    ({"delay": -1}, "delay"),
    ({"delay": math.nan}, "delay"),
    ({"delay": math.inf}, "delay"),
    ({"delay": LONGEST_WAIT + 1}, "delay"),
    ({"delay": "10"}, "delay"),
    ({"max_delay": math.inf}, "max_delay"),
    ({"backoff": 0.5}, "backoff"),
    ({"backoff": math.inf}, "backoff"),
    ({"backoff": math.nan}, "backoff"),
    ({"backoff": 10**400}, "backoff"),
    ({"backoff": timedelta(seconds=2)}, "backoff"),
    ({"jitter": -0.1}, "jitter"),
    ({"jitter": 1.1}, "jitter"),
    ({"jitter": math.nan}, "jitter"),
    ({"deadline": 0}, "deadline"),
    ({"deadline": math.inf}, "deadline"),
    ({"past_next": 1}, "past_next"),
    ({"on": ()}, "on"),
    ({"on": [None]}, "on"),
    ({"on": int}, "on"),
    ({"on": 0}, "on"),
    ({"on": 256}, "on"),
    ({"on": True}, "on"),
    ({"on": "Flaky"}, "on"),
    ({"on": "a..b"}, "on"),
    ({"on": "a b.C"}, "on"),
    ({"on": {"OSError": 1}}, "on"),
    ({"on": b"OSError"}, "on"),
    ({"on": range(5)}, "on"),
    ({"on": Cancel}, "on"),
    ({"on": [OSError, Snooze]}, "on"),
]


@pytest.mark.parametrize(("given", "option"), BAD)
def test_bad_value_is_refused_when_declared(given, option):
    """One line that names the option, the value and what is accepted."""
    with pytest.raises(InvalidOption) as caught:
        Retry(**{"times": 3, **given})
    assert caught.value.option == option
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "on", [range(1, 4), iter([1, 2, 3]), {1: "", 2: "", 3: ""}.keys()]
)
def test_failures_may_come_in_any_iterable(on):
    """As its type says."""
    assert Retry(1, on=on).on == (1, 2, 3)


def test_mistyped_class_is_corrected():
    """Built-in exceptions are known here; others need their module."""
    with pytest.raises(InvalidOption, match="Did you mean 'ConnectionError'"):
        Retry(1, on="ConectionError")


def test_name_of_an_own_class_is_answered_with_its_module():
    """In a magic, a class can only be given by name."""
    with pytest.raises(InvalidOption, match=r"is '__main__\.ApiProblem'\."):
        Retry(1, on="ApiProblem")


@pytest.mark.parametrize("value", ["3", -1, 1.0, True, [3]])
def test_option_takes_a_number_or_a_policy(value):
    """Nothing else."""
    with pytest.raises(InvalidOption, match="or a Retry"):
        check_retry("retry", value)


def test_number_stands_for_a_policy():
    """`retry=3` is `Retry(3)`, and None is no retries."""
    assert Policy(retry=3).retries == Retry(3)
    assert Policy().retries.times == check_retry("retry", None) == 0


def test_policy_travels():
    """Between processes, as a value: to the supervisor only names do."""
    retry = Retry(2, on=(Ours, "timeout", 3), deadline=60)
    assert pickle.loads(pickle.dumps(retry)) == retry
    assert hash(retry) == hash(pickle.loads(pickle.dumps(retry)))
    policy = Policy(retry=retry.as_names)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(policy), type=Policy)
    assert sent == policy
    assert sent.retries.on == (f"{__name__}.Ours", "timeout", 3)


def make_local():
    """Return a class that no dotted name leads to."""

    class Local(Exception):
        pass

    return Local


@pytest.mark.parametrize(
    "kind", [make_local(), type("My Error", (Exception,), {}), type("", (Ours,), {})]
)
def test_class_without_a_dotted_name_travels_as_a_name(kind):
    """It is made in a function, or by `type`; what names it here finds it nowhere."""
    named = Retry(2, on=[kind, "crash"], jitter=0.5).as_names
    assert named.on == (f"{kind.__module__}.{kind.__qualname__}", "crash")
    assert (named.times, named.jitter) == (2, 0.5)
    assert named.covers(kind())
    assert not Matcher([kind]).judge(kind()).is_final


@pytest.mark.parametrize(
    ("on", "error", "is_final"),
    [
        (None, Ours(), False),
        (None, KeyboardInterrupt(), False),
        ([Ours], Narrow(), False),
        ([Narrow], Ours(), True),
        ([f"{__name__}.Ours"], Narrow(), False),
        (["OSError"], FileNotFoundError(), False),
        (["json.JSONDecodeError"], json.JSONDecodeError("", "", 0), False),
        (["json.decoder.JSONDecodeError"], ValueError(), True),
        (["concurrent.futures.TimeoutError"], TimeoutError(), False),
        ([concurrent.futures.CancelledError], TimeoutError(), True),
        (["timeout", "crash"], Ours(), True),
        ([3], SystemExit(3), False),
        ([3], SystemExit(4), True),
        ([1], SystemExit("a text"), False),
        ([1], Ours(), True),
        (["__main__.Missing"], Ours(), True),
        (["__main__.Missing", "ValueError"], ValueError(), False),
        (["__main__.Sent"], type("Sent", (Ours,), {"__module__": "__main__"})(), False),
        (["__main__.Sent"], Ours(), True),
    ],
)
def test_failures_are_matched_by_isinstance(on, error, is_final):
    """Where the exception is alive: also by another name of its class."""
    assert Matcher(on).judge(error).is_final == is_final


def test_exception_ends_a_program_with_code_1():
    """As Python would: only scripts have exit codes."""
    judge = Matcher([1], is_program=True).judge
    assert not judge(Ours()).is_final
    assert judge(SystemExit(2)).is_final


def test_metaclass_that_raises_is_no_match():
    """`isinstance` runs code of the class."""

    class Meta(type(Exception)):
        def __instancecheck__(cls, instance):
            raise RuntimeError

    hostile = Meta("Hostile", (Exception,), {})
    assert Matcher([hostile]).judge(Ours()).is_final
    assert not Matcher([hostile, Ours]).judge(Ours()).is_final


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module.Error", "No module named 'no_such_module'"),
        ("json.NoSuchError", "json has no 'NoSuchError'"),
        ("json.decoder.No.Such", "json.decoder has no 'No'"),
        ("json.dumps", "an exception class"),
    ],
)
def test_class_that_cannot_be_imported_is_named(name, reason):
    """With the reason, in one line."""
    with pytest.raises(InvalidOption, match=reason) as caught:
        find_class(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("on", "error", "is_covered"),
    [
        (None, WorkerCrashed(name="t", exit_code=3), True),
        ((3,), WorkerCrashed(name="t", exit_code=3), True),
        ((3,), WorkerCrashed(name="t", signal_name="SIGKILL"), False),
        (("crash",), StartRefused(name="t", reason="no process"), True),
        (("crash",), RunRefused(name="t", reason="no thread"), True),
        (("crash",), ExecutorError(name="t", reason="lost the run"), True),
        (("timeout",), ExecutorError(name="t", reason="lost the run"), False),
        ((RuntimeError,), WorkerCrashed(name="t"), True),
        ((OSError,), WorkerCrashed(name="t"), False),
    ],
)
def test_own_errors_are_matched_by_their_names(on, error, is_covered):
    """The scheduler imports nothing of the user's to do so."""
    assert Retry(1, on=on).as_names.covers(error) == is_covered


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "5", None, True, 1e9])
def test_bad_snooze_is_refused_where_it_is_made(seconds):
    """The job fails with the line that says so."""
    with pytest.raises(InvalidOption, match="Snooze: got"):
        Snooze(seconds)


def test_snooze_takes_a_duration():
    """As every other wait does."""
    assert Snooze(timedelta(minutes=1)).seconds == Snooze(60).seconds == 60


def test_cancel_says_why():
    """Anything that has a text; nothing, too."""
    assert Cancel("no data").why == str(Cancel("no data")) == "no data"
    assert Cancel().why == ""
    assert Cancel(ValueError("no")).why == "no"
