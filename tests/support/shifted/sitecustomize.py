"""A wrong clock, for a process and everything that it starts.

Python imports this first in every process whose path leads here. The seconds stand in
an environment variable, or in a file that may be written while the processes run.
"""

import os
import time

_SECONDS = float(os.environ.get("IPYCRON_TEST_SHIFT", "0"))
_FILE = os.environ.get("IPYCRON_TEST_SHIFT_FILE")
_read = time.time  # noqa: TID251 - the clock itself


def _shift():
    if _FILE is None:
        return _SECONDS
    with open(_FILE, encoding="ascii") as file:  # noqa: PTH123 - before all else
        return float(file.read())


time.time = lambda: _read() + _shift()  # noqa: TID251 - the clock itself
