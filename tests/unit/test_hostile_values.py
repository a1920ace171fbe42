"""Values that are hard to show or to compare, wherever a user may give one."""

from fractions import Fraction

import pytest

import ipycron
from ipycron.errors import IpycronError, describe_value, show_value
from ipycron.scheduling.checks import check_count, check_duration, to_seconds


class Table:
    """Compares its elements, as arrays do: the answer is neither true nor false."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise ValueError("ambiguous")

    __ne__ = __eq__
    __hash__ = None


class Shy:
    """Has no text."""

    def __repr__(self):
        raise RuntimeError("no text")


VALUES = [10**5000, -(10**5000), Table(), Shy(), [Table()], {"a": Shy()}]
TAKERS = {
    "Retry": ipycron.Retry,
    "Retry.delay": lambda value: ipycron.Retry(1, delay=value),
    "Retry.backoff": lambda value: ipycron.Retry(1, backoff=value),
    "Retry.on": lambda value: ipycron.Retry(1, on=value),
    "Snooze": ipycron.Snooze,
    "every": ipycron.every,
    "every.weeks": lambda value: ipycron.every(weeks=value),
    "every.beside": lambda value: ipycron.every(value, weeks=1),
    "every.anchor": lambda value: ipycron.every("5m", anchor=value),
    "at": ipycron.at,
    "rrule": ipycron.rrule,
    "any_of": ipycron.any_of,
    "expression": lambda value: ipycron.create_task(value, print),
    **{
        option: lambda value, option=option: ipycron.create_task(
            "@daily", print, **{option: value}
        )
        for option in (
            *("retry", "pool", "priority", "overlap", "exclude", "on_excluded"),
            *("timeout", "jitter", "max_executions", "start", "end", "catch_up"),
        )
    },
}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("taker", TAKERS)
def test_value_that_cannot_be_shown_is_refused_in_one_line(taker, value):
    """Not by what its text or its comparison raises."""
    with pytest.raises(IpycronError) as caught:
        TAKERS[taker](value)
    assert "got" in str(caught.value)
    assert len(str(caught.value)) < 800


def test_value_without_a_text_is_shown_as_its_type():
    """Also a key of an option that may hold secrets."""
    assert show_value(Shy()) == "a Shy that cannot be shown"
    assert show_value("a" * 300) == repr("a" * 300)[:200]
    assert "a Shy that cannot be shown" in describe_value("env", {Shy(): 1})
    assert describe_value("env", Table()) == "a Table"


def test_numbers_of_other_libraries_are_numbers():
    """NumPy registers its own as such; a boolean is none."""
    numpy = pytest.importorskip("numpy")
    for three in (numpy.int64(3), numpy.uint8(3)):
        assert type(check_count("n", three)) is int
        assert ipycron.Retry(three) == ipycron.Retry(3)
        assert ipycron.every(three) == ipycron.every(3) == ipycron.every(seconds=three)
    assert check_duration("n", numpy.float32(1.5)) == 1.5
    assert to_seconds(Fraction(1, 2)) == 0.5
    assert to_seconds(numpy.bool_(1)) is to_seconds(True) is None
