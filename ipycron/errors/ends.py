"""How runs end, and what is lost between processes."""

from __future__ import annotations

from ipycron.errors.base import IpycronError


class ExecutionTimeout(IpycronError, TimeoutError):
    """A run took longer than `timeout`, and was ended where that is possible.

    Attributes:
        is_ended: False where its code goes on: an executor cannot end it, or a
            coroutine ignores its cancellation. The task stays busy until it returns.
    """

    name: str
    timeout: float
    is_ended: bool

    def __init__(self, *, name: str, timeout: float, is_ended: bool = True) -> None:
        what = (
            "was ended"
            if is_ended
            else "is no longer waited for. What runs it cannot end it and goes on with "
            "it; the task stays busy until then"
        )
        super().__init__(
            f"task {name!r}: a run took longer than {timeout:g} s and {what}.",
            name=name,
            timeout=timeout,
            is_ended=is_ended,
        )


class ExecutionStopped(IpycronError, RuntimeError):
    """A run was ended because its task was stopped or destroyed."""

    name: str

    def __init__(self, *, name: str) -> None:
        super().__init__(
            f"task {name!r}: the run was ended because the task was stopped.",
            name=name,
        )


class WorkerCrashed(IpycronError, RuntimeError):
    """The worker's process ended in the middle of a run, or while idle.

    Attributes:
        exit_code: the exit status, or None where a signal ended it.
        signal_name: such as ``SIGSEGV``, or None.
        output: the last lines of its stderr.
        reason: why ipycron itself ended it, empty where it did not.
    """

    name: str
    exit_code: int | None
    signal_name: str | None
    output: str
    reason: str

    def __init__(
        self,
        *,
        name: str,
        exit_code: int | None = None,
        signal_name: str | None = None,
        output: str = "",
        reason: str = "",
    ) -> None:
        how = (
            f"was killed by {signal_name}"
            if signal_name is not None
            else f"exited with code {exit_code}"
            if exit_code is not None
            else "went away"
        )
        why = f": {reason}" if reason else ""
        said = f" Its last words:\n{output}" if output else ""
        super().__init__(
            f"task {name!r}: the worker {how}{why}.{said}",
            name=name,
            exit_code=exit_code,
            signal_name=signal_name,
            output=output,
            reason=reason,
        )


class ExecutorError(IpycronError, RuntimeError):
    """An executor did not run the job to its end: it refused it, broke, or lost it.

    Its cause is the executor's own exception, where there is one. What the job
    itself raises is the run's error as it is.
    """

    name: str
    reason: str

    def __init__(self, *, name: str, reason: str) -> None:
        super().__init__(
            f"task {name!r}: the executor {reason}", name=name, reason=reason
        )


class SupervisorLost(IpycronError, RuntimeError):
    """The supervisor's process ended; its runs are lost."""

    reason: str

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the ipycron supervisor is gone: {reason}.", reason=reason)


class RemoteError(IpycronError, RuntimeError):
    """Stands for an exception of a worker that cannot travel.

    Attributes:
        type_name: the exception's class, with its module.
        message: its text.
        traceback_text: the worker's traceback.
        reason: why the exception itself could not be sent or rebuilt.
    """

    type_name: str
    message: str
    traceback_text: str
    reason: str

    def __init__(
        self, *, type_name: str, message: str, traceback_text: str, reason: str
    ) -> None:
        super().__init__(
            f"{type_name}: {message}",
            type_name=type_name,
            message=message,
            traceback_text=traceback_text,
            reason=reason,
        )


class CoordinatorError(IpycronError, RuntimeError):
    """A run coordinator is set up wrongly, failed, or did not answer in time."""

    reason: str

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"run coordinator: {reason}", reason=reason)


class ProtocolError(IpycronError, RuntimeError):
    """Bytes between two processes of ipycron that are not one of its messages."""

    reason: str

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"protocol: {reason}", reason=reason)
