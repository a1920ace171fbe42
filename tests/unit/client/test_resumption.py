"""What is known to be settled of a task while nobody tells."""

import pytest

from ipycron.client import recovery as resumption
from ipycron.client.recovery import Settled


class Minutes:
    """A schedule with a slot every 60 seconds."""

    def find_next(self, after):
        """Return the next whole minute."""
        return int(after // 60 + 1) * 60


@pytest.mark.parametrize(
    ("slots", "floor", "beyond"),
    [
        ([], 30, set()),
        ([60], 60, set()),
        ([60, 120, 180], 180, set()),
        ([120], 30, {120}),
        ([120, 180, 300], 30, {120, 180, 300}),
        ([120, 180, 300, 60], 180, {300}),
        ([120, 60, 60, 0], 120, set()),
    ],
)
def test_floor_rises_over_settled_slots_only(slots, floor, beyond):
    """In whatever order they are settled; what waits stays known."""
    settled = Settled(30)
    for slot in slots:
        settled.add(slot, Minutes())
    assert (settled.floor, settled.beyond) == (floor, beyond)


def test_floor_rises_over_what_is_told_in_bulk():
    """A number of missed slots stands for all before it."""
    settled = Settled(30)
    settled.add(600, Minutes())
    settled.add(180, Minutes())
    settled.add_all(540)
    settled.add(660, Minutes())
    assert (settled.floor, settled.beyond) == (660, set())


def test_memory_is_bounded_when_a_slot_waits_for_ever(monkeypatch):
    """The oldest that wait are given up."""
    monkeypatch.setattr(resumption, "MAX_BEYOND", 3)
    settled = Settled(30)
    for slot in (120, 180, 300, 420):
        settled.add(slot, Minutes())
    assert (settled.floor, settled.beyond) == (180, {300, 420})
