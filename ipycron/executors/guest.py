"""A job as a guest: one run in a process that ipycron does not own.

The remote side of ``executor=``: a pool's process, a Dask worker, an MPI rank. There is
no supervisor and nothing is kept: a run carries its job along, loads it with the same
code as in a worker, and returns everything: result or error, output, log.

The process is shared, often by threads. What a job needs exclusively (`__main__`,
`sys.argv`, IPython's shell) it borrows, one run at a time.
"""

from __future__ import annotations

import importlib.util
import linecache
import logging
import os
import pickle
import platform
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ipycron.executors.guest_output import Piece, Record, record_output
from ipycron.executors.guest_program import end_program, keep_surroundings
from ipycron.process.nesting import LoadingJob, visiting
from ipycron.process.wire.outcome import (
    MAX_ERROR_BYTES,
    encode_failure,
    encode_result,
)
from ipycron.process.wire.payload import Payload, pack_data
from ipycron.process.wire.protocol import CellJob, FileJob, FunctionJob
from ipycron.process.worker.context import make_run_context
from ipycron.process.worker.job import (
    CellFailed,
    binds_task,
    load_file,
    load_job,
    make_judge,
)
from ipycron.scheduling.clock import measure_wait, read_wall_clock
from ipycron.scheduling.events import BY_SCHEDULE
from ipycron.scheduling.retry import NO_JUDGEMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipycron.process.wire.displays import DisplayData
    from ipycron.process.wire.protocol import Load, Run
    from ipycron.process.worker.job import LoadedJob
    from ipycron.scheduling.retry import Judgement

Place = tuple[str, int]
"""Identifies a process: its machine and its id."""

LONGEST_WAIT = 5.0
"""Seconds that a run waits for this machine's clock to reach its slot."""

Software = tuple[str, str]
"""The versions of ipycron and of Python."""


def find_place() -> Place:
    """Return where this code runs."""
    return platform.node(), os.getpid()


def find_software() -> Software:
    """Return the versions that run this code."""
    package = sys.modules[__name__.partition(".")[0]]
    return package.__version__, "{}.{}".format(*sys.version_info)


class WorkerLost(Exception):
    """The Dask worker that had the run is gone."""

    def __init__(self, address: str | None) -> None:
        which = "worker" if address is None else f"worker {address}"
        super().__init__(
            f"the Dask {which} that had it is gone. It is not run again, for it may "
            "have done a part of its work."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRun:
    """One run on its way to another process.

    Attributes:
        load: the job, its task and its setting. Of the setting only `log_level` and
            `max_result_bytes` can hold in a process that is shared.
        run: which run it is.
        payload: the job's payload: a function, a cell's variables.
        source: the text of a task file, None for other jobs.
        home: the process that sends the run.
        software: the versions in that process.
        latest: the latest time at which it may begin, Unix seconds; None for no limit.
    """

    load: Load
    run: Run
    payload: bytes
    source: bytes | None
    home: Place
    software: Software
    latest: float | None = None


class Report(NamedTuple):
    """The outcome of a guest's run, in built-in values.

    If the run came too late for the job to begin, `lateness` is by how many seconds.
    """

    is_ok: bool
    payload: bytes
    summary: str
    pieces: list[Piece]
    logs: list[dict[str, Any]]
    lateness: float | None = None
    judgement: Judgement | None = None


def pack_remote_run(remote_run: RemoteRun) -> bytes:
    """Return the argument of `run_guest`."""
    return pickle.dumps(remote_run, protocol=5)


def unpack_report(packed: bytes) -> Report:
    """Return the report that `run_guest` has packed."""
    return Report(*pickle.loads(packed))  # noqa: S301 - our own code's


def run_guest(packed: bytes, *, is_due: bool = False) -> bytes:
    """Run a job here and return a packed `Report`. Raises no error of the job.

    Executors call this: a module-level function from bytes to bytes, which every
    executor can transport.

    Args:
        packed: the `RemoteRun`.
        is_due: whether the run is due, neither early nor late, whatever the clocks of
            this machine show.
    """
    remote_run: RemoteRun = pickle.loads(packed)  # noqa: S301 - our own client's
    if not is_due and remote_run.latest is not None:
        lateness = read_wall_clock() - remote_run.latest
        if lateness > 0:  # it waited in the executor's queue (C2)
            return pickle.dumps((False, b"", "", [], [], lateness), protocol=5)
    is_away = remote_run.home != find_place()
    level = remote_run.load.setting.log_level if is_away else None
    with visiting(is_away=is_away), record_output(level) as record:
        if not is_due:
            _wait_for_slot(remote_run.run)
        is_ok, payload, summary, judgement = _run(remote_run, record)
    output = record.get_pieces(), record.get_logs()
    report = is_ok, bytes(payload.open()), summary, *output, None, judgement
    return pickle.dumps(report, protocol=5)


def _wait_for_slot(run: Run) -> None:
    """Wait until this machine's clocks show the run's slot, as the client's do."""
    if run.reason not in BY_SCHEDULE:
        return
    deadline = time.monotonic() + LONGEST_WAIT
    while wait := measure_wait(run.date):
        if time.monotonic() + wait > deadline:
            logging.getLogger("ipycron").warning(
                "the clock of %s is %.1f s behind the one that schedules: the job sees "
                "a time before its slot. Synchronize both with NTP.",
                platform.node(),
                wait,
            )
            return
        time.sleep(wait)  # noqa: TID251 - there is no other way to wait for a clock


def _run(
    remote_run: RemoteRun, record: Record
) -> tuple[bool, Payload, str, Judgement | None]:
    limit = remote_run.load.setting.max_result_bytes
    error_limit = min(limit, MAX_ERROR_BYTES)
    # Released last: errors are described while their source can be quoted.
    with ExitStack() as borrowed:
        judge: Callable[[BaseException], Judgement] = _judge_nothing
        try:
            with LoadingJob():
                job = _load(remote_run, record, borrowed)
                judge = make_judge(
                    remote_run.load.setting.retry_on, is_program=job.is_single_use
                )
            result = job.run(partial(make_run_context, remote_run.load, remote_run.run))
            return True, *encode_result(result, limit), None
        except BaseException as error:  # noqa: BLE001 - border: job
            judgement, text, raised = judge(error), None, error
            if isinstance(error, CellFailed):
                raised, text = error.error, error.traceback_text
            payload, summary, _ = encode_failure(raised, judgement, error_limit, text)
            return False, payload, summary, judgement


def _judge_nothing(_: BaseException) -> Judgement:
    return NO_JUDGEMENT


def _load(remote_run: RemoteRun, record: Record, borrowed: ExitStack) -> LoadedJob:
    _check_software(remote_run)
    job, payload = remote_run.load.job, Payload(remote_run.payload)
    if isinstance(job, FileJob):
        return _load_file(remote_run, job, borrowed)
    if isinstance(job, CellJob):
        _check_away(remote_run)
        borrowed.enter_context(_borrow_main())
        borrowed.enter_context(keep_surroundings())
        borrowed.enter_context(_borrow_shell())
    loaded = load_job(job, payload, lambda display: _show(record, display))
    borrowed.callback(_close, loaded)
    return loaded


def _load_file(remote_run: RemoteRun, job: FileJob, borrowed: ExitStack) -> LoadedJob:
    source = remote_run.source
    assert source is not None
    path = os.fsdecode(job.path)
    borrowed.enter_context(_quote_source(path, source))
    if binds_task(source, path) and not job.args:
        with _borrow_main():
            loaded = load_file(job, source)
    else:
        # A script is `__main__`, and code may read `sys.argv` at any later time.
        _check_away(remote_run)
        borrowed.enter_context(_borrow_main())
        loaded = load_file(job, source)
        _name_once(sys.path)
        borrowed.enter_context(keep_surroundings())
        if loaded.is_single_use:
            borrowed.callback(_close, loaded)
            borrowed.enter_context(end_program(os.path.dirname(path)))  # noqa: PTH120 - a string, as `sys.path` has it
            return loaded
    borrowed.callback(_close, loaded)
    return loaded


def _check_software(remote_run: RemoteRun) -> None:
    (ours, python), (theirs, their_python) = find_software(), remote_run.software
    if ours != theirs:
        raise RuntimeError(
            f"ipycron {ours} runs here, and ipycron {theirs} has sent the job. "
            "Install the same version on both sides."
        )
    job = remote_run.load.job
    if python != their_python and isinstance(job, FunctionJob | CellJob):
        # Running its bytecode could do anything, up to crashing the process.
        raise RuntimeError(
            f"Python {python} runs here, and Python {their_python} has sent a "
            "function. Use the same version on both sides, or schedule a file."
        )


def _check_away(remote_run: RemoteRun) -> None:
    if remote_run.home == find_place():
        raise RuntimeError(
            "a script or a cell is __main__ while it runs, so it cannot run in the "
            "process that schedules it. Use an executor of other processes."
        )


def _show(record: Record, display: DisplayData) -> None:
    record.show(bytes(pack_data(display).open()))


def _close(job: LoadedJob) -> None:
    try:
        job.close()
    except Exception:
        # The job's own loop: what it left there must not lose its result.
        logging.getLogger("ipycron").exception("a job did not close")


# --- what a process has only one of ---------------------------------------------------

_main_lock = threading.RLock()


@contextmanager
def _borrow_main() -> Iterator[None]:
    """Let a job be `__main__` and set `sys.argv`; others wait."""
    with _main_lock:
        main, argv = sys.modules["__main__"], sys.argv
        try:
            yield
        finally:
            sys.modules["__main__"], sys.argv = main, argv
            # A file's folder stays on the path: its functions may import when they run.
            _name_once(sys.path)


def _name_once(folders: list[str]) -> None:
    folders[:] = dict.fromkeys(folders)


@contextmanager
def _borrow_shell() -> Iterator[None]:
    """Let a cell use this process's shell, emptied first."""
    from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415 - cells

    from ipycron.process.shell.ipython import (  # noqa: PLC0415 - imports IPython
        CellInteractiveShell,
        get_shell,
    )

    if InteractiveShell.initialized() and not isinstance(
        InteractiveShell.instance(), CellInteractiveShell
    ):
        raise RuntimeError(
            "this process has an IPython shell of its own, copied by a fork. Use an "
            "executor whose processes start afresh (spawn, loky, Dask)."
        )
    shell = get_shell()
    shell.is_guest = True
    before = dict(shell.user_ns)
    sys.modules["__main__"] = shell.user_module
    try:
        yield
    finally:
        shell.user_ns.clear()
        shell.user_ns.update(before)


@contextmanager
def _quote_source(path: str, source: bytes) -> Iterator[None]:
    """Let tracebacks quote a file that may not be on this machine."""
    lines = importlib.util.decode_source(source).splitlines(keepends=True)
    # Without a modification time it is never checked against a file of this name.
    linecache.cache[path] = len(source), None, lines, path
    try:
        yield
    finally:
        linecache.cache.pop(path, None)
