"""Whether this process belongs to a job, and so must not schedule anything.

A worker imports the user's modules to find its job. A module that schedules when it is
imported would schedule again there, start a supervisor and workers of its own, and
these would import it again. So whoever runs user code for ipycron is marked: workers
and zygotes for good, the processes of an executor while a run is in progress. The mark
is an environment variable: children of a job inherit it.
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
"""The environment variable. A program that a job starts, and that is to schedule on its
own, is started without it."""

Role = Literal["supervisor", "worker", "guest"]

_PACKAGE = __name__.partition(".")[0]
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int


class _State:
    """What this process does for ipycron.

    Attributes:
        loads: how many jobs are being loaded.
        visits: how many runs of other processes are in progress here.
        reported: the places that were logged already.
    """

    def __init__(self) -> None:
        # Taken again by a signal's handler that schedules.
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
    """Mark this process, and those that it will start, for good."""
    os.environ[MARK] = role


def make_environment(role: Role) -> Mapping[str, str]:
    """Return the environment of a child process; an existing mark stays."""
    return {MARK: role, **os.environ}


def check_not_inside() -> None:
    """Raise `NestedSchedule` if this process works for a job."""
    if is_inside():
        raise _make_error(find_caller())


def is_inside() -> bool:
    """Return whether this process runs jobs, or was started by one that does."""
    return MARK in os.environ


def check_not_below_job() -> None:
    """Raise `NestedSchedule` if a job has started this supervisor."""
    if os.environ.get(MARK) in {"worker", "guest"}:
        raise _make_error(find_caller())


class LoadingJob:
    """While a job is loaded: what its modules schedule is not meant for here.

    A class, as `RoomToRecurse` is: a worker that enters no generator of `contextlib`
    saves 50 kB, and by the slots 30 kB more.
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
    """While a run is a guest here.

    Args:
        is_away: whether another process has sent it. Where it comes from this very
            process, that may schedule as before.
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
    """Return whether user code is only imported here, and does not run as a job.

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
    """Return which line of the user's called, or None if it was asked for before."""
    place = find_caller()
    return place if _state.is_first(place) else None


def find_caller() -> Place:
    """Return the nearest line on the stack that is not ipycron's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - `inspect.stack` reads files
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return Place("<unknown>", 0)


def _make_error(place: Place) -> NestedSchedule:
    return NestedSchedule(file=place.file, line=place.line, mark=MARK)


def _is_preparing_child() -> bool:
    """Return whether multiprocessing imports the main module of a new child.

    Source: `multiprocessing.spawn` refuses to start processes by the same attribute.
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
