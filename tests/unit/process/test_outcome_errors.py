"""Errors sent between processes: unusual ones, and libraries that interfere."""

import contextlib
import copyreg
from dataclasses import dataclass

import pytest

from ipycron.process.wire.outcome import (
    Unserializable,
    decode_error,
    decode_result,
    encode_error,
    encode_result,
    read_traceback,
)


@contextlib.contextmanager
def registered(cls, reduce):
    """Make the whole process pickle exceptions of a class like this."""
    before = copyreg.dispatch_table.get(cls)
    copyreg.pickle(cls, reduce)
    try:
        yield
    finally:
        del copyreg.dispatch_table[cls]
        if before is not None:
            copyreg.dispatch_table[cls] = before


def rebuild_dull(cls):
    """Create an exception like tblib, without its constructor."""
    return cls.__new__(cls)


@pytest.mark.parametrize("error", [SyntaxError("no colon"), KeyError("x"), OSError(2)])
def test_error_keeps_its_text_when_a_library_pickles_it_otherwise(error):
    """Importing Dask must not cost a job's errors their text."""
    with registered(type(error), lambda error: (rebuild_dull, (type(error),))):
        payload, _ = encode_error(error, 1 << 20)
        decoded = decode_error(payload)
    assert type(decoded) is type(error)
    assert str(decoded) == str(error)
    assert decoded.args == error.args


def test_error_of_main_travels_by_value():
    """Like every object that a notebook defines."""
    scope = {"__name__": "__main__"}
    exec("class Mine(Exception):\n    code = 7", scope)
    payload, _ = encode_error(scope["Mine"]("text"), 1 << 20)
    decoded = decode_error(payload)
    assert (decoded.args, decoded.code) == (("text",), 7)


@dataclass(frozen=True, slots=True)
class QuotaExceeded(Exception):
    """An error with attributes of its own."""

    limit: int


class Stubborn(Exception):
    """An error that refuses every change."""

    def __setattr__(self, name, value):
        raise AttributeError(name)


class Leaver:
    """A result that exits the program that unpickles it."""

    def __reduce__(self):
        return _leave, ()


def _leave():
    raise SystemExit(3)


@pytest.mark.parametrize("error", [QuotaExceeded(3), Stubborn("no", 3)])
def test_error_that_refuses_to_be_changed_travels(error):
    """Its type, arguments, cause and traceback arrive nevertheless."""
    try:
        raise error from KeyError("first")
    except type(error):
        payload, _ = encode_error(error, 1 << 20)
    decoded = decode_error(payload)
    assert type(decoded) is type(error)
    assert decoded.args == error.args
    assert getattr(decoded, "limit", 3) == 3
    assert isinstance(decoded.__cause__, KeyError)
    assert "KeyError: 'first'" in read_traceback(decoded)


def test_result_that_leaves_when_it_is_unpacked_is_a_description():
    """Reading a result must not end the reader."""
    payload, _ = encode_result(Leaver(), 1 << 20)
    decoded = decode_result(payload)
    assert isinstance(decoded, Unserializable)
    assert "SystemExit: 3" in decoded.reason
