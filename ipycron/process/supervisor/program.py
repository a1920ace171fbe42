"""The supervisor as a program, started by the client.

Its first zygote is forked from it as soon as what both need is loaded: nine tenths of
the zygote and half of the supervisor. Each then loads the rest at the same time. Later
zygotes are separate programs: by then the supervisor has a loop and workers' sockets.
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


def main(fd: int, leash: int, *rest: int) -> NoReturn:
    """Run the supervisor on the client's socket `fd`, holding its `leash`.

    Args:
        fd: the socket.
        leash: a descriptor that it and its zygote hold as long as they live.
        *rest: further leashes, those of predecessors, and how many of the former.
    """
    others, count = rest[:-1], sum(rest[-1:])
    leashes, predecessors = (leash, *others[:count]), others[count:]
    check_not_below_job()
    reset_signals()
    wake_with_parent_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    close_others([fd, leash, *others])
    keep_from_children([fd, leash, *others])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Four descriptors a worker: a limit of 1,024 would be reached at 250 tasks.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    zygote = None
    with contextlib.suppress(OSError):  # the first fork retries and reports it
        zygote = _fork_zygote((soft, hard), leashes)

    _import_asyncio()
    import asyncio  # noqa: PLC0415 - see above

    from ipycron.process.supervisor.server import serve  # noqa: PLC0415 - see above

    for predecessor in predecessors:
        has_ended(predecessor, ZYGOTE_GRACE + 1)
        os.close(predecessor)
    # What exists now stays: the collector need not scan it again and again, nor wait
    # with the rest until that has grown to a quarter of it.
    gc.freeze()
    gc.enable()
    # Jobs keep the client's limits: select() and the like rely on low ones.
    asyncio.run(serve(socket.socket(fileno=fd), (soft, hard), leashes, zygote))
    os._exit(0)


def _fork_zygote(
    file_limits: tuple[int, int], leashes: tuple[int, ...]
) -> ZygoteProcess:
    """Do what `start_zygote` does, without a fresh interpreter. Raises `OSError`."""
    for name in ("channel", "outcome", "zones"):
        importlib.import_module(f"ipycron.process.wire.{name}")
    ours, theirs = socket.socketpair()
    pid = os.fork()  # noqa: TID251 - no loop yet, no thread, no other descriptor
    if pid == 0:
        # No frame of the supervisor's stack may ever resume in the child.
        try:
            os.setsid()
            _rename(b"supervisor.program", b"worker.zygote")
            ours.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, file_limits)
            from ipycron.process.worker import zygote  # noqa: PLC0415 - not the supervisor's

            zygote.main(theirs.detach(), *leashes)
        except BaseException:  # noqa: BLE001 - border: process main
            traceback.print_exc()
        finally:
            os._exit(70)  # EX_SOFTWARE: main never returns
    theirs.close()
    return ZygoteProcess(pid, partial(os.waitpid, pid, 0), ours)


def _rename(program: bytes, copy: bytes) -> None:
    """Give a forked process a name of its own in `ps` (Linux).

    ``/proc/PID/cmdline`` shows the memory where exec stored the arguments.
    """
    with contextlib.suppress(OSError, ValueError):  # no such file, or an incomplete one
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            # The name, in parentheses, may contain anything.
            fields = file.read().rpartition(b")")[2].split()
        start, end = map(int, fields[45:47])  # `arg_start` and `arg_end`
        words = ctypes.string_at(start, end - start)
        name, new = (b"ipycron.process.%b " % name for name in (program, copy))
        words = words.replace(name, new.ljust(len(name)))
        ctypes.memmove(start, words, len(words))


def _import_asyncio() -> None:
    """Import asyncio as if Python had no TLS, which is not used: saves 10 ms."""
    sys.modules["ssl"] = None  # type: ignore[assignment]
    importlib.import_module("asyncio")
    del sys.modules["ssl"]
