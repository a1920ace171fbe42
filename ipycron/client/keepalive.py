"""Keeps a script alive while a task is started, and decides when not to.

The interpreter waits for threads that are not daemons before it ends; one such thread
represents all started, ref'd tasks. The interpreter does so however the main module
ended: at its last line, by `sys.exit()` or by an exception. This module then finds out
which, and keeps the process alive only after the last line. It never does so in a
notebook's kernel or at a prompt.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from ipycron.process.refusal import describe

if TYPE_CHECKING:
    from types import FrameType

_log = logging.getLogger("ipycron")


class Holder(Protocol):
    """A task, which may keep the process alive."""

    id: str

    @property
    def is_holding(self) -> bool:
        """Whether it keeps the process alive now."""

    @property
    def lacks_loop(self) -> bool:
        """Whether it needs an event loop that is not running."""


class Keepalive:
    """Keeps the interpreter alive while any task requires it."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may control a task. No thread is started while it
        # is held: the client's loop would wait for the interrupted thread.
        self._lock = threading.RLock()
        self._held: dict[str, Holder] = {}
        self._release: threading.Event | None = None
        self._running: threading.Event | None = None  # ends the thread
        self._is_main_over = self._is_given_up = False
        self._main = MainModule()

    def update(self, task: Holder) -> None:
        """Hold the process for a task, or release it, as the task requires.

        When this returns, the process is held, even if another thread was about to hold
        it: the script may be at its last line.
        """
        with self._lock:
            # Read under the lock: a value read before may be outdated.
            is_held = task.is_holding and not (self._is_main_over and task.lacks_loop)
            if is_held != (task.id in self._held):  # most events change nothing
                if is_held:
                    self._held[task.id] = task
                else:
                    del self._held[task.id]
                self._apply()
            if is_held and self._release is not None:
                # Only the main thread can do this; the loop may have come first.
                _signals.open(self)
            release = self._release if is_held else None
        if release is not None and release is not self._running:
            self._start(release)

    def _apply(self) -> None:
        if self._held and self._release is None:
            if not self._is_given_up and not is_interactive():
                self._hold_process()
        elif not self._held and self._release is not None:
            self._release_process()

    def _hold_process(self) -> None:
        self._release = threading.Event()
        _signals.open(self)
        if not self._is_main_over:
            self._main.remember()

    def _start(self, release: threading.Event) -> None:
        """Start the thread. Two concurrent calls start two, which end together."""
        thread = threading.Thread(
            target=release.wait, name="ipycron-keepalive", daemon=False
        )
        try:
            thread.start()
        except RuntimeError as error:
            _log.warning(
                "a script that ends now takes its tasks with it, nothing keeps it "
                "alive: %s",
                describe(error),
            )
        finally:
            self._running = release  # even if none can be started: logged once

    def _release_process(self) -> None:
        release, self._release = self._release, None
        assert release is not None
        release.set()  # once only: a signal handler may come here in the middle of it
        self._main.forget()
        _signals.close(self)

    def handle_main_end(self) -> None:
        """Decide whether the process is held now that the main thread has ended.

        Called on the main thread, before the interpreter waits for other threads.
        """
        with self._lock:
            self._is_main_over = True
            if not self._held:
                return
            if self._main.was_cut_short() or _signals.have_ended_main():
                self.give_up()
            else:
                # No event loop of the main thread will run again.
                for task in list(self._held.values()):
                    self.update(task)
                if os.getpid() == 1 and (
                    signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
                ):
                    # For the first process of a container, the kernel ignores signals
                    # without a handler. For good: a run that starts or ends before the
                    # interpreter has ended would hold the process again.
                    signal.signal(signal.SIGTERM, lambda *_: self.give_up())

    @property
    def is_end_requested(self) -> bool:
        """Whether SIGINT or SIGTERM was received while a task was held."""
        with self._lock:
            return _signals.has_seen_end()

    def give_up(self) -> None:
        """Hold the process no longer, whatever is started from now on."""
        with self._lock:
            self._is_given_up = True
            self.close()

    def close(self) -> None:
        """Release the process."""
        with self._lock:
            self._held.clear()
            self._apply()
            _signals.close(self)

    def close_in_child(self) -> None:
        """Hold nothing in a process that this one forked."""
        self._lock = threading.RLock()
        self._is_given_up = True
        _signals.close_in_child(self)


def _get_main_frame() -> FrameType | None:
    """Return the innermost frame of the main thread."""
    # CPython 3.11 holds a lock there that a starting thread acquires with the GIL. A
    # finalizer that the garbage collector calls in the meantime releases the GIL: a
    # deadlock (python/cpython#106883).
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - the documented function
    finally:
        if is_collecting:
            gc.enable()


class MainModule:
    """The main module's frame, which shows how it ended.

    A frame that has ended keeps the position of its last instruction: the return at
    the end of the module, or the one that raised `SystemExit` or another exception.
    """

    def __init__(self) -> None:
        self._frame: FrameType | None = None

    def remember(self) -> None:
        """Take the frame from the main thread's stack. May be called in any thread."""
        names = getattr(sys.modules.get("__main__"), "__dict__", None)
        found = frame = _get_main_frame()
        while frame is not None:
            found = frame
            # Not always the outermost: a profiler or a debugger may run it.
            if frame.f_code.co_name == "<module>" and frame.f_globals is names:
                break
            frame = frame.f_back
        self._frame = found

    def forget(self) -> None:
        """Forget the frame."""
        self._frame = None

    def was_cut_short(self) -> bool:
        """Return whether the module ended other than by its last line."""
        if self._frame is None:
            return False
        import dis  # noqa: PLC0415 - once, at the end

        code, position = self._frame.f_code.co_code, self._frame.f_lasti
        return not dis.opname[code[position]].startswith("RETURN_")


class SignalWatch:
    """Detects the signals that ask a process to end, whatever handles them.

    Servers handle SIGINT and SIGTERM themselves, or catch `KeyboardInterrupt`, and
    return: the main module then ends at its last line. The interpreter writes each
    signal that Python handles to its wakeup descriptor, which is unused unless an event
    loop handles signals. Such a loop sets its own, before or after this one, and
    removes it when it ends: that is detected as well.

    A process has one such descriptor, so there is one watch for all its clients. Only
    the main thread can restore it: a client that is shut down in another thread
    leaves that to the next one. Any thread may read the pipe, and none reads a
    descriptor that the main thread is closing: by then it may be another file's.
    """

    _ENDING: frozenset[int] = frozenset({signal.SIGINT, signal.SIGTERM})

    def __init__(self) -> None:
        # Reentrant for signal handlers; held while the pipe is read or closed.
        self._lock = threading.RLock()
        self._pipe: tuple[int, int] | None = None
        self._is_taken = False
        self._seen: set[int] = set()
        self._users: set[object] = set()

    def open(self, user: object) -> None:
        """Start watching for a user. Only the main thread can install the watch."""
        if not self._users:
            # Signals left from an earlier watch do not concern this one.
            self._restore()
            self._read()
            self._seen.clear()
        if self._pipe is None and _is_main_thread():
            self._take()
        if self._pipe is not None:
            self._users.add(user)

    def _take(self) -> None:
        pipe = os.pipe()
        for end in pipe:
            os.set_blocking(end, False)
        try:
            before = signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)
        except ValueError:  # a subinterpreter
            _close(pipe)
            return
        self._is_taken = before != -1
        if self._is_taken:
            signal.set_wakeup_fd(before)
            _close(pipe)
        else:
            self._pipe = pipe

    def have_ended_main(self) -> bool:
        """Return whether a signal, or its handler, has ended the program.

        To be called in the main thread.
        """
        if self._pipe is None:
            return self._is_taken
        if self.has_seen_end():
            return True
        current = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(current)
        return current != self._pipe[1]

    def has_seen_end(self) -> bool:
        """Return whether a signal has asked the process to end. In any thread."""
        self._read()
        return not self._ENDING.isdisjoint(self._seen)

    def _read(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._pipe is not None:
                self._seen.update(os.read(self._pipe[0], 65536))  # all that it holds

    def close(self, user: object) -> None:
        """Stop watching for a user; the watch ends in the main thread only."""
        self._users.discard(user)
        if not self._users:
            self._restore()

    def close_in_child(self, user: object) -> None:
        """Stop watching for a user in a process that this one forked."""
        self._lock = threading.RLock()  # another thread may have held it
        self.close(user)

    def _restore(self) -> None:
        if not _is_main_thread():
            return
        with self._lock:
            # Forgotten first: a signal handler may come here before it is closed.
            pipe, self._pipe = self._pipe, None
            if pipe is None:
                return
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, pipe[1]):
                signal.set_wakeup_fd(current)
            _close(pipe)
            self._seen.clear()


_signals = SignalWatch()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _close(pipe: tuple[int, int]) -> None:
    for end in pipe:
        os.close(end)


def is_interactive() -> bool:
    """Return whether this is a notebook, an IPython or a plain Python prompt."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return True
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)
