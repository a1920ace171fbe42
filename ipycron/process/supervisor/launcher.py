"""Launchers: how the supervisor obtains worker processes.

`ForkLauncher` asks the zygote, `SpawnLauncher` starts a fresh interpreter. The worker's
code, descriptors and rules are the same for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import threading
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ipycron.errors import ProtocolError, StartError, StartRefused, WorkerCrashed
from ipycron.process.direct.supervisor_end import DirectLeases
from ipycron.process.heartbeat import Heartbeat
from ipycron.process.posix import ZYGOTE_GRACE, kill_group
from ipycron.process.refusal import describe
from ipycron.process.start import start_program, start_zygote
from ipycron.process.supervisor.pumps import Flood
from ipycron.process.supervisor.worker_process import (
    KILL_GRACE,
    WorkerProcess,
    ZygoteLost,
)
from ipycron.process.wire.channel import Channel, Frame
from ipycron.process.wire.frames import SMALL_HEADER_BYTES
from ipycron.process.wire.protocol import (
    Exited,
    Fork,
    Forked,
    ForkFailed,
    FromZygote,
    Load,
    Ping,
    Preload,
    Preloaded,
    Register,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from ipycron.process.start import ZygoteProcess
    from ipycron.process.wire.channel import Uplink
    from ipycron.process.wire.payload import Payload
    from ipycron.scheduling.ports import Worker

TRIES = 2
"""Launches of a worker whose zygote is lost before the job is loaded. Only one retry:
the job itself may be what ends the zygote."""
_NO_ZYGOTE = (
    "the zygote, which forks workers, ended before it had forked one. Check that "
    "Python's own files can be read and that there is enough memory"
)
_UNFORKED = (
    "It has no process yet: the zygote, which forks workers, does not answer. If "
    "it is importing a preload, it will answer later; if it is suspended, it is "
    "replaced within seconds. Start the task again."
)
PRELOAD_TRIES = 2
"""Zygotes that a preload may kill before it is given up."""


class Starter(Protocol):
    """One way to start a worker's process."""

    def start(self, worker: WorkerProcess) -> None:
        """Start the process; sets its pid, and later calls its `handle_exit`."""


class ZygoteHandle:
    """The supervisor's end of the zygote: started when needed, replaced when lost."""

    def __init__(
        self,
        warn: Callable[[str], None],
        file_limits: tuple[int, int] | None,
        leashes: Sequence[int],
        first: ZygoteProcess | None = None,
    ) -> None:
        self._first = first
        self._warn = warn
        self._file_limits = file_limits
        self._leashes = leashes
        self._channel: Channel | None = None
        self._workers: dict[int, WorkerProcess] = {}
        self._ids = itertools.count(1)
        self._preloads: list[Preload] = []
        self._unanswered: deque[Preload] = deque()
        self._deaths: Counter[Preload] = Counter()
        self._process: ZygoteProcess | None = None
        self._heartbeat: Heartbeat | None = None
        self._reaping: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The zygote's process, None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self, worker: WorkerProcess) -> None:
        """Have the zygote fork a worker; see `Starter.start`."""
        channel = self.warm()
        worker_id = next(self._ids)
        self._workers[worker_id] = worker
        channel.send(Fork(worker_id, worker.zone), fds=worker.ends.fds)
        worker.ends.close_theirs()

    def preload(self, preload: Preload) -> None:
        """Import modules in this zygote and in every replacement."""
        if preload not in self._preloads:
            self._preloads.append(preload)
            if self._channel is not None:
                self._send_preload(self._channel, preload)
        with contextlib.suppress(OSError):  # the next start tries again and reports why
            self.warm()

    def _send_preload(self, channel: Channel, preload: Preload) -> None:
        self._unanswered.append(preload)
        channel.send(preload)

    def warm(self) -> Channel:
        """Start the zygote if there is none; return its channel."""
        if self._channel is None:
            started = self._first or start_zygote(self._file_limits, self._leashes)
            self._first = None
            self._process = started
            self._channel = Channel(
                started.sock,
                FromZygote,
                loop=asyncio.get_running_loop(),
                on_frame=self._handle,
                on_close=self._lose,
                max_header=SMALL_HEADER_BYTES,
            )
            self._heartbeat = Heartbeat(
                asyncio.get_running_loop(),
                started.pid,
                send_ping=partial(self._channel.send, Ping()),
                on_silence=self._replace,
                # Time for the imports of preloads, and at first for its own.
                may_be_busy=lambda: bool(self._unanswered),
            )
            for preload in self._preloads:
                self._send_preload(self._channel, preload)
        return self._channel

    def _handle(self, frame: Frame) -> None:
        message = frame.message
        if self._heartbeat is not None:
            self._heartbeat.note_alive()
        if isinstance(message, Forked):
            self._workers[message.worker_id].handle_start(message.pid)
        elif isinstance(message, Exited):
            self._workers.pop(message.worker_id).handle_exit(message.status)
        elif isinstance(message, ForkFailed):
            self._workers.pop(message.worker_id).refuse_start(message.reason)
        elif isinstance(message, Preloaded):
            self._unanswered.popleft()
            if message.error is not None:
                self._warn(f"preload failed: {message.error}")

    def _lose(self, error: ProtocolError | None) -> None:  # noqa: ARG002
        """Handle the loss of the zygote and (``PR_SET_PDEATHSIG``) its children."""
        self._stop_asking()
        process, self._process = self._process, None
        self._channel = None
        if process is not None:
            kill_group(process.pid, signal.SIGKILL)
            reaping = asyncio.ensure_future(_reap(process))
            self._reaping.add(reaping)
            reaping.add_done_callback(self._reaping.discard)
        self._doubt_preload()
        self._lose_workers()

    def _replace(self) -> None:
        """Give up a zygote that does not answer, with its workers."""
        assert self._channel is not None
        assert self._process is not None
        self._warn(
            f"the zygote, process {self._process.pid}, does not answer: it is "
            "suspended, traced or blocked on a disk. It and its workers are replaced"
        )
        self._channel.close()
        self._lose(None)

    def _stop_asking(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.close()
            self._heartbeat = None

    def _doubt_preload(self) -> None:
        """Drop a preload that kills zygotes: no worker could start with it."""
        if self._unanswered:
            suspect = self._unanswered[0]
            self._deaths[suspect] += 1
            if self._deaths[suspect] >= PRELOAD_TRIES:
                self._preloads.remove(suspect)
                names = ", ".join(suspect.modules)
                self._warn(f"preload given up, it kills zygotes: {names}")
        self._unanswered.clear()

    def _lose_workers(self) -> None:
        workers, self._workers = self._workers, {}
        for worker in workers.values():
            worker.kill_remains("its zygote is gone")
            worker.handle_loss()

    async def close(self) -> None:
        """End the zygote and its workers; return when they are gone."""
        self._stop_asking()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is not None:
            kill_group(process.pid, signal.SIGCONT)  # it may be suspended
            ended = asyncio.ensure_future(_reap(process))
            await asyncio.wait([ended], timeout=ZYGOTE_GRACE)
            # A traced zygote does not react; its workers end with it.
            kill_group(process.pid, signal.SIGKILL)
            await asyncio.wait([ended], timeout=KILL_GRACE)
        if self._reaping:
            await asyncio.wait(self._reaping, timeout=KILL_GRACE)
        self._lose_workers()


async def _reap(process: ZygoteProcess) -> None:
    """Return when a zygote is gone; one blocked on a disk may take a while."""
    await _wait_exit(process.pid)
    process.wait()


class Spawner:
    """Starts every worker as a fresh interpreter."""

    def __init__(self, file_limits: tuple[int, int] | None) -> None:
        self._file_limits = file_limits
        self._watchers: set[asyncio.Task[None]] = set()

    def start(self, worker: WorkerProcess) -> None:
        """Start a worker's program; see `Starter.start`."""
        process = start_program(
            "worker.program",
            worker.ends.fds,
            os.getpid(),
            file_limits=self._file_limits,
        )
        worker.ends.close_theirs()
        worker.handle_start(process.pid)
        watcher = asyncio.ensure_future(self._watch(process, worker))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    @staticmethod
    async def _watch(process: subprocess.Popen[bytes], worker: WorkerProcess) -> None:
        await _wait_exit(process.pid)
        kill_group(process.pid, signal.SIGKILL)
        _, status = os.waitpid(process.pid, 0)  # noqa: ASYNC222 - it has ended
        process.returncode = os.waitstatus_to_exitcode(status)
        worker.handle_exit(status)


class Registration(NamedTuple):
    """A task's job as the client sent it."""

    register: Register
    payload: Payload


class ProcessLauncher:
    """The scheduler's `Launcher` for background tasks.

    Args:
        uplink: where workers' output goes.
        warn: called with a warning for the user, as one line.
        file_limits: soft and hard RLIMIT_NOFILE of every job; by default the
            supervisor's own.
        leashes: descriptors that the zygote keeps open as long as it lives.
        zygote: the first zygote, if there is one.
    """

    def __init__(
        self,
        uplink: Uplink,
        warn: Callable[[str], None],
        *,
        file_limits: tuple[int, int] | None = None,
        leashes: Sequence[int] = (),
        zygote: ZygoteProcess | None = None,
    ) -> None:
        self.zygote = ZygoteHandle(warn, file_limits, leashes, zygote)
        self._spawner = Spawner(file_limits)
        self._uplink = uplink
        self._flood = Flood()
        self._registrations: dict[str, Registration] = {}
        self.leases = DirectLeases()
        self._loading: dict[str, WorkerProcess] = {}

    def register(self, register: Register, payload: Payload) -> None:
        """Remember what a task's workers must load."""
        self._registrations[register.task_id] = Registration(register, payload)

    def forget(self, task_id: str) -> None:
        """Forget a task's job. Idempotent."""
        self._registrations.pop(task_id, None)

    def knows(self, task_id: str) -> bool:
        """Return whether a task is registered and not destroyed."""
        return task_id in self._registrations

    def get_name(self, task_id: str) -> str | None:
        """Return the name of a task; None if it is not registered, or destroyed."""
        known = self._registrations.get(task_id)
        return None if known is None else known.register.name

    def describe_lost(self, task_id: str) -> WorkerCrashed:
        """Return the error of a run whose worker ended without reporting it."""
        return WorkerCrashed(name=self._registrations[task_id].register.name)

    def launch_at_once(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> WorkerProcess | None:
        """Return None: a process takes time to start; see `Launcher.launch_at_once`."""

    async def launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> WorkerProcess:
        """Start a worker and load its job; see `Launcher.launch`."""
        name = self._registrations[task_id].register.name
        is_forked = False
        for _ in range(TRIES):
            try:
                return await self._launch(task_id, on_death)
            except ZygoteLost as loss:
                is_forked = is_forked or loss.is_forked
        if is_forked:
            raise StartError(name=name, reason="its zygote was lost while it loaded")
        raise StartRefused(name=name, reason=_NO_ZYGOTE)

    async def _launch(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> WorkerProcess:
        worker = self._loading[task_id] = self._make_worker(task_id, on_death)
        starter: Starter = (
            self._spawner
            if self._registrations[task_id].register.launcher == "spawn"
            else self.zygote
        )
        try:
            try:
                starter.start(worker)
            except OSError as error:  # no process or descriptor can be had at present
                worker.refuse_start(describe(error))
            await asyncio.shield(worker.loaded)
        except BaseException:
            await worker.discard()
            raise
        finally:
            if self._loading.get(task_id) is worker:
                del self._loading[task_id]
        return worker

    def explain_delay(self, task_id: str) -> str:
        """Return why a start is taking so long; see `Launcher.explain_delay`."""
        worker = self._loading.get(task_id)
        return _UNFORKED if worker is not None and worker.pid is None else ""

    def _make_worker(
        self, task_id: str, on_death: Callable[[Worker, BaseException], None]
    ) -> WorkerProcess:
        """Return a worker without a process. Raises `StartRefused`."""
        register, payload = self._registrations[task_id]
        try:
            return self._connect(register, payload, on_death)
        except OSError as error:
            raise StartRefused(name=register.name, reason=describe(error)) from None

    def _connect(
        self,
        register: Register,
        payload: Payload,
        on_death: Callable[[Worker, BaseException], None],
    ) -> WorkerProcess:
        return WorkerProcess(
            Load(
                register.task_id,
                register.name,
                register.pattern,
                register.zone,
                register.job,
                register.setting,
            ),
            payload,
            uplink=self._uplink,
            flood=self._flood,
            on_death=on_death,
            leases=self.leases,
        )


async def _wait_exit(pid: int) -> None:
    """Wait until a child has ended, without reaping it."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):  # macOS, an old kernel, a sandbox; no fd left
        pass
    else:
        loop.add_reader(fd, ended.set_result, None)
        try:
            await ended
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return

    def wait() -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        loop.call_soon_threadsafe(ended.set_result, None)

    # One thread each: the first workers would take up a pool's few threads.
    threading.Thread(target=wait, daemon=True).start()
    await ended
