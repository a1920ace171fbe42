"""The zygote: a warm, single-threaded process that forks workers on demand.

A program, started by the supervisor; the first zygote is forked from the supervisor's
own program. It starts without IPython, asyncio or any thread; what should be warm is
imported on the supervisor's request. It is the parent of every forked worker: it reaps
them and reports their end. What user modules do to it (threads, crashes) affects the
zygote, never the schedule.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import time
import weakref
from typing import TYPE_CHECKING

from ipycron.errors import ProtocolError
from ipycron.process.nesting import LoadingJob, mark_process
from ipycron.process.posix import (
    ORPHAN_GRACE,
    close_others,
    keep_from_children,
    kill_group,
    open_stdio,
    redirect_stdio,
    reset_signals,
    wake_with_parent_end,
)
from ipycron.process.refusal import describe, describe_shortage
from ipycron.process.wire.channel import BlockingChannel, Frame
from ipycron.process.wire.protocol import (
    Exited,
    Fork,
    Forked,
    ForkFailed,
    Ping,
    Pong,
    Preload,
    Preloaded,
    ToZygote,
)
from ipycron.process.wire.zones import Zone, make_zone
from ipycron.process.worker import program as worker
from ipycron.process.worker.heap import fill_gaps
from ipycron.process.worker.rehearsal import rehearse

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import NoReturn

_MAX_TEXT = 2000
QUIET = 0.1
"""Seconds without a command after which it may rehearse."""


class Zygote:
    """Serves one supervisor until its end of the socket closes."""

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self._workers: dict[int, int] = {}  # pid → worker id
        # Not `selectors`: each page that the zygote writes to between two forks is one
        # more in each worker, and its code was spread over many.
        self._watch = select.poll()
        self._wakeup, wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup, False)
        self._wakeup_end = wakeup
        self._is_rehearsed = False
        self._zones: dict[Zone, tzinfo] = {}

    def serve(self) -> None:
        """Handle commands and children until the supervisor is gone."""
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._watch.register(self._channel, select.POLLIN)
        self._watch.register(self._wakeup, select.POLLIN)
        while True:
            ready = dict(self._watch.poll(None if self._is_rehearsed else QUIET * 1000))
            if not ready:
                self._rehearse()
            if self._wakeup in ready:
                self._reap()
            if self._channel.fileno() in ready and not self._receive():
                break
        self._end_workers()

    def _receive(self) -> bool:
        """Handle what has arrived; return False if nothing more will."""
        try:
            frames = self._channel.receive_ready()
            for frame in frames or ():
                self._handle(frame)
        except (OSError, ProtocolError):
            return False
        return frames is not None

    def _handle(self, frame: Frame) -> None:
        if isinstance(frame.message, Fork):
            if self._workers:
                self._rehearse()  # after the first worker: a caller waits for it
            if frame.message.zone not in self._zones:
                self._warm_zone(frame.message.zone)
            if frame.is_short:
                refusal = ForkFailed(frame.message.worker_id, describe_shortage())
                self._channel.send(refusal)
            else:
                self._fork(frame.message.worker_id, frame.fds)
        elif isinstance(frame.message, Ping):
            self._channel.send(Pong())
        elif isinstance(frame.message, Preload):
            error = _preload(frame.message)
            _settle()
            self._channel.send(Preloaded(error))

    def _warm_zone(self, zone: Zone) -> None:
        """Load a zone that workers will need, and keep it; once."""
        with contextlib.suppress(Exception):  # it may be gone from the disk
            self._zones[zone] = make_zone(zone)

    def _rehearse(self) -> None:
        """Warm up what workers do, once."""
        if not self._is_rehearsed:
            self._is_rehearsed = True
            with contextlib.suppress(Exception):  # workers then only take more memory
                rehearse()
            _settle()

    def _fork(self, worker_id: int, fds: tuple[int, ...]) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()  # noqa: TID251 - the one place that forks workers
        except OSError as error:  # no memory or too many processes at present
            _close_all(fds)
            self._channel.send(ForkFailed(worker_id, describe(error)))
            return
        if pid == 0:
            # No frame of the zygote's stack may ever resume in the child.
            try:
                signal.set_wakeup_fd(-1)
                control, stdout, stderr, lifeline, permit = fds
                worker.main(control, stdout, stderr, lifeline, permit, zygote)
            finally:
                os._exit(70)  # EX_SOFTWARE: main never returns
        _close_all(fds)
        self._workers[pid] = worker_id
        self._channel.send(Forked(worker_id, pid))

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for pid in list(self._workers):
            # Look before reaping: while the zombie exists, its process group id cannot
            # be reused.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            kill_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._send_exited(self._workers.pop(pid), status)

    def _send_exited(self, worker_id: int, status: int) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(Exited(worker_id, status))

    def _end_workers(self) -> None:
        """End all workers, as the supervisor is gone: SIGTERM, a wait, SIGKILL."""
        for pid in self._workers:
            kill_group(pid, signal.SIGTERM)
        self._watch.unregister(self._channel)
        deadline = time.monotonic() + ORPHAN_GRACE
        while self._workers and (left := deadline - time.monotonic()) > 0:
            self._watch.poll(left * 1000)
            self._reap()
        for pid in self._workers:
            kill_group(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)


def _preload(message: Preload) -> str | None:
    """Import what workers will need; return what failed, as one line."""
    failed = []
    for name in message.modules:
        try:
            with LoadingJob():
                importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - user modules fail in any way
            failed.append(f"{name}: {type(error).__name__}: {error}")
    if message.shell:
        from ipycron.process.shell.cell import prepare_shell  # noqa: PLC0415 - 180 ms

        prepare_shell()
    return "; ".join(failed)[:_MAX_TEXT] or None


def _settle() -> None:
    """Keep workers from running the zygote's finalizers and writing to its pages."""
    for info in weakref.finalize._registry.values():  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        info.atexit = False
    gc.collect()
    fill_gaps()
    gc.freeze()


def main(fd: int, *held: int) -> NoReturn:
    """Run the zygote on the supervisor's socket `fd`; keep `held` open meanwhile."""
    mark_process("worker")
    reset_signals()
    wake_with_parent_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    close_others([fd, *held])
    keep_from_children([fd, *held])
    null = os.open(os.devnull, os.O_WRONLY)
    redirect_stdio(null, os.dup(null))
    open_stdio()  # the workers inherit the files and put their pipes below
    gc.freeze()  # so that the first fork need not wait until all this is collected
    gc.enable()
    sock = socket.socket(fileno=fd)
    Zygote(BlockingChannel(sock, ToZygote, takes_fds=True)).serve()
    os._exit(0)
