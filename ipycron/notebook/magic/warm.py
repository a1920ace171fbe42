"""What the first `%%cron` needs, made ready in advance."""

from __future__ import annotations

from ipycron.client.registry import registry
from ipycron.cron import CronExpression
from ipycron.notebook.display.words import get_now
from ipycron.notebook.magic import dispatch  # noqa: F401 - imports what the magics need
from ipycron.process.nesting import is_inside
from ipycron.process.wire.protocol import Preload

SHELL = Preload(("ipycron.process.wire.pickler",), shell=True)  # noqa: S604 - IPython's
"""What the zygote of a notebook has in store: the shell that runs cells."""


def warm() -> None:
    """Start the supervisor, and have the zygote build its shell. Waits for neither.

    The first schedule reads the system's zone, looks for its changes in the years to
    come, and loads the words: 18 ms.
    """
    if is_inside():  # where jobs run, nothing is scheduled
        return
    registry.client.warm(SHELL)
    yearly = CronExpression("0 0 1 1 *")
    yearly.describe()
    yearly.upcoming(3, get_now())
