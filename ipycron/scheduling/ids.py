"""Names for runs that no other run has, in any process."""

from __future__ import annotations

import itertools
import os

_PREFIX_BYTES = 8
"""A million processes in one fleet draw two alike with a chance of 1 in 30 million.
Each remembered run has one: a UUID would be another 16 bytes."""


class IdMaker:
    """Makes ids, in any thread: a random prefix, drawn once, and a number.

    A UUID for each run would ask the kernel for entropy, 10 to 40 µs of every run.
    Belongs to one process: a copy that is forked must make its own.

    >>> make_id = IdMaker()
    >>> make_id() == make_id()
    False
    """

    def __init__(self) -> None:
        self._prefix = os.urandom(_PREFIX_BYTES).hex()
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        """Return an id that nobody else has."""
        return f"{self._prefix}-{next(self._numbers)}"
