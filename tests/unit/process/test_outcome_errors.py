"""Errors on their way, where a library has its own idea of how they travel."""

import contextlib
import copyreg

import pytest

from ipycron.process.outcome import decode_error, encode_error


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
