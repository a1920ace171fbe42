"""The length of tests that could go on indefinitely.

Short by default: long enough to see each thing happen that they look for. ``make
test-full`` sets ``IPYCRON_TEST_FULL=1`` for the full lengths, and for the tests marked
`full`: they do with something else what another test does by default.
"""

from __future__ import annotations

import os

IS_FULL = os.environ.get("IPYCRON_TEST_FULL") == "1"


def choose(short, full):
    """Return the length for this run."""
    return full if IS_FULL else short
