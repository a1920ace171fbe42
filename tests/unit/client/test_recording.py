"""The hooks that record what inline runs print."""

import io
import sys

import pytest

from ipycron.client.output import Output
from ipycron.client.recording import Recorder, StreamHooks


class Stream(io.StringIO):
    """A stream with attributes of its own, as a text file has."""


@pytest.fixture
def replace(monkeypatch):
    """Return a function that replaces standard output, and returns the stream."""

    def replace():
        stream = Stream()
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return replace


def record(hooks, text):
    """Print in a run; return what was recorded."""
    output = Output()
    with hooks.recording(Recorder(output, lambda: None)):
        sys.stdout.write(text)
    return output.stdout


def test_hook_is_removed_after_each_run(replace):
    """However often the same stream is hooked again."""
    hooks, stream = StreamHooks(), replace()
    for number in range(3):
        assert record(hooks, f"{number}") == f"{number}"
        assert "write" not in vars(stream)
    sys.stdout.write("!")
    assert stream.getvalue() == "012!"


def test_hook_that_a_program_has_kept_is_not_put_over_it(replace):
    """A program that calls a removed hook in its own would call itself without end."""
    hooks, stream, kept = StreamHooks(), replace(), []
    with hooks.recording(Recorder(Output(), lambda: None)):
        kept.append(sys.stdout.write)
    stream.write = lambda text: kept[0](text.upper())
    assert record(hooks, "first ") == "first "
    assert record(hooks, "second") == "second"
    assert stream.getvalue() == "FIRST SECOND"
    del stream.write
    assert record(hooks, " third") == " third"
    assert stream.getvalue() == "FIRST SECOND third"


def test_hooks_follow_streams_that_are_replaced(replace):
    """A hook of the stream before is not used for the next one."""
    hooks, stream = StreamHooks(), replace()
    assert record(hooks, "one") == "one"
    other = replace()
    assert record(hooks, "two") == "two"
    assert (stream.getvalue(), other.getvalue()) == ("one", "two")
