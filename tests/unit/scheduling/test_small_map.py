"""A map for few items: like a dict, but smaller."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from ipycron.scheduling import small_map as few
from ipycron.scheduling.small_map import NOTHING, SmallMap

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 4)))


@given(STEPS)
def test_few_hold_what_a_dict_holds(steps):
    """Whatever is added and removed, in insertion order."""
    items, model = NOTHING, {}
    for number, (is_new, key) in enumerate(steps):
        if is_new and key not in model:
            items = items.add(key, number)
            model[key] = number
        elif not is_new:
            items = items.remove(key)
            model.pop(key, None)
        assert items.values() == tuple(model.values())
        assert list(items) == list(model)
        assert bool(items) is bool(model)
        assert [items.get(key) for key in range(5)] == [
            model.get(key) for key in range(5)
        ]


def test_example_is_right():
    """The docstring's example is correct."""
    assert doctest.testmod(few) == (0, 3)


def test_nothing_stays_what_it_is():
    """All empty maps are the same object, which is never changed."""
    one = NOTHING.add("a", 1)
    assert isinstance(one, SmallMap)
    assert not NOTHING
    assert one.remove("a") is NOTHING
    assert NOTHING.remove("a") is NOTHING


def test_snapshot_may_be_taken_while_items_go():
    """Of keys as well as of items."""
    items = NOTHING
    for key in "abc":
        items = items.add(key, key.upper())
    for key in items:
        items = items.remove(key)
    assert not items
