"""A cell's printed lines and displays, in the order in which it made them."""

from __future__ import annotations

import re

import pytest

from ipycron.api.functions import create_task
from ipycron.client.jobs import Cell
from ipycron.process.wire.payload import Payload

COUNT = 40
SOURCE = f"""
from IPython.display import HTML, display
for number in range({COUNT}):
    print("before", number)
    display(HTML(f"<b>{{number}}</b>"))
    print("after", number)
"""
MARKS = r"before \d+|<b>\d+</b>|after \d+"


@pytest.mark.parametrize("launcher", ["fork", "spawn"])
def test_displays_stand_between_the_lines_around_them(launcher):
    """Text arrives by pipes, displays by the socket, in the right order."""
    cell = Cell(source=SOURCE, filename="<cell order>", payload=Payload())
    task = create_task("0 0 1 1 *", cell, launcher=launcher, start_timeout=20)
    task.start().result(20)
    task.execute().result(20)
    pieces, *_ = task.last_run.output.read(0)
    shown = "".join(
        piece.data.decode()
        if piece.display is None
        else piece.display.data["text/html"]
        for piece in pieces
    )
    expected = [
        mark
        for number in range(COUNT)
        for mark in (f"before {number}", f"<b>{number}</b>", f"after {number}")
    ]
    assert re.findall(MARKS, shown) == expected
