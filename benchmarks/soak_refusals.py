"""What a soak refuses for a while: descriptors, processes, the disk of Python."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soak_scales import find_children

import ipycron
from ipycron.client.registry import registry

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from shortage import limited_descriptors, make_process_group, no_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator


class Refusals:
    """Has the system refuse things, to this process and to those below it.

    Args:
        folder: where the Python stands that ipycron starts its processes with.
    """

    def __init__(self, folder: Path) -> None:
        self._python = folder / "python"
        self._python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        self._python.chmod(0o755)
        ipycron.set_executable(self._python)
        self._group = _join_group()
        self.kinds = {
            "descriptors here": self.descriptors_here,
            "descriptors below": self.descriptors_below,
            "processes": self.processes,
            "disk": self.disk,
        }

    @contextlib.contextmanager
    def descriptors_here(self) -> Iterator[None]:
        """While this process may open nothing more."""
        with no_descriptors():
            yield

    @contextlib.contextmanager
    def descriptors_below(self) -> Iterator[None]:
        """While supervisor and zygote may open nothing more."""
        with contextlib.ExitStack() as undo:
            for pid in _find_ours():
                with contextlib.suppress(OSError):  # it is gone
                    undo.enter_context(limited_descriptors(pid))
            yield

    @contextlib.contextmanager
    def processes(self) -> Iterator[None]:
        """While no process may be made.

        For root by a group of the kernel's controller of processes, where there is one.
        """
        if self._group is not None:
            limit = self._group / "pids.max"
            limit.write_text("1")
            try:
                yield
            finally:
                limit.write_text("max")
            return
        with contextlib.ExitStack() as undo:
            for pid in _find_ours():
                with contextlib.suppress(OSError):
                    before = resource.prlimit(pid, resource.RLIMIT_NPROC)
                    resource.prlimit(pid, resource.RLIMIT_NPROC, (0, before[1]))
                    undo.callback(_restore, pid, resource.RLIMIT_NPROC, before)
            yield

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """While the disk is away that Python is on."""
        away = self._python.with_name("away")
        self._python.rename(away)
        try:
            yield
        finally:
            away.rename(self._python)

    def close(self) -> None:
        """Leave the group of processes, and remove it."""
        if self._group is not None:
            with contextlib.suppress(OSError):
                (self._group.parent / "cgroup.procs").write_text(str(os.getpid()))
                self._group.rmdir()


def _join_group() -> Path | None:
    """Return a group of processes that this one is in; None where there can be none."""
    group = make_process_group()
    if group is not None:
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            group.rmdir()
            return None
    return group


def _find_ours() -> list[int]:
    """Return the supervisor and what it has started itself: the zygote."""
    supervisor = registry.client.supervisor_pid
    if supervisor is None:
        return []
    with contextlib.suppress(OSError):
        return [supervisor, *find_children(supervisor)]
    return [supervisor]


def _restore(pid: int, what: int, limits: tuple[int, int]) -> None:
    with contextlib.suppress(OSError):  # it is gone
        resource.prlimit(pid, what, limits)
