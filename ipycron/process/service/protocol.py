"""Every message between the service and its clients.

They travel as between all processes of ipycron (`process.wire`), and where one says the
same as there, it is the same message. Both ends send a `Greeting` first. Then the
service sends every task that it keeps as `Known`, and `AllKnown`; from then on whatever
happens to any of them goes to every client.

====================  =========================================================
edge                  messages
====================  =========================================================
client → service      Greeting Declare Control Pausing Execute Rescheduling
                      SetPool FlushHistory AskStatus Drain Shutdown Ping
service → client      Greeting Known AllKnown Reply Refused Noticed Continued Streamed
                      Displayed Logged StatusReport Going Pong
====================  =========================================================

A request has an id, unique on its connection, and is answered by one `Reply` or
`StatusReport`; an `Execute` as in `process.wire.protocol`. The ids of manual runs are
their client's, and unique among all clients.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import Any

import msgspec

from ipycron.errors import ServiceError
from ipycron.process.wire.protocol import (
    Continued,
    Control,
    Displayed,
    Execute,
    FlushHistory,
    Logged,
    Message,
    Noticed,
    Pausing,
    Ping,
    Pong,
    Refused,
    Register,
    Reply,
    SetPool,
    Shutdown,
    Streamed,
)
from ipycron.process.wire.triggers import PlainTrigger  # noqa: TC001 - as below
from ipycron.scheduling.events import (
    Manner,
    Pause,
    ScheduledExecution,
    Status,
)

_NUMBER = re.compile(r"\d+")

PROTOCOL = 1
"""Counts up with each change of a message that an older end would misunderstand."""


class Greeting(Message, frozen=True):
    """The first message both ways; every version of ipycron can read its first fields.

    Attributes:
        protocol: `PROTOCOL` of the sender.
        version: of ipycron.
        python: of the interpreter: code travels only within one minor version.
        pid: the sender's process.
        started_at: when it was started, Unix seconds; 0 for a client.
        prefix: the Python environment, `sys.prefix`.
    """

    protocol: int
    version: str
    python: str
    pid: int
    started_at: float
    prefix: bytes = b""


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """A kept task, whole: all that its service must know, besides its job's payload.

    Stored as it is, by field names: a field that is added needs a default.

    Attributes:
        register: as a supervisor gets it, with a full environment.
        day_or, suppress_missed_warning, execute_timeout, history: the options that a
            supervisor does not need.
        is_started: whether its schedule is to be armed.
        label: the job's name for people.
        origin: the notebook or script that declared it; None if unknown.
        declared_at: when, Unix seconds.
        cell: the front end's id of the notebook cell; None elsewhere.
        version: of ipycron that declared it.
        python: of Python that declared it.
        extra: further options, by name.
    """

    register: Register
    day_or: bool = True
    suppress_missed_warning: bool = False
    execute_timeout: float | None = None
    history: bool = True
    is_started: bool = True
    label: str = ""
    origin: str | None = None
    declared_at: float = 0.0
    cell: str | None = None
    version: str = ""
    python: str = ""
    extra: dict[str, Any] = {}


class PastState(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has ended, in short; see `Outcome` for its attributes."""

    execution: ScheduledExecution
    is_ok: bool
    manner: Manner = "plain"
    summary: str = ""
    remark: str = ""


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened to a task so far.

    Attributes:
        status: its status.
        pause: its pause, None if it is not paused.
        runs_left: see `Notice`.
        running: the runs in progress, oldest first. What they have written so far
            follows as `Streamed` and `Displayed`.
        queued: the runs that wait.
        passed: the latest instant at which its scheduler read the clock.
        last_end: when the last slot was done with.
        start_error: why it could not be started, in one line; "" if it could. Such a
            task is stopped.
        runs: those that have ended, oldest first, at most 20; those before the start of
            the service as the history has them.
        counts: all runs and slots that the service knows of, by what became of them;
            see `COUNTED` of `ipycron.client.executions`.
    """

    status: Status = Status.STOPPED
    pause: Pause | None = None
    runs_left: int | None = None
    running: tuple[ScheduledExecution, ...] = ()
    queued: tuple[ScheduledExecution, ...] = ()
    passed: float | None = None
    last_end: float | None = None
    start_error: str = ""
    runs: tuple[PastState, ...] = ()
    counts: dict[str, int] = {}


# --- client → service ---------------------------------------------------------------


class Declare(Message, frozen=True):
    """Keep a task from now on, in place of one with its name; the payload is its job's.

    Answered when it is loaded, or with the error; then the other one goes on.
    """

    request_id: int
    declaration: Declaration


class Rescheduling(Message, frozen=True):
    """Change a task's schedule, for good; `pattern` is its text."""

    request_id: int
    task_id: str
    trigger: PlainTrigger
    pattern: str


class AskStatus(Message, frozen=True):
    """Answered by `StatusReport`."""

    request_id: int


class Drain(Message, frozen=True):
    """Hand over to a service that is about to be started, then exit.

    No run is begun any more; those in progress get `timeout` seconds. Answered when it
    is about to exit. The next service catches up on the slots in between.
    """

    request_id: int
    timeout: float


# --- service → client ---------------------------------------------------------------


class Known(Message, frozen=True):
    """A task that the service keeps, new or changed; without environment and payload.

    Attributes:
        declaration: the task.
        state: its state; what happens after it comes as `Noticed`.
        is_initial: whether it comes because the client has just attached.
    """

    declaration: Declaration
    state: TaskState
    is_initial: bool = False


class AllKnown(Message, frozen=True):
    """Every task that the service keeps has been sent."""


class Going(Message, frozen=True):
    """The service is about to end; `is_restart`: another one takes its place."""

    reason: str
    is_restart: bool = False


class FailedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A kept task that could not be loaded or started."""

    name: str
    reason: str


class StatusReport(Message, frozen=True):
    """The answer to `AskStatus`.

    Attributes:
        greeting: the service's.
        supervisor: the process id of its supervisor; None without one.
        tasks: how many tasks it keeps.
        running: how many runs are in progress.
        clients: how many clients are attached.
        dropped: bytes of output that were not sent to clients that read too slowly.
        disconnected: how many clients were disconnected for that reason.
        failed: the tasks that are not scheduled, and why.
        history_waiting: rows of the history that wait for the file.
        history_lost: rows of the history that could not be written.
        store_error: why the store cannot be written; "" if it can.
    """

    request_id: int
    greeting: Greeting
    supervisor: int | None
    tasks: int
    running: int
    clients: int
    dropped: int = 0
    disconnected: int = 0
    failed: tuple[FailedTask, ...] = ()
    history_waiting: int = 0
    history_lost: int = 0
    store_error: str = ""


FromKeeper = (
    Greeting
    | Declare
    | Control
    | Pausing
    | Execute
    | Rescheduling
    | SetPool
    | FlushHistory
    | AskStatus
    | Drain
    | Shutdown
    | Ping
)
"""What a client may send."""
FromService = (
    Greeting
    | Known
    | AllKnown
    | Reply
    | Refused
    | Noticed
    | Continued
    | Streamed
    | Displayed
    | Logged
    | StatusReport
    | Going
    | Pong
)
"""What the service may send."""


def make_greeting(version: str, started_at: float = 0.0) -> Greeting:
    """Return this process's greeting; `version` is ipycron's."""
    return Greeting(
        protocol=PROTOCOL,
        version=version,
        python=platform.python_version(),
        pid=os.getpid(),
        started_at=started_at,
        prefix=os.fsencode(sys.prefix),
    )


def check_greeting(client: Greeting, service: Greeting) -> None:
    """Check that a client and the service understand each other.

    Raises:
        ServiceError: if they are of different versions: says which side is older, and
            what to do.
    """
    if client.protocol == service.protocol and client.version == service.version:
        same_code = client.python.split(".")[:2] == service.python.split(".")[:2]
        if same_code:
            return
    client_is, service_is = _describe(client), _describe(service)
    keys = _make_key(client), _make_key(service)
    if keys[0] > keys[1]:
        advice = (
            f"the service is older: it runs {service_is}, this process {client_is}. "
            "`ipycron service restart` replaces it; no slot is lost by that"
        )
    else:
        advice = (
            f"this process is older: it runs {client_is}, the service {service_is}. "
            "Restart the kernel or the program"
        )
    raise ServiceError(reason=advice)


def _describe(greeting: Greeting) -> str:
    return f"ipycron {greeting.version} on Python {greeting.python}"


def _make_key(greeting: Greeting) -> tuple[int, list[int], list[int]]:
    versions = greeting.version, greeting.python
    ours, python = ([int(n) for n in _NUMBER.findall(text)[:3]] for text in versions)
    return greeting.protocol, ours, python
