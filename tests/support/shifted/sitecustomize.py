"""A clock that goes wrong: for a process and all that it starts.

Python imports this first in every process whose path leads here.
"""

import os
import time

_SECONDS = float(os.environ.get("IPYCRON_TEST_SHIFT", "0"))
_read = time.time  # noqa: TID251 - the clock itself

time.time = lambda: _read() + _SECONDS  # noqa: TID251 - the clock itself
