"""Every message between two processes of ipycron, edge by edge.

A message is a small typed header (msgspec, arrays on the wire) and an opaque
payload beside it (`payload.py`). The supervisor reads headers only; payloads hold
users' objects and are decoded in the client and in the worker alone.

====================  =========================================================
edge                  messages
====================  =========================================================
client → supervisor   Register Reschedule Control Pausing Execute Shutdown Preload
                      Elected KeepHistory KeepBegun FlushHistory ReportMissed
                      SetPool AskPlace ReturnPlace
supervisor → client   Hello Reply Refused Noticed Continued Streamed Displayed Logged
                      Elect Completed DirectOpened ClockSetBack HistoryBehind
                      PlaceGranted
supervisor → zygote   Fork Preload
zygote → supervisor   Forked ForkFailed Exited Preloaded
supervisor → worker   Load StandBy Run DirectOpened Quit
worker → supervisor   Loaded Ended Declined Displayed Logged
client → worker       Call
worker → client       Answered Declined HandedOver
====================  =========================================================

Instants are Unix seconds, durations seconds. A zone is an IANA name, the seconds
of a fixed offset from UTC, or a name and the content of its zone file. Paths and
environment variables are bytes, as `os.fsencode` returns them: they need not be UTF-8,
and a header's text must be.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ipycron.process.wire.triggers import PlainTrigger  # noqa: TC001 - as below
from ipycron.process.wire.zones import Zone  # noqa: TC001 - as below
from ipycron.runlog.rows import TaskRow  # noqa: TC001 - msgspec reads the annotations
from ipycron.runlog.settings import HistorySettings  # noqa: TC001 - as above
from ipycron.scheduling.events import (  # noqa: TC001 - msgspec reads the annotations
    Event,
    Manner,
    Pause,
    Reason,
    RunDetails,
    ScheduledExecution,
    SkipReason,
    Status,
)
from ipycron.scheduling.plan import Outage  # noqa: TC001 - as above
from ipycron.scheduling.policy import NO_CATCH_UP, CatchUp, Policy
from ipycron.scheduling.retry import Judgement  # noqa: TC001 - as above


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages; the class name is the tag on the wire."""


class FileJob(Message, frozen=True):
    """A Python file. Its `task` is called, or the file itself is the script."""

    path: bytes
    args: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        """Show only the number of arguments: they may hold passwords."""
        return f"<FileJob {self.path!r}, {len(self.args)} args>"


class FunctionJob(Message, frozen=True):
    """A callable; the payload beside it holds it, by cloudpickle.

    Attributes:
        label: its name for display.
    """

    label: str = ""


class CellJob(Message, frozen=True):
    """A notebook cell; the payload beside it holds its captured variables.

    Attributes:
        source: the cell's text as typed.
        filename: what tracebacks call it.
        extensions: IPython extensions that the cell's magics need.
        left_behind: variables of the notebook that were not captured.
    """

    source: str
    filename: str
    extensions: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()


Job = FileJob | FunctionJob | CellJob


class Setting(Message, frozen=True):
    """The surroundings of a job in its worker.

    Attributes:
        cwd: working directory.
        env: environment variables to set, or to remove (None).
        path: `sys.path` of the client.
        log_level: the client's root logging level; records below it are not sent.
        max_result_bytes: the largest result that is sent.
        worker_init: the function to call before the job is loaded, packed; empty if
            none.
        retry_on: the failures that are repeated, packed; empty if all are. See `Retry`.
    """

    cwd: bytes
    env: dict[bytes, bytes | None]
    path: tuple[bytes, ...]
    log_level: int
    max_result_bytes: int
    worker_init: bytes = b""
    retry_on: bytes = b""

    def __repr__(self) -> str:
        """Show only the names of the variables: their values may be secret."""
        return f"<Setting in {self.cwd!r}, env of {', '.join(map(repr, self.env))}>"


LauncherName = Literal["fork", "spawn"]
StreamName = Literal["stdout", "stderr"]


# --- client → supervisor ----------------------------------------------------------


class Register(Message, frozen=True):
    """Make a task known, stopped; the payload is its job's.

    Attributes:
        pattern: the text of the trigger, for the job.
        life: what the history says of it; None if it is not recorded.
    """

    task_id: str
    name: str
    pattern: str
    zone: Zone
    trigger: PlainTrigger
    policy: Policy
    job: Job
    setting: Setting
    launcher: LauncherName
    pause: Pause | None = None
    life: TaskRow | None = None


class Control(Message, frozen=True):
    """Start, stop or destroy a task; answered by `Reply`.

    Attributes:
        replaces: the id of a started task that stops once the one to start is loaded.
    """

    request_id: int
    task_id: str
    action: Literal["start", "stop", "destroy"]
    force: bool = False
    outage: Outage | None = None
    replaces: str | None = None


class Pausing(Message, frozen=True):
    """Pause a task, or resume it if `pause` is None; answered by `Reply`."""

    request_id: int
    task_id: str
    pause: Pause | None
    catch_up: CatchUp = NO_CATCH_UP


class Reschedule(Message, frozen=True):
    """Change the schedule of a registered task; see `Register`."""

    task_id: str
    trigger: PlainTrigger


class Execute(Message, frozen=True):
    """Run a task now; answered by the `Noticed` of its end, or by `Refused`.

    If the client has already called the worker for this run, the supervisor makes sure
    that the run is reported, or that it takes place. A run that has ended by then has
    been answered, unless the answer was lost. With a `slot` it is a run of a backfill.
    """

    task_id: str
    execution_id: str
    call: Literal["", "sent", "lost"] = ""
    slot: int | None = None


class Shutdown(Message, frozen=True):
    """Stop everything, then answer, then exit."""

    request_id: int
    timeout: float


class Preload(Message, frozen=True):
    """Import modules in the zygote; with `shell`, build the shell for cells."""

    modules: tuple[str, ...]
    shell: bool = False


class KeepHistory(Message, frozen=True):
    """Write the history there from now on."""

    settings: HistorySettings


class KeepBegun(Message, frozen=True):
    """Note in this file which slots begin, before they do; see `runlog.begun`."""

    path: bytes


class ReportMissed(Message, frozen=True):
    """Report the slots from `since` to the task's first start as missed."""

    task_id: str
    since: float


class SetPool(Message, frozen=True):
    """Let at most `limit` runs of a pool be in progress at once; None: any number."""

    name: str | None
    limit: int | None


class AskPlace(Message, frozen=True):
    """Grant a place in a pool to a run of the client's; see `PlaceGranted`.

    Attributes:
        number: the client's, for the answer and for `ReturnPlace`.
        pool: its name.
        priority: among those who wait.
        is_begun: whether the run is in progress already: the place is held.
    """

    number: int
    pool: str | None
    priority: int
    is_begun: bool


class ReturnPlace(Message, frozen=True):
    """A place is free again, or not needed any more."""

    number: int


class FlushHistory(Message, frozen=True):
    """Write the rows so far, then answer: the client is about to read them."""

    request_id: int


class Elected(Message, frozen=True):
    """The answer to `Elect`; `error` is set if the coordinator failed.

    `holder` names the instance that has the claim, if known.
    """

    request_id: int
    is_elected: bool
    error: str | None = None
    holder: str | None = None


# --- supervisor → client ----------------------------------------------------------


class Ping(Message, frozen=True):
    """Check that the peer is alive; it answers with `Pong`."""


class Pong(Message, frozen=True):
    """The answer to `Ping`."""


class Hello(Message, frozen=True):
    """The supervisor is up."""

    pid: int


class ClockSetBack(Message, frozen=True):
    """The clock was set back so far that all slots have been computed again.

    Attributes:
        seconds: by how much.
        since: the slots after this instant are to come, Unix seconds.
    """

    seconds: float
    since: float


class HistoryBehind(Message, frozen=True):
    """The supervisor's rows that are not in the history's file, and should be.

    Attributes:
        waiting: how many will be written when that is possible again.
        lost: how many will not, of all so far.
    """

    waiting: int
    lost: int


class Reply(Message, frozen=True):
    """A request is done; if not ok, the payload is the error."""

    request_id: int
    is_ok: bool


class PlaceGranted(Message, frozen=True):
    """A place that the client has asked for is held."""

    number: int


class Refused(Message, frozen=True):
    """An `Execute` was refused; the payload is the error."""

    task_id: str
    execution_id: str


class Noticed(Message, frozen=True):
    """A `Notice` of the scheduler; the payload is its outcome's value."""

    event: Event
    task_id: str
    status: Status
    date: float
    triggered_at: float
    execution: ScheduledExecution | None
    is_ok: bool | None
    summary: str
    reason: SkipReason | None
    missed_count: int | None
    missed_since: float | None
    manner: Manner
    runs_left: int | None
    pause: Pause | None = None
    next_attempt_at: float | None = None
    is_skipped: bool = False
    run_id: str | None = None
    remark: str = ""


class Continued(Message, frozen=True):
    """An attempt that was queued has begun; see `AttemptBegan`."""

    task_id: str
    status: Status
    execution: ScheduledExecution


class Streamed(Message, frozen=True):
    """Bytes that a worker wrote (the payload), after `dropped` omitted bytes.

    Attributes:
        dropped_lines: line ends among the omitted bytes.
    """

    task_id: str
    execution_id: str
    stream: StreamName
    dropped: int
    dropped_lines: int = 0


class Elect(Message, frozen=True):
    """Ask the client's coordinator whether this instance runs `key`."""

    request_id: int
    task_id: str
    key: str
    lease: float


class Completed(Message, frozen=True):
    """The run of `key` has ended; its coordinator can be notified."""

    task_id: str
    key: str


# --- both of the worker's edges, forwarded ----------------------------------------


class Displayed(Message, frozen=True):
    """A rich display; the payload holds its mimebundle (JSON-like, by pickle)."""

    task_id: str
    execution_id: str


class Logged(Message, frozen=True):
    """A `logging` record made by the job; the payload holds its attributes."""

    task_id: str
    execution_id: str


# --- from the client to a worker, and back ------------------------------------------


class DirectOpened(Message, frozen=True):
    """A direct connection; its socket comes with this, to the worker with the token.

    Attributes:
        task_id: the worker's task.
        name: the connection's name, which is the prefix of its runs' ids.
        pid: the worker's process.
    """

    task_id: str
    name: str
    pid: int


class Call(Message, frozen=True):
    """Run the job now, if no other process holds the token."""

    number: int


class Answered(Message, frozen=True):
    """The run of a call has returned; the supervisor has not been notified.

    Attributes:
        number: the call's.
        summary: the result in one line.
        started_at: when it began, by the worker's clock.
        finished_at: when it returned.
        value: the bytes of the result's payload.
    """

    number: int
    summary: str
    started_at: float
    finished_at: float
    value: bytes


class HandedOver(Message, frozen=True):
    """The supervisor reports the end of a call's run."""

    number: int


# --- supervisor ↔ zygote ----------------------------------------------------------


class Fork(Message, frozen=True):
    """Fork a worker. Descriptors: control socket, stdout, stderr, lifeline, permit.

    The zone is the task's: the zygote loads it for all workers that need it.
    """

    worker_id: int
    zone: Zone


class Forked(Message, frozen=True):
    """The worker runs as `pid`."""

    worker_id: int
    pid: int


class ForkFailed(Message, frozen=True):
    """The worker was not forked: the system refused a process."""

    worker_id: int
    reason: str


class Exited(Message, frozen=True):
    """The worker's process is gone and reaped; `status` as `os.waitpid` gives it."""

    worker_id: int
    status: int


class Preloaded(Message, frozen=True):
    """A `Preload` is done; `error` names what could not be imported."""

    error: str | None = None


# --- supervisor ↔ worker ----------------------------------------------------------


class Load(Message, frozen=True):
    """Load this job; the payload belongs to it."""

    task_id: str
    name: str
    pattern: str
    zone: Zone
    job: Job
    setting: Setting


class Run(Message, frozen=True):
    """Run the loaded job once."""

    execution_id: str
    reason: Reason
    date: float
    started_at: float
    attempt: int = 1


class StandBy(Message, frozen=True):
    """Begin a run at its slot without a further message, if the permit is there then.

    If another message comes first, the permit has already been taken back.

    Attributes:
        execution_id: the run's.
        date: the slot.
        latest: after this moment, or if the clock was set back, the run is `Declined`.
        number: how many workers were ordered to stand by before this one.
        crowd: how many stand by.
        rest: seconds after the slot that are reserved for beginning runs; work that
            follows a run waits until then.
    """

    execution_id: str
    date: float
    latest: float
    number: int = 0
    crowd: int = 1
    rest: float = 0.0


class Quit(Message, frozen=True):
    """Exit with code 0."""


class Loaded(Message, frozen=True):
    """Loading the job has ended; if not ok, the payload is the error.

    Attributes:
        is_ok: whether the job is loaded.
        summary: the error in one line.
        is_single_use: whether the worker exits after its first run.
    """

    is_ok: bool
    summary: str = ""
    is_single_use: bool = False


class Ended(Message, frozen=True):
    """The run ended; the payload is its result or its error.

    Attributes:
        started_at: when it began, if the worker began it by itself.
        finished_at: when the job returned, before its result was encoded.
        details: what else there is to say about it, for the history.
        judgement: what the job's error means for the run, if it raised one.
    """

    execution_id: str
    is_ok: bool
    summary: str
    started_at: float | None = None
    finished_at: float | None = None
    details: RunDetails | None = None
    judgement: Judgement | None = None


class Declined(Message, frozen=True):
    """A run that could not begin: too late for its slot, or left to the supervisor."""

    execution_id: str


FromClient = (
    Register
    | Reschedule
    | Control
    | Pausing
    | Execute
    | Shutdown
    | Preload
    | Elected
    | KeepHistory
    | KeepBegun
    | SetPool
    | AskPlace
    | ReturnPlace
    | FlushHistory
    | ReportMissed
    | Ping
)
FromSupervisor = (
    Hello
    | Reply
    | Refused
    | Noticed
    | Continued
    | Streamed
    | Displayed
    | Logged
    | Elect
    | Completed
    | DirectOpened
    | ClockSetBack
    | HistoryBehind
    | PlaceGranted
    | Pong
)
ToZygote = Fork | Preload | Ping
FromZygote = Forked | ForkFailed | Exited | Preloaded | Pong
ToWorker = Load | StandBy | Run | DirectOpened | Quit
FromWorker = Loaded | Ended | Declined | Displayed | Logged
DirectReply = Answered | Declined | HandedOver

_encoder = msgspec.msgpack.Encoder()


def encode_message(message: Message) -> bytes:
    """Return the bytes of one header."""
    return _encoder.encode(message)


# Building one costs a worker 0.6 MB: the zygote has them all. Keyed by identity, for
# hashing a union is slow.
_decoders: dict[int, tuple[msgspec.msgpack.Decoder[Any], Any]] = {}


def make_decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return a decoder of one edge's union; it rejects all other messages."""
    if id(kind) not in _decoders:
        _decoders[id(kind)] = msgspec.msgpack.Decoder(kind), kind
    return _decoders[id(kind)][0]
