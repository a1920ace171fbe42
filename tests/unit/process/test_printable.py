"""Foreign text for a terminal is cleaned quickly, however long it is."""

import time

import pytest

from ipycron.process.wire.printable import keep_colours

SIZE = 2_000_000
LONG = {
    "a line": "x" * SIZE + "\x07",
    "lines": "x\n" * (SIZE // 2) + "\x07",
    "a bar": "10 %\r" * (SIZE // 5) + "x",
    "beginnings": "\x1b[" * (SIZE // 2),
    "titles": "\x1b]" * (SIZE // 2),
    "a title": "\x1b]" + "x" * SIZE,
    "numbers": "\x1b[" + "0" * SIZE,
}


@pytest.mark.parametrize("kind", LONG)
def test_long_text_is_shown_soon(kind):
    """An error message of megabytes takes linear time."""
    began = time.process_time()
    assert "\r" not in keep_colours(LONG[kind])
    assert time.process_time() - began < 5
