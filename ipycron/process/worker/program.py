"""A worker: loads one job, runs it on its main thread, one run at a time.

It is a program for the spawn launcher, and the child's half of the zygote's fork; from
`main` on the code is the same.
"""

from __future__ import annotations

import _signal
import _socket
import contextlib
import gc
import os
import select
import sys
import termios
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from ipycron.errors import StartRefused
from ipycron.process.affinity import count_cores, return_to, wait_on_one
from ipycron.process.direct.token import WorkerToken
from ipycron.process.direct.worker_end import WorkerEnd, date_call, fits, is_unread
from ipycron.process.nesting import LoadingJob, mark_process
from ipycron.process.posix import (
    close_others,
    die_with_parent,
    flush_stdio,
    hold_lifeline,
    keep_from_children,
    open_stdio,
    redirect_stdio,
    wait_until_read,
)
from ipycron.process.standby import Permit
from ipycron.process.wire.channel import FD_SETSIZE, BlockingChannel
from ipycron.process.wire.outcome import (
    EncodedError,
    encode_failure,
    encode_result,
)
from ipycron.process.wire.payload import PayloadLost, pack_data
from ipycron.process.wire.protocol import (
    Answered,
    Declined,
    DirectOpened,
    Displayed,
    Ended,
    Load,
    Loaded,
    Logged,
    Run,
    StandBy,
    ToWorker,
)
from ipycron.process.worker.context import make_run_context
from ipycron.process.worker.job import (
    CellFailed,
    LoadedJob,
    call_init,
    load_job,
    make_judge,
)
from ipycron.process.worker.logs import forward_logs
from ipycron.process.worker.memory import MemoryKeeper
from ipycron.process.worker.surroundings import Surroundings
from ipycron.process.worker.usage import UsageMeter
from ipycron.scheduling.clock import measure_wait, read_wall_clock
from ipycron.scheduling.retry import NO_JUDGEMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ipycron.process.wire.channel import Frame
    from ipycron.process.wire.payload import Payload
    from ipycron.scheduling.retry import Judgement


HURRY = 0.0003
"""Seconds that a worker stays awake for the next call, if the last one came that
soon."""
CORES = count_cores()
LONGEST_STANDBY = 1.0
"""Seconds; if the slot is further away, the clock was set back."""
ORDERED_DISPLAYS = 200
"""Displays of a run that keep their exact place in the output; further ones may not."""


class Worker:
    """Serves one supervisor: `Load` once, then `Run` after `Run`."""

    def __init__(self, channel: BlockingChannel, permit: Permit) -> None:
        self._channel = channel
        self._permit = permit
        self._pid = os.getpid()
        self._execution_id = ""
        self._meter = UsageMeter()
        self._finished_at = 0.0
        self._displays = 0
        self._has_shown = False
        self._direct: WorkerEnd | None = None
        self._watch: select.poll
        self._is_hurried = False
        self._is_over = True  # until a job is loaded
        self._job: LoadedJob
        self._load: Load
        self._judge: Callable[[BaseException], Judgement]
        self._memory: MemoryKeeper
        self._surroundings: Surroundings

    def serve(self) -> int:
        """Serve until `Quit` arrives or the supervisor is gone; return the exit code.

        A script's worker also exits after its first run.
        """
        frame = self._channel.receive()
        if frame is None or not isinstance(frame.message, Load):
            return 0
        if not self._try_load(frame):
            return 1
        while not self._is_over and (frame := self._receive()) is not None:
            message = frame.message
            if isinstance(message, Run):
                self._run(message)
            elif isinstance(message, StandBy):
                self._stand_by(message)
            elif isinstance(message, DirectOpened):
                if not frame.is_short:  # else a descriptor was lost
                    self.open_direct(message, *frame.fds)
            else:
                return 0
        return 0

    def _receive(self) -> Frame | None:
        """Return the supervisor's next message; run direct calls until it arrives."""
        while self._direct is not None and not self._channel.has_frames():
            ready = self.wait_for_call()
            if len(ready) > 1 or ready[0][0] != self._direct.fd:
                break
            self.answer_call()
        return self._channel.receive()

    def wait_for_call(self) -> list[tuple[int, int]]:
        """Wait for a message; stay awake for a moment if the last came that soon.

        Waking up takes as long as a call if calls follow each other closely.
        """
        begin = time.monotonic()
        ready = self._watch.poll(0 if self._is_hurried else None)
        while not ready and time.monotonic() - begin < HURRY:
            os.sched_yield()  # to the client, if it needs this core
            ready = self._watch.poll(0)
        self._is_hurried = CORES > 1 and time.monotonic() - begin < HURRY
        return ready or self._watch.poll()

    def open_direct(self, opened: DirectOpened, sock: int, token: int) -> None:
        """Accept direct calls from now on. Both descriptors belong to the worker."""
        if self._direct is not None:
            self._direct.close()
        self._direct = WorkerEnd(
            _socket.socket(fileno=sock), WorkerToken(token), opened.name
        )
        self._watch = select.poll()
        self._watch.register(self._channel.fileno(), select.POLLIN)
        self._watch.register(sock, select.POLLIN)

    def answer_call(self) -> None:
        """Receive one direct call, and run the job if it may begin."""
        assert self._direct is not None
        number = self._direct.receive()
        if number is None:
            self._direct.close()
            self._direct = None
            return
        execution_id = self._direct.begin(number)
        if execution_id is not None:
            run = Run(execution_id, "invoked", date_call(number), read_wall_clock())
            self._run(run, call=number)

    def end(self) -> None:
        """Do what a program does at its end, unless its only run has done so."""
        if not self._is_over:
            self._job.end()
            self._leave_if_copy()

    def close(self) -> None:
        """Release the job. A process that was forked for the job exits instead."""
        self._job.close()

    def close_sockets(self) -> None:
        """Close the sockets in a process that the job forks.

        The supervisor treats their end of file as the worker's end.
        """
        self._channel.close()
        if self._direct is not None:
            self._direct.close()
            self._direct = None

    def _try_load(self, frame: Frame) -> bool:
        self._load = frame.message
        try:
            _arrange(self._load)
            forward_logs(self._send_log, self._load.setting.log_level)
            with LoadingJob():
                if self._load.setting.worker_init:
                    call_init(self._load.setting.worker_init)
                self._job = load_job(self._load.job, frame.payload, self._publish)
                self._judge = make_judge(
                    self._load.setting.retry_on,
                    is_program=self._job.is_single_use,
                )
        except BaseException as error:  # noqa: BLE001 - border: process main
            self._leave_if_copy()
            if isinstance(error, PayloadLost):
                error = StartRefused(name=self._load.name, reason=str(error))
            payload, summary, _ = self._encode_error(error)
            flush_stdio()
            self._channel.send(Loaded(is_ok=False, summary=summary), payload)
            return False
        self._leave_if_copy()
        self._is_over = False
        flush_stdio()
        self._channel.send(Loaded(is_ok=True, is_single_use=self._job.is_single_use))
        if not self._job.is_single_use:
            self._memory = MemoryKeeper()
            self._surroundings = Surroundings()
        return True

    def _stand_by(self, order: StandBy) -> None:
        """Wait for the slot, and begin without a message from the supervisor."""
        started_at = self._wait_for_slot(order)
        if started_at is None:
            return  # the supervisor took the permit before it sent this message
        if not order.date <= started_at <= order.latest:
            self._channel.send(Declined(order.execution_id))
        elif self._permit.take():
            run = Run(order.execution_id, "scheduled", order.date, started_at)
            self._run(run, order)

    def _wait_for_slot(self, order: StandBy) -> float | None:
        """Return when the wait ended (wall clock); None if a message came first."""
        cores = wait_on_one(order.number, order.crowd)
        try:
            while 0 < (left := measure_wait(order.date)) <= LONGEST_STANDBY:
                if self._channel.wait(left, self._line_fd):
                    return None
                if self._line_fd is not None and _is_ready(self._line_fd):
                    self.answer_call()  # declined, since it stands by
        finally:
            if cores is not None:
                return_to(cores)
        return read_wall_clock()

    def _rest(self, order: StandBy) -> None:
        """Leave the cores to workers of the crowd that have not begun yet."""
        left = order.date + order.rest - read_wall_clock()
        if 0 < left <= order.rest:
            self._channel.wait(left)

    @property
    def _line_fd(self) -> int | None:
        return None if self._direct is None else self._direct.fd

    def _run(
        self, run: Run, order: StandBy | None = None, call: int | None = None
    ) -> None:
        self._execution_id = run.execution_id
        self._displays = 0
        self._has_shown = False
        self._meter.start()
        judgement: Judgement | None = None
        try:
            result = self._call(run, order)
        except BaseException as error:  # noqa: BLE001 - border: job
            self._leave_if_copy()
            judgement = self._judge(error)
            payload, summary, trace = self._encode_error(error, judgement)
            is_ok = False
        else:
            self._leave_if_copy()
            limit = self._load.setting.max_result_bytes
            payload, summary = encode_result(result, limit)
            is_ok, trace = True, ""
            del result
        self._leave_if_copy()  # pickling may fork, too
        if self._job.is_single_use:
            self._end_program()
        else:
            # Pickling the result may leave more garbage than the run itself.
            self._memory.clean(read_wall_clock() - run.started_at)
        flush_stdio()
        if call is not None and is_ok and self._answer(call, run, payload, summary):
            self._surroundings.restore()
            return
        is_ours = order is not None or call is not None
        started_at = run.started_at if is_ours else None
        ended = Ended(
            run.execution_id,
            is_ok,
            summary,
            started_at,
            self._finished_at,
            self._meter.describe_run(trace),
            judgement,
        )
        self._channel.send(ended, payload)
        if call is not None and self._direct is not None:
            self._direct.hand_over(call)
        if not self._is_over:
            self._surroundings.restore()

    def _end_program(self) -> None:
        """End the script, its threads included: only then is the run over."""
        self._is_over = True
        self._job.end()
        self._leave_if_copy()
        self._finished_at = read_wall_clock()

    def _answer(self, call: int, run: Run, payload: Payload, summary: str) -> bool:
        """Send a run's end directly; return False if the supervisor must report it."""
        if self._has_shown or not fits(payload) or is_unread(1, 2):
            return False
        value = bytes(payload.data)
        times = run.started_at, self._finished_at
        return self.send_answer(Answered(call, summary, *times, value))

    def send_answer(self, answer: Answered) -> bool:
        """Send a run's result directly; see `WorkerEnd.answer`."""
        assert self._direct is not None
        return self._direct.answer(answer)

    def _call(self, run: Run, order: StandBy | None) -> Any:
        """Run the job; what follows, such as a traceback, waits for the crowd."""
        try:
            return self._job.run(partial(make_run_context, self._load, run))
        finally:
            self._finished_at = read_wall_clock()
            if order is not None:
                self._rest(order)  # an interrupt from here on is the job's

    def _encode_error(
        self, error: BaseException, judgement: Judgement = NO_JUDGEMENT
    ) -> EncodedError:
        limit = self._load.setting.max_result_bytes
        if isinstance(error, CellFailed):
            text = error.traceback_text
            return encode_failure(error.error, judgement, limit, text)
        return encode_failure(error, judgement, limit)

    def _publish(self, display: Any) -> None:
        """Send a display in its place among the printed lines.

        Text takes another way, through the pipes: what was printed before the display
        must be read first, and the display before what is printed next.
        """
        message = Displayed(self._load.task_id, self._execution_id)
        self._has_shown = True
        self._displays += 1
        in_order = self._displays <= ORDERED_DISPLAYS
        if in_order:
            flush_stdio()
            wait_until_read((1, termios.FIONREAD), (2, termios.FIONREAD))
        self._channel.send(message, pack_data(display))
        if in_order:
            wait_until_read((self._channel.fileno(), termios.TIOCOUTQ))

    def _send_log(self, record: dict[str, Any]) -> None:
        message = Logged(self._load.task_id, self._execution_id)
        self._has_shown = True
        self._channel.send(message, pack_data(record))

    def _leave_if_copy(self) -> None:
        """End a process that the job forked and that returned from the job."""
        if os.getpid() != self._pid:
            flush_stdio()
            os._exit(0)


def _is_ready(fd: int) -> bool:
    watch = select.poll()
    watch.register(fd, select.POLLIN)
    return bool(watch.poll(0))


def _arrange(load: Load) -> None:
    """Set up the surroundings in which the job's task was created."""
    setting = load.setting
    for name, value in setting.env.items():
        if value is None:
            os.environb.pop(name, None)
        else:
            os.environb[name] = value
    os.chdir(os.fsdecode(setting.cwd))  # its error shows the path as text
    sys.path[:] = map(os.fsdecode, setting.path)


def main(  # noqa: PLR0917 - a program's arguments
    control: int, stdout: int, stderr: int, lifeline: int, permit: int, parent: int
) -> NoReturn:
    """Run a worker on its five descriptors. The order of the steps matters."""
    # The zygote's handlers; `signal.signal` costs 0.2 MB for its enums.
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    close_others([control, stdout, stderr, lifeline, permit])
    if control >= FD_SETSIZE:  # for `select`, in a worker that was not forked
        high, control = control, os.dup(control)
        os.close(high)
    keep_from_children([control, lifeline, permit])
    redirect_stdio(stdout, stderr)
    if os.getsid(0) != os.getpid():
        os.setsid()
    else:
        # Started by `start_program`, not forked: nothing is inherited.
        mark_process("worker")
        gc.enable()
        open_stdio()
    die_with_parent(parent)
    hold_lifeline(lifeline)
    sock = _socket.socket(fileno=control)
    try:
        worker = Worker(BlockingChannel(sock, ToWorker, takes_fds=True), Permit(permit))
        os.register_at_fork(after_in_child=worker.close_sockets)
        code = worker.serve()
        if code == 0:
            worker.end()
    except (BrokenPipeError, ConnectionResetError):
        code = 1  # the supervisor is gone
    except BaseException:  # noqa: BLE001 - border: process main
        code = 70  # EX_SOFTWARE: a bug, or the job closed the socket
        with contextlib.suppress(Exception):
            traceback.print_exc()  # part of the crash report
    flush_stdio()
    os._exit(code)
