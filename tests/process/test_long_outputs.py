"""Much output: what is kept of it is the same each time."""

import re
import sys

import pytest

from ipycron import create_task

DEADLINE = 60.0
MARKER = re.compile("… ([0-9,]+) lines, ([0-9,]+) bytes left out …\n")
TEXT = "".join(f"line {number}\n" for number in range(100_000))


def print_lines():
    """Print lines one by one."""
    for number in range(100_000):
        print("line", number)  # noqa: T201 - what is tested


def write_at_once():
    """Write all lines with one call."""
    sys.stdout.write(TEXT)


@pytest.mark.parametrize("job", [print_lines, write_at_once])
def test_100_000_lines_are_cut_at_the_same_places_each_time(job):
    """Whole lines of head and tail; the lines in between are counted."""
    task = create_task("@yearly", job, background=True)
    task.start().result(DEADLINE)
    outputs = set()
    for _ in range(5):
        task.execute().result(DEADLINE)
        outputs.add(task.last_run.output.stdout)
    task.destroy().result(DEADLINE)
    (output,) = outputs
    (marker,) = MARKER.finditer(output)
    head, tail = output[: marker.start()], output[marker.end() :]
    assert TEXT.startswith(head)
    assert TEXT.endswith(tail)
    lines, size = (int(number.replace(",", "")) for number in marker.groups())
    assert (head + tail).count("\n") + lines == 100_000
    assert len(head) + len(tail) + size == len(TEXT)
