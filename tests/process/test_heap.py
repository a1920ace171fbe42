"""The zygote's heap is arranged so that workers write to few of its pages."""

import sys

import pytest
from fresh import run_fresh

from ipycron.process.worker.heap import gather_code, record_code

FILL = """
import json, sys
from ipycron.process.worker.heap import fill_gaps

def make(count):
    return [bytes({size} - sys.getsizeof(b"")) for _ in range(count)]

def count_adjacent(objects):
    places = sorted(map(id, objects))
    return sum(b - a <= {size} + 16 for a, b in zip(places, places[1:]))

kept = make(400)
del kept[::2]
if {is_filled}:
    fill_gaps()
print(json.dumps(count_adjacent(make(100)) > 80))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of CPython and glibc")
@pytest.mark.parametrize("size", [64, 480, 1016])
@pytest.mark.parametrize("is_filled", [True, False])
def test_new_objects_are_adjacent_only_if_gaps_are_filled(size, is_filled):
    """Small ones and large ones; otherwise they take the place of freed ones."""
    assert run_fresh(FILL.format(size=size, is_filled=is_filled)) is is_filled


@pytest.mark.parametrize("allocator", ["malloc", "debug"])
def test_nothing_is_filled_with_another_allocator(monkeypatch, allocator):
    """Where objects go is not known there: filling would only take memory."""
    monkeypatch.setenv("PYTHONMALLOC", allocator)
    program = (
        "from ipycron.process.worker import heap; heap.fill_gaps(); "
        "print(sum(map(len, heap._fillers)))"
    )
    assert run_fresh(program) == 0


class Sample:
    """Methods of all kinds."""

    def method(self):
        """Called."""
        return 1

    @classmethod
    def of_class(cls):
        """Called."""
        return 2

    @staticmethod
    def of_none():
        """Called."""
        return 3

    @property
    def value(self):
        """Called, but found under no name."""
        return 4

    def unused(self):
        """Not called."""


def call_all():
    """Return what each returns; by a function of its own, too."""

    def get_last():
        return 5

    sample = Sample()
    first = [sample.method(), sample.of_class(), sample.of_none(), sample.value]
    return [*first, get_last()]


def test_gathering_copies_the_code_that_was_called():
    """Each function gets an equal copy, which does the same; others keep theirs."""
    used = [Sample.method, Sample.of_class.__func__, Sample.of_none, call_all]
    others = [Sample.unused, Sample.value.fget]  # a property is left alone
    before = [function.__code__ for function in [*used, *others]]
    gather_code(record_code(call_all))
    after = [function.__code__ for function in [*used, *others]]
    assert after == before
    assert [a is b for a, b in zip(after, before, strict=True)] == [
        *[False] * len(used),
        *[True] * len(others),
    ]
    assert call_all() == [1, 2, 3, 4, 5]


def test_recording_restores_the_profiler_when_the_call_fails():
    """It is the one that was set before."""

    def profile(*_):
        pass

    def fail():
        raise LookupError

    sys.setprofile(profile)
    try:
        with pytest.raises(LookupError):
            record_code(fail)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
