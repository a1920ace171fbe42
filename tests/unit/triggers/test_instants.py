"""`at`: one or more instants."""

import pickle
from datetime import UTC, date, datetime, timedelta

import pytest

from ipycron import at
from ipycron.errors import InvalidOption

NINE = datetime(2026, 12, 1, 9, tzinfo=UTC)


def test_instants_fire_once_each_in_order():
    """Whatever their order, and however often they are given."""
    later = NINE + timedelta(hours=1)
    trigger = at(later, NINE, later, timezone=UTC)
    before = NINE - timedelta(days=1)
    assert trigger.upcoming(5, before) == [NINE, later]
    assert trigger.next(later) is None
    assert trigger.previous(later) == NINE
    assert trigger.previous(NINE) is None
    assert trigger.matches(NINE)
    assert not trigger.matches(NINE + timedelta(microseconds=1))
    assert trigger.is_finite


def test_instants_are_read_in_every_form():
    """A date is its midnight; a fraction of a second is rounded up."""
    trigger = at("2026-12-01 09:00:00.25", date(2026, 12, 2), timezone=UTC)
    assert trigger.describe() == "At 2026-12-01 09:00:01, 2026-12-02 00:00"
    many = at(*(NINE + timedelta(days=n) for n in range(5)), timezone=UTC)
    assert many.describe().endswith("2026-12-03 09:00 and 2 more times")


def test_zone_of_the_task_reads_what_has_none():
    """Unless the trigger was given its own."""
    assert at("2026-12-01 09:00").begin(0, "Asia/Tokyo").find_next(0) == 1796083200
    own = at("2026-12-01 09:00", timezone=UTC).begin(0, "Asia/Tokyo")
    assert own.find_next(0) == NINE.timestamp()


@pytest.mark.parametrize("value", ["soon", "09:00", 5, None, True, "2026-02-30"])
def test_what_is_no_instant_is_refused(value):
    """In one line."""
    with pytest.raises(InvalidOption, match=r"^at: got .*, expected an instant"):
        at(value)


def test_too_many_instants_are_refused():
    """All of them are in the history's pattern."""
    with pytest.raises(InvalidOption, match="at: got '1001 instants'"):
        at(*(NINE + timedelta(days=n) for n in range(1001)))


def test_instants_in_the_past_are_refused_with_the_time():
    """Only if none is to come: a cell is run again."""
    trigger = at(NINE, NINE + timedelta(hours=2), timezone=UTC)
    trigger.check_fires(NINE.timestamp() + 1)
    with pytest.raises(
        InvalidOption,
        match=r"^at: got '2026-12-01 11:00:00\+00:00', expected an instant to come: "
        r"it is 2026-12-01 12:00:00",
    ):
        trigger.check_fires(NINE.timestamp() + 3 * 3600)


def test_instants_are_values():
    """Equal, hashable, and the same in another process."""
    trigger = at(NINE, timezone=UTC)
    assert trigger == pickle.loads(pickle.dumps(trigger))
    assert {trigger, at("2026-12-01 09:00", timezone=UTC)} == {trigger}
    assert trigger != at(NINE, timezone="Asia/Tokyo")
    assert trigger != "@at 2026-12-01T09:00:00+00:00"
