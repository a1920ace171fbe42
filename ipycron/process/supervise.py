"""The supervisor as a program, started by the client.

Its zygote is started before the supervisor itself is imported: both take about 0.1 s
to load, and a script's first task waits for the slower of them instead of for both.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING

from ipycron.process.program import start_zygote
from ipycron.process.session import ZYGOTE_GRACE, close_others, reset_signals

if TYPE_CHECKING:
    from typing import NoReturn


def main(fd: int, leash: int, *predecessors: int) -> NoReturn:
    """Run the supervisor on the client's socket `fd`, holding its `leash`."""
    reset_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    close_others([fd, leash, *predecessors])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Four descriptors a worker: 1,024 would end at 250 tasks.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    zygote = None
    with contextlib.suppress(OSError):  # the first fork tries again, and says why not
        zygote = start_zygote((soft, hard), leash)

    _import_asyncio()
    import asyncio  # noqa: PLC0415 - see above

    from ipycron.process.supervisor import serve  # noqa: PLC0415 - see above

    for predecessor in predecessors:
        _wait_for_end(predecessor)
    # What is here now stays: the collector need not look at it again and again, and
    # does not wait with the rest until that is a quarter of it.
    gc.freeze()
    gc.enable()
    # The jobs keep the client's limits: select() and the like rely on a low one.
    asyncio.run(serve(socket.socket(fileno=fd), (soft, hard), leash, zygote))
    os._exit(0)


def _import_asyncio() -> None:
    """Import asyncio as on a Python without TLS: nobody here speaks it, for 10 ms."""
    sys.modules["ssl"] = None  # type: ignore[assignment]
    importlib.import_module("asyncio")
    del sys.modules["ssl"]


def _wait_for_end(predecessor: int) -> None:
    """Return when nobody holds the leash of the supervisor before us, or in time."""
    ended = select.poll()
    ended.register(predecessor, select.POLLIN)
    ended.poll((ZYGOTE_GRACE + 1) * 1000)
    os.close(predecessor)
