"""The supervisor as a program, started by the client.

Its first zygote is a copy of it, made as soon as what both need is loaded: that is
nine tenths of the zygote, and half of the supervisor. The rest is loaded at once.
Later zygotes are programs of their own: by then the supervisor has a loop, and sockets
of workers.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING

from ipycron.process.nesting import check_not_below_job
from ipycron.process.posix import (
    ZYGOTE_GRACE,
    close_others,
    has_ended,
    keep_from_children,
    reset_signals,
    wake_with_parent_end,
)
from ipycron.process.start import ZygoteProcess

if TYPE_CHECKING:
    from typing import NoReturn


def main(fd: int, leash: int, *predecessors: int) -> NoReturn:
    """Run the supervisor on the client's socket `fd`, holding its `leash`."""
    check_not_below_job()
    reset_signals()
    wake_with_parent_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    close_others([fd, leash, *predecessors])
    keep_from_children([fd, leash, *predecessors])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Four descriptors a worker: 1,024 would end at 250 tasks.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    zygote = None
    with contextlib.suppress(OSError):  # the first fork tries again, and says why not
        zygote = _fork_zygote((soft, hard), leash)

    _import_asyncio()
    import asyncio  # noqa: PLC0415 - see above

    from ipycron.process.supervisor.server import serve  # noqa: PLC0415 - see above

    for predecessor in predecessors:
        has_ended(predecessor, ZYGOTE_GRACE + 1)
        os.close(predecessor)
    # What is here now stays: the collector need not look at it again and again, and
    # does not wait with the rest until that is a quarter of it.
    gc.freeze()
    gc.enable()
    # The jobs keep the client's limits: select() and the like rely on a low one.
    asyncio.run(serve(socket.socket(fileno=fd), (soft, hard), leash, zygote))
    os._exit(0)


def _fork_zygote(file_limits: tuple[int, int], leash: int) -> ZygoteProcess:
    """Do as `start_zygote`, without a fresh interpreter. Raises `OSError`."""
    for name in ("channel", "outcome", "zones"):
        importlib.import_module(f"ipycron.process.wire.{name}")
    ours, theirs = socket.socketpair()
    pid = os.fork()  # noqa: TID251 - no loop yet, no thread, no other descriptor
    if pid == 0:
        # Nothing of the supervisor's stack may ever run in the child.
        try:
            os.setsid()
            _rename(b"supervisor.program", b"worker.zygote")
            ours.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, file_limits)
            from ipycron.process.worker import zygote  # noqa: PLC0415 - not the supervisor's

            zygote.main(theirs.detach(), leash)
        except BaseException:  # noqa: BLE001 - border: process main
            traceback.print_exc()
        finally:
            os._exit(70)  # EX_SOFTWARE: main never returns
    theirs.close()
    return ZygoteProcess(pid, partial(os.waitpid, pid, 0), ours)


def _rename(program: bytes, copy: bytes) -> None:
    """Give a fork another name in `ps` than its parent's (Linux).

    ``/proc/PID/cmdline`` shows the memory where exec has put the arguments.
    """
    with contextlib.suppress(OSError, ValueError):  # no such file, or not all of it
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            # The name, in parentheses, may hold anything.
            fields = file.read().rpartition(b")")[2].split()
        start, end = map(int, fields[45:47])  # `arg_start` and `arg_end`
        words = ctypes.string_at(start, end - start)
        name, new = (b"ipycron.process.%b " % name for name in (program, copy))
        words = words.replace(name, new.ljust(len(name)))
        ctypes.memmove(start, words, len(words))


def _import_asyncio() -> None:
    """Import asyncio as on a Python without TLS, which is not used: saves 10 ms."""
    sys.modules["ssl"] = None  # type: ignore[assignment]
    importlib.import_module("asyncio")
    del sys.modules["ssl"]
