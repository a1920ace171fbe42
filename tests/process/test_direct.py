"""Calls that bypass the supervisor (A8): short silent runs, and all the others."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import threading
from functools import partial
from pathlib import Path

import pytest
from house import EVERY_SECOND, NEVER, Record, drain
from polling import SECONDS, eventually, pause

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import ExecutionStopped, OverlapError, SupervisorLost, WorkerCrashed
from ipycron.process.direct.worker_end import PACKET_BYTES
from ipycron.process.wire.protocol import Answered
from ipycron.scheduling.clock import SystemClock

ADDING = """
    count = 0
    def task():
        global count
        count += 1
        return count
"""
TOLD = """
    import os, sys, threading
    from pathlib import Path
    def read():
        return (Path(__file__).parent / "order.txt").read_text()
    def task():
        text = read()
        space = {"is_wanted": lambda: read() == text}
        exec(text, space)
        return space["result"]
"""
UNTIL_TOLD = "import time\nwhile is_wanted():\n    time.sleep(0.005)\nresult = 1"
"""An instruction to wait for the next one."""


@pytest.fixture
def start(write):
    """Start a task whose worker can be called directly."""

    def start(source=ADDING, expression=NEVER, **options):
        task = ipycron.create_task(expression, write(source), **options)
        task.start().result(SECONDS)
        call_twice(task)
        return task

    return start


@pytest.fixture
def obey(start, tmp_path):
    """Start a task whose runs follow instructions; return it, and a way to send those.

    A run that waits reads them again: they are replaced at once.
    """
    order = tmp_path / "order.txt"

    def tell(text):
        order.with_suffix(".new").write_text(text)
        order.with_suffix(".new").rename(order)

    def start_obedient(**options):
        tell("result = 0")
        return start(TOLD, **options), tell

    return start_obedient


@pytest.fixture
def obedient(obey):
    """Such a task, and a way to send instructions."""
    return obey()


def call_twice(task):
    """Call a task until it has a direct connection, from the second run on."""
    before = find_connection(task)
    called = 0
    while called < 2:
        with contextlib.suppress(OverlapError):  # by the run of a slot
            task.execute().result(SECONDS)
            called += 1
    eventually(lambda: is_other(find_connection(task), before), "there is a connection")


def is_decided(task, run):
    """Return whether a call has begun to run, or been refused."""
    return run.done() or any(other.reason == "invoked" for other in task.running)


def is_other(line, before):
    """Return whether there is a connection other than the given one."""
    return line is not None and not (line is before and line.is_closed)


def find_connection(task):
    """Return the direct connection to a task's worker, or None."""
    return registry.client._engine.background.direct.find(task.id)


@pytest.mark.parametrize(("value", "is_direct"), [("0", False), ("1", True)])
def test_switch_decides_whether_calls_go_directly(write, monkeypatch, value, is_direct):
    """With IPYCRON_DIRECT=0, every call works through the supervisor."""
    registry.close(0)  # the supervisor inherits the variable
    monkeypatch.setenv("IPYCRON_DIRECT", value)
    task = ipycron.create_task(NEVER, write(ADDING))
    record = Record(task)
    task.start().result(SECONDS)
    assert [task.execute().result(SECONDS) for _ in range(4)] == [1, 2, 3, 4]
    if is_direct:
        eventually(lambda: find_connection(task), "there is a connection")
    drain()
    assert (find_connection(task) is not None) == is_direct
    assert record.names.count("execution:finished") == 4
    registry.close(0)


def check_is_direct(task):
    """Fail if calls of a task need the supervisor.

    One must do without. Some may not: a run that takes longer than 4 ms on a busy
    machine, and one that comes just before the supervisor offers the worker again.
    """
    eventually(lambda: not is_call_supervised(task), "a call without the supervisor")


def is_supervised(task):
    """Return whether calls of a task need the supervisor: several in a row."""
    return all(is_call_supervised(task) for _ in range(3))


def is_call_supervised(task):
    """Return whether one call does."""
    supervisor = registry.client.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        run = task.execute()
        try:
            run.result(0.3)
        except TimeoutError:
            return True
        return False
    finally:
        os.kill(supervisor, signal.SIGCONT)
        with contextlib.suppress(Exception):
            run.result(SECONDS)


def test_short_quiet_run_needs_no_supervisor(start):
    """A suspended supervisor does not delay it."""
    task = start()
    check_is_direct(task)
    assert task.execute().result(SECONDS) >= 4


def test_history_is_complete_when_the_result_is_there(start):
    """History, counts and last run include a run before they can be read."""
    task = start()
    for number in range(3, 40):
        assert task.execute().result(SECONDS) == number
        assert task.last_run.result == number
        assert task.last_run.reason == "invoked"
        assert task.history.finished == number
    assert len(task.history) == 20
    assert len({run.id for run in task.history}) == 20


def test_history_is_waited_for_while_runs_are_added_to_it(start):
    """No thread that reads it meanwhile takes it for complete."""
    task = start()
    direct = registry.client._engine.background.direct
    handle, seen = direct._handle_answers, []

    def look(task_id, answers):
        seen.append(direct.has_answers(task_id))
        handle(task_id, answers)

    direct._handle_answers = look
    while not seen:
        task.execute().result(SECONDS)
        task.history  # noqa: B018 - reading it waits for it
        pause(0.3)
    assert all(seen)


def test_history_is_waited_for_while_its_connection_is_closed(start):
    """What arrives last is added to it before the connection is forgotten."""
    task = start()
    direct = registry.client._engine.background.direct
    connection = find_connection(task)
    handle, seen = direct._handle_answers, []

    def look(task_id, answers):
        seen.append(direct.has_answers(task_id))
        handle(task_id, answers)

    def close(is_held, has_arrived, is_over):
        direct.catch_up(task.id)
        is_held.set()
        assert has_arrived.wait(SECONDS)
        packet = connection._sock.recv(PACKET_BYTES, socket.MSG_PEEK)
        if isinstance(connection._decoder.decode(packet), Answered):
            direct._handle_answers = look
            direct.close(task.id)
        is_over.set()

    while not seen:  # the worker declines a call that comes too soon after another
        is_held, has_arrived, is_over = (threading.Event() for _ in range(3))
        direct.loop.call_soon_threadsafe(close, is_held, has_arrived, is_over)
        assert is_held.wait(SECONDS)
        run = task.execute()
        assert connection._call is not None, "it is called directly"
        eventually(lambda: select.select([connection._sock], [], [], 0)[0], "an answer")
        has_arrived.set()
        assert is_over.wait(SECONDS)
        result = run.result(SECONDS)
        assert task.last_run.result == result
    assert seen == [True]
    assert find_connection(task) is None


def test_history_is_complete_after_a_burst(start):
    """With more runs than are kept, and no reads in between."""
    task = start()
    results = [task.execute().result(SECONDS) for _ in range(1200)]
    assert results == list(range(3, 1203))
    assert task.history.finished == 1202
    assert task.last_run.result == 1202
    times = [run.started_at for run in task.history]
    assert times == sorted(times)
    assert task.status == "idle"


def test_same_object_is_the_result_each_time(start):
    """It is decoded once, for the completion and for the last run."""
    task = start("def task():\n        return [1, 2]")
    run = task.execute()
    assert run.result(SECONDS) is run.result(SECONDS)
    assert task.last_run.result is run.result(SECONDS)


def test_run_is_reported_like_any_other(start):
    """R8, V4: started and finished, once each, with the worker's times."""
    task = start()
    record = Record(task)
    before = SystemClock().now()
    for _ in range(50):
        task.execute().result(SECONDS)
    drain()
    assert record.names == ["execution:started", "execution:finished"] * 50
    first = record.contexts[1].execution
    assert first.pid == task.last_run.pid
    assert before <= first.date.timestamp() <= first.started_at.timestamp()
    assert first.started_at <= first.finished_at
    assert first.is_ok
    assert first.summary == "3"


def test_run_need_not_be_waited_for(start):
    """Its end is soon in the history anyway."""
    task = start()
    task.execute()
    eventually(lambda: task.history.finished == 3, "it has ended")
    assert task.last_run.result == 3


def test_waiters_of_all_kinds_get_the_result(start):
    """Await, a callback, `done()`, and another thread."""
    task = start()

    async def wait():
        return [await task.execute() for _ in range(20)]

    assert asyncio.run(wait()) == list(range(3, 23))
    heard = []
    task.execute().add_done_callback(lambda run: heard.append(run.result()))
    eventually(lambda: heard == [23], "the callback is called")
    run = task.execute()
    eventually(run.done, "it is done")
    assert run.result(0) == 24


def test_threads_share_a_task(start):
    """While the connection is in use, calls go through the supervisor."""
    task = start("import threading\ndef task():\n    return threading.get_ident()")
    failures = []

    def call():
        for _ in range(60):
            try:
                task.execute().result(SECONDS)
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert task.history.finished == 242
    eventually(lambda: task.status == "idle", "all have ended")


def test_what_a_run_prints_is_there_when_its_result_is(obedient):
    """R8: output arrives before the end, and belongs to its run."""
    task, tell = obedient
    for number in range(60):
        if number % 3:
            tell(f"result = {number}")
        else:
            tell(f"print({number}, flush={number % 2}); result = {number}")
        assert task.execute().result(SECONDS) == number
        said = "" if number % 3 else f"{number}\n"
        assert task.last_run.output.stdout == said


@pytest.mark.parametrize(
    "order",
    [
        "os.system('echo hello')",
        "os.write(2, b'hello')",
        "import logging; logging.getLogger('job').warning('hello')",
    ],
)
def test_run_with_output_is_reported_by_the_supervisor(obedient, order, caplog):
    """Output of a child, of C code, or log records."""
    task, tell = obedient
    tell(f"import os; {order}; result = 1")
    assert task.execute().result(SECONDS) == 1
    drain()
    output = task.last_run.output
    assert "hello" in output.stdout + output.stderr + caplog.text
    assert is_supervised(task)
    tell("result = 2")
    assert task.execute().result(SECONDS) == 2
    assert "hello" not in task.last_run.output.stdout + task.last_run.output.stderr


def test_failed_run_is_reported_completely(obedient):
    """V5: type, arguments and the worker's traceback."""
    task, tell = obedient
    tell("raise LookupError('no', 7)")
    with pytest.raises(LookupError) as caught:
        task.execute().result(SECONDS)
    assert caught.value.args == ("no", 7)
    assert "order.txt" not in task.last_run.summary
    assert "LookupError" in task.last_run.traceback_text
    assert task.history.failed == 1


@pytest.mark.parametrize("size", [0, 7_000, 9_000, 70_000, 3_000_000])
def test_result_of_any_size_arrives(obedient, size):
    """Large ones go through the supervisor."""
    task, tell = obedient
    tell(f"result = bytes({size})")
    assert task.execute().result(SECONDS) == bytes(size)
    if size > 8_000:
        assert is_supervised(task)
    else:
        check_is_direct(task)


def test_long_run_is_seen_while_it_is_in_progress(obedient):
    """Status, `running` and events, as for any run."""
    task, tell = obedient
    record = Record(task)
    tell(UNTIL_TOLD)
    before = SystemClock().monotonic()
    run = task.execute()
    eventually(lambda: task.status == "running", "it is told")
    (running,) = task.running
    pause(0.1)
    tell("result = 0")
    assert run.result(SECONDS) == 1
    drain()
    assert record.names == ["execution:started", "execution:finished"]
    assert task.last_run.id == running.id
    assert 0.1 < task.last_run.duration < SystemClock().monotonic() - before


@pytest.mark.parametrize("is_next", [False, True])
def test_long_run_is_seen_after_a_thread_stood_still_in_its_call(obedient, is_next):
    """That call's own run, and that of a later one: the loop had ceased to poll."""
    task, tell = obedient
    direct = registry.client._engine.background.direct
    submit = direct.submit

    def stand_still(call):
        direct.submit = submit
        polls = threading.Event()
        submit(lambda: (call(), polls.set()))
        assert polls.wait(SECONDS)
        eventually(lambda: direct._timer is None, "it polls no more")

    eventually(lambda: direct._timer is None, "the loop rests")
    direct.submit = stand_still
    if is_next:
        assert task.execute().result(SECONDS) == 0
    tell(UNTIL_TOLD)
    run = task.execute()  # by the supervisor, where it has yet to offer the worker
    eventually(lambda: task.status == "running", "it is told")
    tell("result = 0")
    assert run.result(SECONDS) == 1


@pytest.mark.parametrize("seconds", [0.002, 0.004, 0.006, 0.02, 0.03])
def test_run_of_any_length_ends_once(obedient, seconds):
    """Around the times at which others take over."""
    task, tell = obedient
    record = Record(task)
    tell(f"import time; time.sleep({seconds}); result = 1")
    for _ in range(15):
        assert task.execute().result(SECONDS) == 1
    drain()
    assert record.names == ["execution:started", "execution:finished"] * 15


def test_second_call_overlaps_the_first(obey):
    """R3: the earlier run is named, whoever knows of it."""
    task, tell = obey(no_overlap=True)
    record = Record(task)
    tell(UNTIL_TOLD)
    first = task.execute()
    with pytest.raises(OverlapError) as caught:
        task.execute().result(SECONDS)
    tell("result = 0")
    first.result(SECONDS)
    record.wait("execution:started")  # events come after the result
    assert caught.value.execution_id == record.contexts[0].execution.id


def test_slot_overlaps_a_called_run(obey):
    """R3: it is skipped, whether or not the supervisor knew of the run."""
    task, tell = obey(expression=EVERY_SECOND, no_overlap=True)
    record = Record(task)
    record.wait("execution:finished")  # of a slot: most of a second is left
    while True:
        tell(UNTIL_TOLD)
        run = task.execute()
        eventually(partial(is_decided, task, run), "it runs, or is refused")
        if not run.done():
            break
        tell("result = 0")  # the run of a slot came first
    record.wait("execution:overlap")
    assert [running.reason for running in task.running] == ["invoked"]
    tell("result = 0")
    assert run.result(SECONDS) == 1


def test_slots_are_on_time_beside_calls(start, sleeper):
    """R1: none is missed, and each is reported."""
    task = start(expression=EVERY_SECOND)
    record = Record(task)
    end = SystemClock().monotonic() + 3.5
    count = 0
    while SystemClock().monotonic() < end or count < 100:
        task.execute().result(SECONDS)
        count += 1
    drain()
    sleeper.check_missed(record)
    slots = [
        context.date.timestamp()
        for context in record.contexts
        if context.event == "execution:missed"
        or (
            context.event == "execution:started"
            and context.execution.reason == "scheduled"
        )
    ]
    assert len(slots) >= 3
    assert slots == [slots[0] + place for place in range(len(slots))]
    for context in record.of("execution:finished"):
        assert context.execution.is_ok


@pytest.mark.parametrize("action", ["stop", "destroy"])
def test_run_before_a_stop_ends_before_it(start, action):
    """A7: a later request does not overtake a call."""
    task = start("import time\ndef task():\n    time.sleep(0.05)\n    return 5")
    for _ in range(5 if action == "stop" else 1):
        record = Record(task)
        run = task.execute()
        getattr(task, action)().result(SECONDS)
        assert run.result(0) == 5
        drain()
        assert record.names[:3] == [
            "execution:started",
            "execution:finished",
            "task:stopped",
        ]
        task.off("*")
        if action == "stop":
            task.start().result(SECONDS)
            call_twice(task)


def test_stop_by_force_ends_a_called_run(obedient):
    """Like any other run."""
    task, tell = obedient
    tell("import time; time.sleep(60); result = 0")
    run = task.execute()
    pause(0.1)
    task.stop(force=True).result(SECONDS)
    assert isinstance(run.exception(SECONDS), ExecutionStopped)


@pytest.mark.parametrize("delay", [0, 0.002, 0.1])
def test_worker_dies_in_a_called_run(obedient, delay):
    """R7: the run fails, once, and the next one works."""
    task, tell = obedient
    record = Record(task)
    tell(f"import os, time; time.sleep({delay}); os.kill(os.getpid(), 9)")
    run = task.execute()
    assert isinstance(run.exception(SECONDS), WorkerCrashed)
    record.wait("task:restarted")
    assert record.names == ["execution:started", "execution:failed", "task:restarted"]
    tell("result = 1")
    call_twice(task)
    check_is_direct(task)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.003, 0.3])
def test_worker_that_died_idle_fails_its_run_or_has_none(start, seconds):
    """R7: a call during the death gets an error, reported as usual."""
    task = start()
    for _ in range(4):
        record = Record(task)
        os.kill(task.last_run.pid, signal.SIGKILL)
        pause(seconds)
        run = task.execute()
        error = run.exception(SECONDS)
        assert error is None or error.signal_name == "SIGKILL"
        record.wait("task:restarted")
        drain()
        end = "execution:finished" if error is None else "execution:failed"
        told = [name for name in record.names if "execution" in name]
        assert told == ["execution:started", end]
        task.off("*")
        call_twice(task)


def test_worker_that_is_stopped_answers_when_it_goes_on(start):
    """Nothing is lost, and nothing runs twice."""
    task = start()
    pid = task.last_run.pid
    os.kill(pid, signal.SIGSTOP)
    run = task.execute()
    pause(0.2)
    assert not run.done()
    os.kill(pid, signal.SIGCONT)
    assert run.result(SECONDS) == 3
    assert task.execute().result(SECONDS) == 4


def test_worker_that_is_stopped_may_be_killed(start):
    """R7."""
    task = start()
    pid = task.last_run.pid
    os.kill(pid, signal.SIGSTOP)
    run = task.execute()
    pause(0.1)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(run.exception(SECONDS), WorkerCrashed)
    assert task.execute().result(SECONDS) == 1


def test_supervisor_is_lost_in_a_called_run(obedient):
    """The run is lost, too; the task continues with the next supervisor."""
    task, tell = obedient
    tell("import time; time.sleep(30); result = 0")
    run = task.execute()
    pause(0.05)
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    assert isinstance(run.exception(SECONDS), SupervisorLost)
    tell("result = 3")
    eventually(lambda: task.is_started and not task.is_starting, "it goes on")
    assert task.execute().result(SECONDS) == 3
    call_twice(task)
    check_is_direct(task)


@pytest.mark.parametrize(
    "order",
    [
        "os.closerange(3, 1000)",
        "os.close(socket_fd()); result = 1",
    ],
)
def test_job_that_closes_our_descriptors_causes_no_hang(obedient, order):
    """R9: the run ends one way or the other, and the next one works."""
    task, tell = obedient
    tell(
        f"import os\n"
        f"def socket_fd():\n"
        f"    fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        f"    links = [(fd, os.readlink(f'/proc/self/fd/{{fd}}')) for fd in fds[:-1]]\n"
        f"    return [fd for fd, to in links if 'socket' in to][-1]\n"
        f"result = 0\n{order}"
    )
    task.execute().exception(SECONDS)
    tell("result = 1")
    # The worker may yet be about to end for what its job has done.
    eventually(lambda: task.execute().exception(SECONDS) is None, "the next is well")
    assert task.last_run.result == 1


def test_job_that_claims_to_have_ended_is_reported_once(obedient):
    """It returns later, and the next run works."""
    task, tell = obedient
    record = Record(task)
    tell(
        "import gc\n"
        "from ipycron.process.wire.protocol import Ended\n"
        "from ipycron.process.worker.program import Worker\n"
        "from ipycron.process.wire.payload import pack_plain\n"
        "import time\n"
        "(worker,) = [o for o in gc.get_objects() if type(o) is Worker]\n"
        "ended = Ended(worker._execution_id, True, 'lie')\n"
        "worker._channel.send(ended, pack_plain('lie'))\n"
        "time.sleep(0.1)\n"
        "result = 'truth'"
    )
    assert task.execute().result(SECONDS) == "lie"
    pause(0.3)
    tell("result = 1")
    assert task.execute().result(SECONDS) == 1
    drain()
    assert record.names == ["execution:started", "execution:finished"] * 2


def test_job_that_writes_to_our_descriptors_causes_no_hang(obedient):
    """What it writes there is not trusted."""
    task, tell = obedient
    tell(
        "import os, contextlib\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    with contextlib.suppress(OSError):\n"
        "        to = os.readlink(f'/proc/self/fd/{name}')\n"
        "        if 'eventfd' in to or 'socket' in to:\n"
        "            os.write(int(name), b'\\x05\\0\\0\\0\\0\\0\\0\\0')\n"
        "result = 7"
    )
    task.execute().exception(SECONDS)
    tell("result = 1")
    # The worker may yet be about to end for what its job has done.
    eventually(lambda: task.execute().exception(SECONDS) is None, "the next is well")
    assert task.last_run.result == 1
    eventually(lambda: not task.is_busy, "it is idle")


def test_handler_may_call_while_another_call_is_under_way(obedient):
    """The handler's call and the interrupted one get their own results."""
    task, tell = obedient
    tell("import time; time.sleep(0.01); result = 1")
    results = []

    def call(*_):
        results.append(task.execute().result(SECONDS))

    before = signal.signal(signal.SIGUSR1, call)
    try:
        for seconds in (0.0001, 0.0003, 0.001, 0.005, 0.009):
            later = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGUSR1))
            later.start()
            results.append(task.execute().result(SECONDS))
            later.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    eventually(lambda: len(results) == 10, "all handlers have run")
    assert results == [1] * 10


def test_shutdown_waits_for_a_called_run(obedient):
    """A10: it gets its time, and its result arrives."""
    task, tell = obedient
    tell("import time; time.sleep(0.2); result = 9")
    run = task.execute()
    ipycron.shutdown(SECONDS)
    assert run.result(0) == 9
    assert task.history.finished == 3


@pytest.mark.parametrize("pause_seconds", [0, 0.0001, 0.002])
def test_shutdown_right_after_a_call_waits_for_its_run(start, tmp_path, pause_seconds):
    """A10: even if the worker has not read the call yet."""
    source = """
        import time
        from pathlib import Path
        def task():
            time.sleep(0.02)
            with (Path(__file__).parent / "runs").open("a") as file:
                file.write("x")
        """
    for count in range(1, 6):
        task = start(source)
        run = task.execute()
        pause(pause_seconds)
        ipycron.shutdown(SECONDS)
        assert run.exception(0) is None
        assert len((tmp_path / "runs").read_text()) == 3 * count


def test_shutdown_waits_for_a_call_that_its_worker_has_yet_to_read(obedient):
    """A10: the worker is suspended before it reads the call."""
    task, tell = obedient
    tell("result = 9")
    worker = find_connection(task).pid
    os.kill(worker, signal.SIGSTOP)
    run = task.execute()
    shutdown = threading.Thread(target=ipycron.shutdown, args=(10,))
    shutdown.start()
    pause(0.3)
    os.kill(worker, signal.SIGCONT)
    shutdown.join(SECONDS)
    assert run.result(0) == 9
    assert task.history.finished == 3


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "0", "1e300"])
def test_times_that_a_job_makes_up_are_not_believed(obedient, time):
    """They need not be valid dates."""
    task, tell = obedient
    tell(
        "import gc\n"
        "from ipycron.process.direct.worker_end import WorkerEnd\n"
        "(line,) = [o for o in gc.get_objects() if type(o) is WorkerEnd]\n"
        "answer = WorkerEnd.answer\n"
        "def lie(self, told):\n"
        "    from msgspec.structs import replace\n"
        f"    t = float('{time}')\n"
        "    return answer(self, replace(told, started_at=t, finished_at=t))\n"
        "WorkerEnd.answer = lie\n"
        "result = 1"
    )
    assert task.execute().result(SECONDS) == 1
    run = task.last_run
    assert run.date <= run.started_at <= run.finished_at
    assert task.history[-1].duration < SECONDS


def test_no_descriptor_is_left_after_many_workers(start):
    """Each worker's connection is closed with it."""
    task = start()

    def count():
        pids = (registry.client.supervisor_pid, os.getpid())
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]

    def start_again():
        task.stop().result(SECONDS)
        task.start().result(SECONDS)
        call_twice(task)

    start_again()
    before = count()
    for _ in range(10):
        start_again()
    # Either may have been counted while in transit: a few, not one of each.
    eventually(
        lambda: all(now < then + 5 for now, then in zip(count(), before, strict=True)),
        f"{before}",
    )
