"""Where runs are handed in: an executor's front desk."""

from __future__ import annotations

import concurrent.futures
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.errors import InvalidOption
from ipycron.executors.dask import DaskDesk, WorkerLost, find_client
from ipycron.executors.guest import run_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipycron.client.threads import ThreadPool


class Desk(Protocol):
    """Where runs are handed in. Called in threads: it may block."""

    def submit(self, run_id: str, visit: bytes) -> concurrent.futures.Future[bytes]:
        """Have `run_guest` called with `visit`, elsewhere."""

    def see_broken(self) -> None:
        """Note that the executor has broken: it takes no run any more."""

    def end_run(self) -> bool:
        """End the only run in progress by force; return False if that cannot be."""

    @property
    def advice(self) -> str:
        """What to do about an executor that has broken, as the end of a sentence."""

    def close(self) -> None:
        """Let go of what was opened here. A user's executor is theirs to close."""


_LASTING = (
    " A pool that broke stays broken: pass a function that makes it, such as "
    "executor=lambda: ProcessPoolExecutor(4), and a new one is made."
)


class PoolDesk:
    """Hands runs in to a `concurrent.futures.Executor`."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, run_id: str, visit: bytes) -> concurrent.futures.Future[bytes]:  # noqa: ARG002 - Dask wants one
        """Submit the run; see `Desk`."""
        return self._executor.submit(run_guest, visit)

    advice = _LASTING

    def see_broken(self) -> None:
        """Do nothing: only its owner can make another one."""

    def end_run(self) -> bool:
        """Leave it at that: the executor is its owner's."""
        return False

    def close(self) -> None:
        """Do nothing: nothing was opened."""


class FactoryDesk:
    """Hands runs in to an executor that a function of the user's makes.

    The executor is made at the first start, again after it broke, and shut down with
    the last task that uses it.
    """

    advice = " A new one is made."

    def __init__(self, factory: Callable[[], Any], pool: ThreadPool) -> None:
        self._factory = factory
        self._pool = pool
        self._lock = threading.Lock()
        self._executor: Any = None
        self._desk: Desk | None = None

    def prepare(self) -> Desk:
        """Return where runs are handed in now; makes the executor where there is none.

        Raises:
            InvalidOption: if the function returns something else.
            Exception: what it raises.
        """
        with self._lock:
            if self._desk is None:
                executor = self._factory()
                _check_made(executor)
                self._executor = executor
                self._desk = make_desk(executor, self._pool)
            return self._desk

    def submit(self, run_id: str, visit: bytes) -> concurrent.futures.Future[bytes]:
        """Submit the run; see `Desk`."""
        return self.prepare().submit(run_id, visit)

    def see_broken(self) -> None:
        """Have the next run find a new executor."""
        self.close()

    def end_run(self) -> bool:
        """Kill the processes of loky's pools, and of Python's from 3.14 on."""
        with self._lock:
            executor = self._executor
            kill = _find_kill(executor)
            if kill is None:
                return False
            self._desk = self._executor = None
        kill()
        return True

    def close(self) -> None:
        """Shut the executor down; what has begun there goes on."""
        with self._lock:
            desk, self._desk = self._desk, None
            executor, self._executor = self._executor, None
        if desk is not None:
            desk.close()
        if isinstance(executor, concurrent.futures.Executor):
            executor.shutdown(wait=False)
        elif executor is not None:  # a Dask client
            executor.close()


def _find_kill(executor: Any) -> Callable[[], object] | None:
    """Return what ends an executor and the runs that it has begun, or None."""
    if type(executor).__module__.partition(".")[0] == "loky":
        return partial(executor.shutdown, wait=False, kill_workers=True)
    kill: Callable[[], object] | None = getattr(executor, "kill_workers", None)
    return kill


def make_desk(executor: Any, pool: ThreadPool) -> Desk:
    """Return where runs for this executor are handed in."""
    client = find_client(executor)
    if client is not None:
        return DaskDesk(*client, pool.submit)
    if isinstance(executor, concurrent.futures.Executor):
        return PoolDesk(executor)
    return FactoryDesk(executor, pool)


def _check_made(executor: Any) -> None:
    if isinstance(executor, concurrent.futures.Executor) or find_client(executor):
        return
    raise InvalidOption(
        option="executor",
        value=executor,
        expected="a concurrent.futures.Executor or a distributed.Client from the "
        "function that makes it",
    )


def check_future(value: object) -> None:
    """Raise `TypeError` for what an executor should not have returned."""
    if not isinstance(value, concurrent.futures.Future):
        raise TypeError(
            f"submit() returned a {type(value).__name__}, expected a "
            "concurrent.futures.Future"
        )


def describe_refusal(error: BaseException) -> str:
    """Return what a `submit` that raised means for a run."""
    reason = f"refused the run: {_describe(error)}"
    if not threading.main_thread().is_alive():
        reason += (
            " Python's own pools take no work once the main thread has ended: end "
            "the script with ipycron.wait()."
        )
    return reason


def describe_cancellation(error: BaseException) -> str:
    """Return what a future that others have cancelled means for a run."""
    if not str(error):
        return "cancelled the run."
    return f"cancelled the run: {_describe(error)}"


def describe_loss(error: BaseException) -> str:
    """Return what any other end without a report means for a run."""
    return f"lost the run: {_describe(error)}"


def _describe(error: BaseException) -> str:
    """Return an executor's exception in words."""
    name, text = type(error).__name__, str(error).strip()
    described = f"{name}: {text}" if text else name
    if isinstance(error, WorkerLost):
        described = text
    elif isinstance(error, ModuleNotFoundError) and error.name == "ipycron":
        described += ". Install ipycron where the executor runs its work"
    return described if described.endswith((".", "!", "?")) else f"{described}."
