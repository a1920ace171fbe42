"""Results and errors read concurrently: by listeners, history and callers."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipycron.client.executions import read_value, wrap_value
from ipycron.process.wire.outcome import encode_error, encode_result, read_traceback
from ipycron.process.wire.payload import INLINE_BYTES
from ipycron.scheduling.events import Outcome

LARGE = "x" * (2 * INLINE_BYTES)


rebuilt = []


class Slow:
    """An object that is slow to rebuild."""

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return rebuild, (self.text,)


def rebuild(text):
    """Return the object after a delay."""
    rebuilt.append(text)
    time.sleep(0.05)  # noqa: TID251 - while the others ask
    return Slow(text)


@pytest.mark.parametrize("text", ["small", LARGE])
def test_error_is_whole_for_each_of_its_readers(text):
    """Every reader gets all bytes, in whatever order they read."""
    payload, summary = encode_error(ValueError(text), 1 << 20)
    outcome = Outcome(is_ok=False, value=payload, summary=summary)
    for _ in range(2):
        error = read_value(wrap_value(outcome))
        assert type(error) is ValueError
        assert str(error) == text
    assert "ValueError" in read_traceback(payload)


def test_result_is_decoded_once_when_many_ask_at_once():
    """A large result's descriptor is closed after the first decoding."""
    payload, summary = encode_result(Slow(LARGE), 1 << 20)
    assert payload.fd is not None
    held = wrap_value(Outcome(is_ok=True, value=payload, summary=summary))
    rebuilt.clear()  # packing has tried it
    first, *others = ask_at_once(lambda: read_value(held))
    assert first.text == LARGE
    assert all(other is first for other in others)
    assert rebuilt == [LARGE]
    assert payload.fd is None


def test_bytes_are_taken_out_once_when_many_settle_at_once(monkeypatch):
    """No thread reads from a descriptor that another has closed."""
    payload, _ = encode_result(LARGE, 1 << 20)
    read = os.pread

    def read_late(*args):
        time.sleep(0.02)  # noqa: TID251 - while the others come
        return read(*args)

    monkeypatch.setattr(os, "pread", read_late)
    ask_at_once(payload.settle)
    assert LARGE.encode() in bytes(payload.data)


def ask_at_once(call):
    """Return what four threads get from concurrent calls."""
    meeting = threading.Barrier(4)

    def ask(_):
        meeting.wait(10)
        return call()

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(ask, range(4)))
