"""Every exception of ipycron.

Each class is an `IpycronError` and the built-in that a caller would expect.
A constructor takes facts, keeps them as attributes and builds the text, so that
a raise site is one line and a handler never parses a message. All of them pickle:
they cross the process boundary like any other object.

This package is the bottom of the house: it imports nothing of ipycron.
"""

from ipycron.errors.base import (
    IpycronError,
    suggest,
)
from ipycron.errors.ends import (
    CoordinatorError,
    ExecutionStopped,
    ExecutionTimeout,
    ExecutorError,
    ProtocolError,
    RemoteError,
    SupervisorLost,
    WorkerCrashed,
)
from ipycron.errors.lifecycle import (
    NestedSchedule,
    OverlapError,
    StartError,
    StartRefused,
    StartRevoked,
    StartTimeout,
    StopTimeout,
    TaskDestroyed,
    TaskNotStarted,
    WaitTimeout,
)
from ipycron.errors.mistakes import (
    CaptureError,
    CronSyntaxError,
    InvalidOption,
    TaskExists,
    TaskFileNotFound,
    UnknownOption,
    UnknownTask,
    UnknownTimezone,
)

__all__ = [
    "CaptureError",
    "CoordinatorError",
    "CronSyntaxError",
    "ExecutionStopped",
    "ExecutionTimeout",
    "ExecutorError",
    "InvalidOption",
    "IpycronError",
    "NestedSchedule",
    "OverlapError",
    "ProtocolError",
    "RemoteError",
    "StartError",
    "StartRefused",
    "StartRevoked",
    "StartTimeout",
    "StopTimeout",
    "SupervisorLost",
    "TaskDestroyed",
    "TaskExists",
    "TaskFileNotFound",
    "TaskNotStarted",
    "UnknownOption",
    "UnknownTask",
    "UnknownTimezone",
    "WaitTimeout",
    "WorkerCrashed",
    "suggest",
]
