"""Code sent by value keeps its file name, so that tracebacks show its lines."""

import io
import pickle
from types import CodeType

import cloudpickle

from ipycron.process.wire.by_value import ByValuePickler


def outer():
    """Return a function that returns a function."""

    def inner():
        raise ValueError

    return inner


def test_code_that_is_sent_by_value_keeps_its_file(monkeypatch):
    """Cloudpickle drops it from 3.1.3 on; nested code keeps it, too."""
    reduce = cloudpickle.Pickler.dispatch_table[CodeType]

    def leave_out(code):
        make, arguments = reduce(code)
        return make, tuple(
            "<dynamic-code>" if argument == code.co_filename else argument
            for argument in arguments
        )

    monkeypatch.setitem(cloudpickle.Pickler.dispatch_table, CodeType, leave_out)
    monkeypatch.setattr(outer, "__module__", "__main__")
    sent = io.BytesIO()
    ByValuePickler(sent).dump(outer)
    copy = pickle.loads(sent.getvalue())
    assert copy.__code__.co_filename == __file__
    assert copy().__code__.co_filename == __file__
