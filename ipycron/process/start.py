"""Starting ipycron's own programs: supervisor, zygote and worker."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from ipycron.process.interpreter import find_executable, find_paths, make_options
from ipycron.process.nesting import make_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_ROOT = os.path.abspath(f"{__file__}/../../..")  # noqa: PTH100 - pathlib takes 3 ms
# Not `-m`: that would put the working directory first on `sys.path`, where a user's
# `queue.py` would break it. `_ROOT` comes last: an installed ipycron is found in its
# usual place. Importing leaves no garbage, but would trigger the collector forty times:
# each `main` enables it again.
_BOOT = (
    "{limit}import gc, sys; gc.disable(); sys.path += sys.argv[1].split({sep!r}); "
    "from ipycron.process.{name} import main; main(*map(int, sys.argv[2:]))"
)


# Set by the program itself, first of all: macOS cannot set another process's limits.
_LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, {limits}); "


def start_program(
    name: str,
    fds: Sequence[int],
    *more: int,
    stderr: int | None = None,
    file_limits: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Run ``ipycron.process.<name>.main(*fds, *more)`` in its own session.

    Args:
        name: the program's module.
        fds: descriptors that it inherits; the caller closes its own copies.
        more: further integers for its `main`.
        stderr: the descriptor for its stderr; this process's own by default.
        file_limits: soft and hard RLIMIT_NOFILE; this process's own by default.
    """
    limit = "" if file_limits is None else _LIMIT.format(limits=file_limits)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [
            find_executable(),
            *make_options(),
            "-c",
            _BOOT.format(name=name, limit=limit, sep=os.pathsep),
            find_paths(_ROOT),
            *(str(number) for number in (*fds, *more)),
        ],
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        env=make_environment("supervisor"),
        stderr=stderr,
        start_new_session=True,
    )


class ZygoteProcess(NamedTuple):
    """A zygote as its parent sees it.

    Attributes:
        pid: its process id.
        wait: waits until it has ended, and reaps it.
        sock: our end of its socket.
    """

    pid: int
    wait: Callable[[], object]
    sock: socket.socket


def start_zygote(
    file_limits: tuple[int, int] | None, leashes: Sequence[int] = ()
) -> ZygoteProcess:
    """Start a zygote that holds the leashes. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as undo:
        undo.enter_context(ours)
        with theirs:
            fds = [theirs.fileno(), *leashes]
            process = start_program("worker.zygote", fds, file_limits=file_limits)
        undo.pop_all()
    return ZygoteProcess(process.pid, process.wait, ours)
