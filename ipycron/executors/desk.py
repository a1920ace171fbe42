"""Where runs are handed in: an executor's front desk."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ipycron.executors.dask import DaskDesk, WorkerLost, find_client
from ipycron.executors.guest import run_guest

if TYPE_CHECKING:
    from ipycron.client.threads import ThreadPool


class Desk(Protocol):
    """Where runs are handed in. Called in threads: it may block."""

    def submit(self, run_id: str, visit: bytes) -> concurrent.futures.Future[bytes]:
        """Have `run_guest` called with `visit`, elsewhere."""

    def close(self) -> None:
        """Let go of what was opened here. The executor is its owner's to close."""


class PoolDesk:
    """Hands runs in to a `concurrent.futures.Executor`."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def submit(self, run_id: str, visit: bytes) -> concurrent.futures.Future[bytes]:  # noqa: ARG002 - Dask wants one
        """Submit the run; see `Desk`."""
        return self._executor.submit(run_guest, visit)

    def close(self) -> None:
        """Do nothing: nothing was opened."""


def make_desk(executor: Any, pool: ThreadPool) -> Desk:
    """Return where runs for this executor are handed in."""
    client = find_client(executor)
    return PoolDesk(executor) if client is None else DaskDesk(*client, pool.submit)


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
