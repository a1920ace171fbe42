"""Whether this process belongs to a job, and so must not schedule anything.

A worker imports the user's modules to find its job. A module that schedules on import
would schedule again there, start its own supervisor and workers, and these would import
it yet again. So every process that runs user code for ipycron is marked: workers and
zygotes permanently, the processes of an executor while a run is in progress. The mark
is an environment variable, which the children of a job inherit.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from ipycron.errors import NestedSchedule
from ipycron.process.unix import call_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

MARK = "IPYCRON_INSIDE"
"""The environment variable. To let a program started by a job schedule its own tasks,
start it without this variable."""

Role = Literal["supervisor", "worker", "guest"]

_PACKAGE = __name__.partition(".")[0]
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int


class _State:
    """What this process is doing for ipycron.

    Attributes:
        loads: how many jobs are being loaded.
        visits: how many runs sent by other processes are in progress here.
        reported: the places that have already been logged.
    """

    def __init__(self) -> None:
        # Re-entrant: a signal handler may schedule while it is held.
        self.lock = threading.RLock()
        self.loads = 0
        self.visits = 0
        self.reported: set[Place] = set()
        call_in_child(self.lock._at_fork_reinit)  # type: ignore[attr-defined] # noqa: SLF001

    def is_first(self, place: Place) -> bool:
        with self.lock:
            is_first = place not in self.reported
            self.reported.add(place)
        return is_first


_state = _State()


def mark_process(role: Role) -> None:
    """Mark this process and its future children permanently."""
    os.environ[MARK] = role


def make_environment(role: Role) -> Mapping[str, str]:
    """Return the environment for a child process; an existing mark is kept."""
    return {MARK: role, **os.environ}


def check_not_inside() -> None:
    """Raise `NestedSchedule` if this process runs a job or was started by one."""
    if is_inside():
        raise _make_error(find_caller())


def is_inside() -> bool:
    """Return whether this process runs jobs, or was started by one that does."""
    return MARK in os.environ


def check_not_below_job() -> None:
    """Raise `NestedSchedule` if this supervisor was started by a job."""
    if os.environ.get(MARK) in {"worker", "guest"}:
        raise _make_error(find_caller())


class LoadingJob:
    """Context manager for loading a job: tasks that its modules schedule stay inert.

    A class, like `RoomToRecurse`: a worker that never enters a `contextlib` generator
    saves 50 kB, and `__slots__` saves another 30 kB.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        with _state.lock:
            _state.loads += 1

    def __exit__(self, *_: object) -> None:
        with _state.lock:
            _state.loads -= 1


@contextmanager
def visiting(*, is_away: bool) -> Iterator[None]:
    """Mark this process during a run on an executor.

    Args:
        is_away: whether another process sent the run. If it was sent by this very
            process, scheduling stays allowed.
    """
    if not is_away:
        yield
        return
    with _state.lock:
        _state.visits += 1
        if MARK not in os.environ:
            os.environ[MARK] = "guest"
    try:
        yield
    finally:
        with _state.lock:
            _state.visits -= 1
            if _state.visits == 0 and os.environ.get(MARK) == "guest":
                del os.environ[MARK]


def is_importing() -> bool:
    """Return whether user code is merely being imported here, not run as a job.

    Raises:
        NestedSchedule: if it runs as a job, or was started by one.
    """
    if _is_preparing_child():
        return True
    if not is_inside():
        return False
    if _state.loads or _is_import_on_stack():
        return True
    raise _make_error(find_caller())


def find_new_caller() -> Place | None:
    """Return the calling line of user code; None if it was returned before."""
    place = find_caller()
    return place if _state.is_first(place) else None


def find_caller() -> Place:
    """Return the innermost line on the stack that is not ipycron's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - `inspect.stack` reads files
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return Place("<unknown>", 0)


def _make_error(place: Place) -> NestedSchedule:
    return NestedSchedule(file=place.file, line=place.line, mark=MARK)


def _is_preparing_child() -> bool:
    """Return whether multiprocessing is importing the main module of a new child.

    Source: `multiprocessing.spawn` checks the same attribute.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and getattr(
        process.current_process(), "_inheriting", False
    )


def _is_import_on_stack() -> bool:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - as above
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
