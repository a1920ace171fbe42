"""A Dask cluster as an executor: each run at most once, losses reported at once.

Dask computes a task again when its worker is lost, since its tasks are meant to be
pure. A scheduled job is not: it may have sent half of its mails. So a run sets a flag
on Dask's scheduler before its job begins, and a second computation finds it and gives
up. The client learns of a lost worker from Dask's events, and fails the run without
waiting for a second computation, which may have no worker to begin on. The attempts of
a task with `retry` are ipycron's own, each of them a Dask task.

Nothing here imports Dask before a user has passed a client of it.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of Dask's methods have no annotations.

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import math
import threading
import time
import uuid
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.executors.guest import WorkerLost, run_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = concurrent.futures.Future[bytes]
    Defer = Callable[[Callable[[], None]], None]

FLAG_SECONDS = 30.0
"""Minimum seconds that a run's flag is kept after its end. Messages between client and
scheduler take milliseconds, unless one of them hangs."""

LAST_FLAG_SECONDS = 2.0
"""The same for flags that are set when the last task ends, perhaps because its run was
just lost."""

CHECK_SECONDS = 0.5
"""Seconds until a check for a worker that may have been lost before the client
subscribed to its events: by then the scheduler has received the subscription."""

LOOP_SECONDS = 0.5
"""Seconds between checks, while waiting for the client's loop, that the loop exists."""

_CLOSED = "the client is closed"

_AGAIN = b""
"""What a second computation returns: a report is never empty."""


@dataclass(slots=True, eq=False)
class _Run:
    """A run on the cluster.

    Attributes:
        answer: resolves with the run's report, for the submitter.
        remote: Dask's own future.
        worker: the address of the worker that has begun the run.
    """

    answer: Answer
    remote: Any = None
    worker: str | None = None


class DaskSubmitter:
    """Submits runs to a Dask client, plain or asynchronous; see `Submitter`.

    Methods are called in ipycron's threads, event handlers on Dask's loop.

    Args:
        client: the user's client, which the user closes.
        options: options of its `submit`, such as ``workers`` or ``resources``.
        defer: calls a function in a thread, where it may block.
    """

    def __init__(self, client: Any, options: dict[str, Any], defer: Defer) -> None:
        self._client = client
        self._options = options
        self._defer = defer
        self._topic = f"ipycron-{uuid.uuid4().hex}"
        self._watched: set[str] = set()
        self._runs: dict[str, _Run] = {}
        self._numbers = itertools.count(1)
        self._flags: collections.deque[tuple[float, str]] = collections.deque()

    def submit(self, run_id: str, packed: bytes) -> Answer:
        """Submit the run; see `Submitter`."""
        # Dask still knows the attempt before, and would take the next one for it.
        key = f"ipycron-{run_id}-{next(self._numbers)}"
        run = _Run(concurrent.futures.Future())
        if not self._runs:
            # Each time, since the scheduler may have been replaced after the last run.
            self._watched.clear()
            self._client.subscribe_topic(self._topic, self._handle_start)
        self._runs[key] = run
        try:
            run.remote = self._client.submit(
                run_on_dask, packed, key, self._topic, key=key, **self._options
            )
        except BaseException:
            del self._runs[key]
            raise
        run.answer.add_done_callback(lambda _: self._end(key, run))
        run.remote.add_done_callback(lambda _: self._defer(partial(self._fetch, run)))
        return run.answer

    advice = ""

    def handle_broken(self) -> None:
        """Do nothing: a cluster recovers by itself."""

    def end_run(self) -> bool:
        """Return False: Dask cannot end what has begun on a worker."""
        return False

    def close(self) -> None:
        """Unsubscribe from the cluster, and leave nothing on it. May take a while."""
        if self._flags:
            threading.Event().wait(LAST_FLAG_SECONDS)
        self._lower_flags(math.inf)
        for topic in (self._topic, *self._watched):
            self._unsubscribe(topic)

    def _fetch(self, run: _Run) -> None:
        """Fetch the report."""
        try:
            report = self._call(run.remote.result)
        except BaseException as error:  # noqa: BLE001 - border: Dask
            _fail(run, error)
            return
        if report == _AGAIN:
            _fail(run, WorkerLost(None))
            return
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            run.answer.set_result(report)

    def _end(self, key: str, run: _Run) -> None:
        """Clean up after a run, however it ended."""
        self._runs.pop(key, None)
        now = time.monotonic()
        self._flags.append((now, key))
        self._defer(partial(self._release, run))
        self._defer(partial(self._lower_flags, now - FLAG_SECONDS))

    def _release(self, run: _Run) -> None:
        """Have Dask forget the run: Dask would compute again what it still holds."""
        with contextlib.suppress(Exception):  # the client may be closed
            self._call(run.remote.cancel)

    def _check(self, address: str) -> None:
        """Fail the runs of a worker that no longer exists."""
        count = partial(self._client.scheduler.ncores, workers=[address])
        with contextlib.suppress(Exception):  # the client may be closed
            if not self._call(count):
                for run in self._find_runs(address):
                    _fail(run, WorkerLost(address))

    def _lower_flags(self, ended_by: float) -> None:
        """Clear the flags of runs that Dask has long forgotten."""
        from distributed import Event  # noqa: PLC0415 - see above

        while self._flags and self._flags[0][0] <= ended_by:
            _, key = self._flags.popleft()
            with contextlib.suppress(Exception):  # a cluster that is gone has no flags
                self._call(Event(key, client=self._client).clear)

    def _call(self, method: Callable[[], Any]) -> Any:
        """Call a method of Dask's on the client's loop; see `call_on_loop`."""
        return call_on_loop(self._client.loop.asyncio_loop, method)

    # --- on Dask's loop -------------------------------------------------------------

    def _handle_start(self, event: tuple[float, Any]) -> None:
        """Watch the worker that a run has begun on."""
        _, message = event
        run, address = self._runs.get(message["key"]), message["worker"]
        if run is None:
            return
        if run.worker is None and not run.answer.done():
            # From now on the run cannot be cancelled: it continues until it returns.
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                run.answer.set_running_or_notify_cancel()
        run.worker = address
        if address not in self._watched:
            self._watched.add(address)
            self._client.subscribe_topic(address, partial(self._handle_worker, address))
            loop = asyncio.get_running_loop()
            loop.call_later(CHECK_SECONDS, self._look_for, address)

    def _handle_worker(self, address: str, event: tuple[float, Any]) -> None:
        """Fail the runs that a worker had begun when the scheduler removed it.

        Those that only waited for it are Dask's to give to another.
        """
        _, message = event
        if message.get("action") != "remove-worker":
            return
        self._watched.discard(address)
        self._unsubscribe(address)
        for key in message.get("processing-tasks", ()):
            run = self._runs.get(key)
            if run is not None and run.worker == address:
                _fail(run, WorkerLost(address))

    def _look_for(self, address: str) -> None:
        """Check soon whether a worker exists, if it still has a run."""
        if self._find_runs(address):
            self._defer(partial(self._check, address))

    def _find_runs(self, address: str) -> list[_Run]:
        return [run for run in tuple(self._runs.values()) if run.worker == address]

    def _unsubscribe(self, topic: str) -> None:
        with contextlib.suppress(Exception):  # the client may be closed
            self._client.unsubscribe_topic(topic)


def call_on_loop(loop: asyncio.AbstractEventLoop, method: Callable[[], Any]) -> Any:
    """Call a method on a loop that runs in another thread, and wait for its result.

    Dask's own `sync` waits for ever when the loop ends between the request and the
    call, as it does when the user closes the client at that moment.

    Args:
        loop: the loop of a client, plain or asynchronous.
        method: returns an awaitable, as Dask's methods do on their own loop.

    Raises:
        CancelledError: if the loop has ended.
        Exception: what the method raises.
    """

    async def call() -> Any:
        return await method()

    pending = call()
    try:
        result = asyncio.run_coroutine_threadsafe(pending, loop)
    except RuntimeError:
        pending.close()
        raise CancelledError(_CLOSED) from None
    while not concurrent.futures.wait([result], timeout=LOOP_SECONDS).done:
        if not loop.is_running():
            pending.close()
            raise CancelledError(_CLOSED)
    return result.result()


def _fail(run: _Run, error: BaseException) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        run.answer.set_exception(error)


def run_on_dask(packed: bytes, key: str, topic: str) -> bytes:
    """Run a guest in a Dask worker, unless another worker has begun the run."""
    from distributed import Event, get_client, get_worker  # noqa: PLC0415 - see above

    flag = Event(key, client=get_client())
    if flag.is_set():
        return _AGAIN
    flag.set()
    # Not with the worker's own `log_event`, which sends it later: the job may kill its
    # worker before.
    get_client().log_event(topic, {"key": key, "worker": get_worker().address})
    return run_guest(packed)
