"""What happens to a task: starts, stops, refusals."""

from __future__ import annotations

from ipycron.errors.base import IpycronError


class StartError(IpycronError, RuntimeError):
    """The worker ended while it loaded its job, without an exception to show.

    Where the job's own code raised, that exception itself is the start's error.
    """

    name: str
    reason: str
    output: str

    def __init__(self, *, name: str, reason: str, output: str = "") -> None:
        said = f" Its last words:\n{output}" if output else ""
        super().__init__(
            f"task {name!r} did not start: {reason}.{said}",
            name=name,
            reason=reason,
            output=output,
        )


class StartRefused(StartError):
    """The system refuses a process, a thread, descriptors or memory, for now.

    Nothing is wrong with the job: the same start succeeds when the cause is gone. What
    was started before is tried again by itself.
    """

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(name=name, reason=reason.rstrip("."))


class StartRevoked(StartError):
    """A stop, a destroy or a shutdown came before the end of the start."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, reason="it was stopped while it started")


class StartTimeout(IpycronError, TimeoutError):
    """The job was not loaded within `start_timeout`."""

    name: str
    timeout: float

    def __init__(self, *, name: str, timeout: float) -> None:
        super().__init__(
            f"task {name!r} was not loaded within {timeout:g} s. Run the file by "
            "itself to see what takes so long, or raise start_timeout.",
            name=name,
            timeout=timeout,
        )


class StopTimeout(IpycronError, TimeoutError):
    """A run could not be ended: a thread, or a process that hangs in the system."""

    name: str
    timeout: float

    def __init__(self, *, name: str, timeout: float) -> None:
        super().__init__(
            f"task {name!r}: a run is still busy {timeout:g} s after the stop, and a "
            "thread cannot be killed, nor a process that hangs in the system. Its "
            "result will be ignored. Use background=True for jobs that must be "
            "stopped.",
            name=name,
            timeout=timeout,
        )


class TaskDestroyed(IpycronError, RuntimeError):
    """The task is destroyed; nothing can run it again."""

    name: str

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"task {name!r} is destroyed. Schedule it anew to run it.", name=name
        )


class TaskNotStarted(IpycronError, RuntimeError):
    """`execute()` of a task that is stopped."""

    name: str

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"task {name!r} is stopped. Call start() before execute().", name=name
        )


class NestedSchedule(IpycronError, RuntimeError):
    """A job, or a program that a job has started, called `schedule()`."""

    file: str
    line: int
    mark: str

    def __init__(self, *, file: str, line: int, mark: str) -> None:
        super().__init__(
            f"a job cannot schedule: {file}, line {line}, runs in a process of "
            "ipycron's, or in one that a job has started. Return what is to be "
            "scheduled and schedule it where the result arrives, or use executor= to "
            "run work elsewhere. A program that is to schedule on its own must be "
            f"started without the environment variable {mark}.",
            file=file,
            line=line,
            mark=mark,
        )


class OverlapError(IpycronError, RuntimeError):
    """`execute()` of a `no_overlap` task while a run is in progress."""

    name: str
    execution_id: str

    def __init__(self, *, name: str, execution_id: str) -> None:
        super().__init__(
            f"task {name!r} is busy with run {execution_id} and no_overlap is set. "
            "Wait for that run, or create the task without no_overlap.",
            name=name,
            execution_id=execution_id,
        )


class WaitTimeout(IpycronError, TimeoutError):
    """`execute_timeout` passed; the run itself goes on."""

    name: str
    timeout: float

    def __init__(self, *, name: str, timeout: float) -> None:
        super().__init__(
            f"task {name!r}: no result within {timeout:g} s (execute_timeout). "
            "The run goes on; use the option timeout to end long runs.",
            name=name,
            timeout=timeout,
        )
