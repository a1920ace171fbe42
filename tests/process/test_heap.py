"""The zygote's heap is arranged so that a worker's own objects lie on few pages."""

import sys

import pytest
from fresh import run_fresh

FILL = """
import json, sys
from ipycron.process.worker.heap import fill_gaps

def make(count):
    return [bytes({size} - sys.getsizeof(b"")) for _ in range(count)]

def count_neighbours(objects):
    places = sorted(map(id, objects))
    return sum(b - a <= {size} + 16 for a, b in zip(places, places[1:]))

kept = make(400)
del kept[::2]
if {is_filled}:
    fill_gaps()
print(json.dumps(count_neighbours(make(100)) > 80))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of CPython and glibc")
@pytest.mark.parametrize("size", [64, 480, 1016])
@pytest.mark.parametrize("is_filled", [True, False])
def test_new_objects_lie_side_by_side_if_gaps_are_filled(size, is_filled):
    """Small ones and large ones; otherwise they lie where others were freed."""
    assert run_fresh(FILL.format(size=size, is_filled=is_filled)) is is_filled
