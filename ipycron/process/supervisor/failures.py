"""How workers fail: while they load, and by their ends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ipycron.errors import WorkerCrashed
from ipycron.process.posix import get_signal_name

if TYPE_CHECKING:
    from ipycron.process.wire.payload import Payload


class LoadFailed(Exception):
    """The job's own error while it loaded, still encoded (`outcome.decode_error`)."""

    def __init__(self, payload: Payload, summary: str) -> None:
        super().__init__(summary)
        self.payload = payload
        self.summary = summary


class ZygoteLost(Exception):
    """The zygote is gone, and with it a worker that had not loaded its job."""


def describe_crash(
    name: str, status: int, *, output: str, reason: str
) -> WorkerCrashed:
    """Return the error that a worker's end is to its run.

    Args:
        name: its task's.
        status: as `os.waitpid` gives it.
        output: the last lines of its stderr.
        reason: why we ended it, empty where we did not.
    """
    code = os.waitstatus_to_exitcode(status)
    return WorkerCrashed(
        name=name,
        exit_code=code if code >= 0 else None,
        signal_name=None if code >= 0 else get_signal_name(-code),
        output=output,
        reason=reason,
    )
