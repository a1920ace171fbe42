"""Errors on their way: strange ones, and libraries with ideas of their own."""

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
    """Have all of the process pickle exceptions of a class this way."""
    before = copyreg.dispatch_table.get(cls)
    copyreg.pickle(cls, reduce)
    try:
        yield
    finally:
        del copyreg.dispatch_table[cls]
        if before is not None:
            copyreg.dispatch_table[cls] = before


def rebuild_dull(cls):
    """Make an exception as tblib does, without its constructor."""
    return cls.__new__(cls)


@pytest.mark.parametrize("error", [SyntaxError("no colon"), KeyError("x"), OSError(2)])
def test_error_keeps_its_text_when_a_library_pickles_it_otherwise(error):
    """Importing Dask must not cost a job the text of its errors."""
    with registered(type(error), lambda error: (rebuild_dull, (type(error),))):
        payload, _ = encode_error(error, 1 << 20)
        decoded = decode_error(payload)
    assert type(decoded) is type(error)
    assert str(decoded) == str(error)
    assert decoded.args == error.args


def test_error_of_main_travels_by_value():
    """As every object that a notebook defines."""
    scope = {"__name__": "__main__"}
    exec("class Mine(Exception):\n    code = 7", scope)
    payload, _ = encode_error(scope["Mine"]("text"), 1 << 20)
    decoded = decode_error(payload)
    assert (decoded.args, decoded.code) == (("text",), 7)


@dataclass(frozen=True, slots=True)
class QuotaExceeded(Exception):
    """An error that is what it is."""

    limit: int


class Stubborn(Exception):
    """An error that refuses everything."""

    def __setattr__(self, name, value):
        raise AttributeError(name)


class Leaver:
    """A result that ends the program that unpacks it."""

    def __reduce__(self):
        return _leave, ()


def _leave():
    raise SystemExit(3)


@pytest.mark.parametrize("error", [QuotaExceeded(3), Stubborn("no", 3)])
def test_error_that_refuses_to_be_changed_travels(error):
    """Its type, its arguments, its cause and its traceback all the same."""
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
    """Who asks for a result must not end by it."""
    payload, _ = encode_result(Leaver(), 1 << 20)
    decoded = decode_result(payload)
    assert isinstance(decoded, Unserializable)
    assert "SystemExit: 3" in decoded.reason
