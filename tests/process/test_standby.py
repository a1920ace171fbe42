"""Workers that stand by for their slots, with real clocks, signals and stops."""

import asyncio
import fcntl
import math
import os
import random
import resource
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import EVERY_SECOND, Record, drain
from polling import SECONDS, eventually, eventually_async, pause
from scores import score_test
from trouble import get_supervisor, stopped

import ipycron
from ipycron.errors import WorkerCrashed
from ipycron.process.affinity import wait_on_one
from ipycron.process.standby import Permit, make_permit
from ipycron.process.start import start_program
from ipycron.process.supervisor.launcher import ProcessLauncher
from ipycron.process.supervisor.worker_process import WorkerPipes
from ipycron.process.wire.channel import BlockingChannel
from ipycron.process.wire.outcome import decode_result
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import (
    FileJob,
    FromWorker,
    Load,
    Loaded,
    Quit,
    Register,
    Setting,
    StandBy,
)
from ipycron.process.wire.triggers import PlainCron
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.events import ScheduledExecution
from ipycron.scheduling.policy import Policy
from ipycron.scheduling.ports import Place
from ipycron.scheduling.standby import LONGEST_REST

CLOCK = SystemClock()
TABLE = "workers that stand by"
ALONE = Place(0, 1)

JOB = """
import os, time
from pathlib import Path
def task(ctx):
    with open(Path(__file__).with_name("runs"), "a") as file:
        file.write(f"{ctx.execution.id} {ctx.execution.reason} {time.time()}\\n")
    print("here")
    return time.time() - ctx.date.timestamp(), ctx.execution.started_at, os.getpid()
"""


@pytest.fixture(autouse=True)
def row(request):
    """Count each test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


def read_runs(path):
    """Return (id, reason, Unix seconds) of each run that began, as its job says."""
    file = path.with_name("runs")
    lines = file.read_text().splitlines() if file.exists() else []
    words = [line.split() for line in lines]
    return [(name, reason, float(seconds)) for name, reason, seconds in words]


def sleep_until(moment):
    """Return at an instant, Unix seconds."""
    pause(max(0.0, moment - CLOCK.now()))


def find_next_slot():
    """Return the next full second that is at least half a second away."""
    return math.floor(CLOCK.now() + 0.5) + 1


def call_between_slots(task):
    """Return a manual run's worker; beside another run, it would be one of its own."""
    while not 0.2 < CLOCK.now() % 1 < 0.6:
        pause(0.01)
    return task.execute().result(SECONDS)[2]


def start(path, **options):
    """Start a task that is due every second; return it and its end events."""
    task = ipycron.create_task(EVERY_SECOND, path, **options)
    ends = []
    task.on("execution:finished", ends.append)
    task.on("execution:failed", ends.append)
    task.start().result(SECONDS)
    return task, ends


@pytest.mark.alone
def test_runs_begin_at_their_slots(write, tmp_path):
    """Each slot once, soon after it; job and task report the same start."""
    started = []
    for launcher in ("fork", "spawn"):
        (tmp_path / launcher).mkdir()
        path = write(JOB, f"{launcher}/job.py")
        started.append((path, *start(path, launcher=launcher)))
    for path, task, ends in started:
        eventually(lambda ends=ends: len(ends) >= 3, "three runs")
        task.stop().result(SECONDS)
        dates = [end.date.timestamp() for end in ends]
        assert dates == [dates[0] + number for number in range(len(dates))]
        for end in ends:
            lateness, started_at, pid = end.execution.result
            assert 0 <= lateness < 0.5
            assert started_at == end.execution.started_at
            assert pid == end.execution.pid
            assert end.execution.output.stdout == "here\n"
        runs = [end.execution.id for end in ends]
        assert [name for name, _, _ in read_runs(path)] == runs


def test_every_run_is_reported_whatever_happens_around_the_slot(write, tmp_path):
    """Stops, starts and calls within milliseconds of each slot lose none."""
    paths = []
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        paths.append(write(JOB, f"{seed}/job.py"))
    with ThreadPoolExecutor(len(paths)) as pool:
        for end in [pool.submit(tease, *one) for one in enumerate(paths)]:
            end.result()


def tease(seed, path):
    """Stop, start and call a task around eight slots; compare the runs and events."""
    dice = random.Random(seed)
    task, ends = start(path)
    # It may have run by now: what is counted below begins with a stop.
    task.stop().result(SECONDS)
    drain()
    heard = Record(task)
    before_that = len(ends)
    task.start().result(SECONDS)
    asked = []
    for number in range(8):
        sleep_until(find_next_slot() + dice.uniform(-0.06, 0.02))
        if number % 2:
            asked += [task.execute() for _ in range(dice.randint(1, 3))]
        else:
            task.stop().result(SECONDS)
            before = read_runs(path)
            pause(dice.uniform(0, 0.2))
            assert read_runs(path) == before
            task.start().result(SECONDS)
    for run in asked:
        run.result(SECONDS)
    task.stop().result(SECONDS)
    heard.wait("task:stopped", count=5)
    runs = read_runs(path)
    told = Counter(end.execution.id for end in ends)
    assert told == Counter(name for name, _, _ in runs)
    assert set(told.values()) == {1}
    assert heard.count("execution:started") == len(ends) - before_that
    assert sum(reason == "invoked" for _, reason, _ in runs) == len(asked)


@pytest.mark.alone
def test_worker_that_stood_still_over_its_slot_runs_it_after_all(write):
    """It declines and is ordered again while the slot is not too late."""
    path = write(JOB)
    task, ends = start(path, tolerance=1)
    pid = call_between_slots(task)
    slot = find_next_slot()
    sleep_until(slot - 0.3)
    with stopped(pid):
        sleep_until(slot + 0.4)
    eventually(lambda: slot in [e.date.timestamp() for e in ends], "the run")
    (end,) = [end for end in ends if end.date.timestamp() == slot]
    assert 0.39 < end.execution.result[0] < 0.9


@pytest.mark.alone
def test_worker_that_stood_still_when_it_was_ordered_begins_in_time(write):
    """It reads the order after it is resumed, before the slot."""
    path = write(JOB)
    task, ends = start(path)
    pid = call_between_slots(task)
    slot = find_next_slot()
    sleep_until(slot - 0.2)
    with stopped(pid):
        sleep_until(slot - 0.01)
    eventually(lambda: slot in [e.date.timestamp() for e in ends], "the run")


@pytest.mark.alone
def test_supervisor_suspended_over_a_slot_reports_the_run(write):
    """The worker begins without it; slots without standby are missed."""
    path = write(JOB)
    task, ends = start(path, tolerance=0.3, max_restarts=0)
    heard = Record(task)
    eventually(lambda: ends, "a run")
    slot = find_next_slot()
    sleep_until(slot - 0.02)
    with stopped(get_supervisor()):
        sleep_until(slot + 1.6)
    eventually(lambda: slot in [e.date.timestamp() for e in ends], "the run")
    (end,) = [end for end in ends if end.date.timestamp() == slot]
    assert end.execution.result[0] < 0.3
    assert end.execution.started_at.timestamp() - slot < 0.3
    heard.wait("execution:missed")  # the slot after it


class Late:
    """A supervisor that is late for its slot and then learns of the run."""

    def __init__(self):
        self.told = []
        self.execution = None
        self.outcome = None
        self.ended_at = 0.0

    def forward(self, message, payload):
        """Take a worker's output; see `Uplink`."""
        self.told.append((message.execution_id, bytes(payload.data)))

    def is_congested(self):
        """Return False; see `Uplink`."""
        return False

    async def play(self, path, place=ALONE, meanwhile=None):
        """Have a worker stand by; return how its run ended."""
        launcher = ProcessLauncher(self, self.told.append)
        setting = Setting(b"/", {}, tuple(map(os.fsencode, sys.path)), 30, 1 << 20)
        job = FileJob(os.fsencode(path))
        plain = PlainCron(EVERY_SECOND, "UTC", day_or=True, hash_id=None)
        rest = (EVERY_SECOND, "UTC", plain, Policy(), job, setting, "fork")
        launcher.register(Register("id", "name", *rest), Payload())
        worker = await launcher.launch("id", lambda *_: None)
        slot = find_next_slot()
        self.execution = ScheduledExecution(id="run", reason="scheduled", date=slot)
        begun = asyncio.Event()

        def note():
            self.outcome = worker.run(self.execution)
            begun.set()

        await asyncio.sleep(max(0.0, slot - 0.1 - CLOCK.now()))
        worker.stand_by("run", slot, latest=slot + 0.1, place=place, on_begun=note)
        try:
            async with asyncio.timeout(SECONDS):
                if meanwhile is not None:
                    await meanwhile(worker, self.execution)
                    note()
                await begun.wait()
                outcome = await self.outcome
                self.ended_at = CLOCK.now()
                return outcome
        finally:
            await worker.stop(grace=0)
            await launcher.zygote.close()


@pytest.mark.alone
def test_run_is_noticed_by_its_end(write):
    """The end is its first sign; it began soon after its slot."""
    late = Late()
    outcome = asyncio.run(late.play(write("def task():\n    return 7\n")))
    assert decode_result(outcome.value) == 7
    assert 0 <= late.execution.started_at - late.execution.date <= 0.1
    assert late.execution.started_at <= outcome.finished_at <= late.ended_at


@pytest.mark.alone
def test_run_is_noticed_by_its_first_output(write):
    """They belong to it, not to the previous run or to none."""
    late = Late()
    source = "import os\ndef task():\n    os.write(1, b'mine')\n    os.kill(0, 9)\n"
    with pytest.raises(WorkerCrashed):
        asyncio.run(late.play(write(source)))
    assert late.told == [("run", b"mine")]


@pytest.mark.alone
def test_run_is_noticed_by_its_workers_death(write):
    """The run has failed: the worker did not die idle."""
    with pytest.raises(WorkerCrashed, match="exited with code 3"):
        asyncio.run(Late().play(write("import os\ndef task():\n    os._exit(3)\n")))


CORES = "import os\ndef task():\n    return sorted(os.sched_getaffinity(0))\n"
WOKEN = ["by the slot", "by a call"]


@pytest.mark.skipif(sys.platform != "linux", reason="no process has cores elsewhere")
@pytest.mark.parametrize("woken", WOKEN)
@pytest.mark.alone
def test_worker_of_a_crowd_waits_on_one_core_and_runs_on_all(write, woken):
    """Each on another, so that none waits for a busy core (R1)."""
    cores = sorted(os.sched_getaffinity(0))
    place = Place(len(cores) + 1, 1000)
    waited_on = []

    async def watch(worker, execution):
        pinned = lambda: len(os.sched_getaffinity(worker.pid)) == 1  # noqa: E731
        await eventually_async(pinned, "the worker waits")
        waited_on.extend(os.sched_getaffinity(worker.pid))
        if woken == "by a call":
            assert worker.withdraw()
        else:
            await asyncio.sleep(execution.date + 0.05 - CLOCK.now())

    outcome = asyncio.run(Late().play(write(CORES), place, watch))
    assert waited_on == [cores[place.number % len(cores)]]
    assert decode_result(outcome.value) == cores


@pytest.mark.skipif(sys.platform != "linux", reason="no process has cores elsewhere")
def test_few_wait_wherever_the_kernel_has_them():
    """If there is a core for each, the kernel places them better."""
    before = os.sched_getaffinity(0)
    assert wait_on_one(0, len(before)) is None
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("source", ["return 7", "raise ValueError('no')"])
@pytest.mark.alone
def test_worker_of_a_crowd_reports_its_end_when_all_have_begun(write, source):
    """It leaves the cores to the others first; a traceback takes time, too."""
    late = Late()
    path = write(f"def task():\n    {source}\n")
    outcome = asyncio.run(late.play(path, Place(0, 1000)))
    assert outcome.summary == {"return 7": "7"}.get(source, "ValueError: no")
    assert late.ended_at - late.execution.date >= LONGEST_REST


@pytest.mark.alone
def test_slot_is_missed_where_the_machine_stood_still_over_it(write):
    """The worker wakes up first, and does not begin too late."""
    path = write(JOB)
    task, ends = start(path, tolerance=0.3)
    heard = []
    task.on("execution:missed", lambda context: heard.append(context.date.timestamp()))
    pid = call_between_slots(task)
    slot = find_next_slot()
    sleep_until(slot - 0.02)
    with stopped(get_supervisor()):
        with stopped(pid):
            sleep_until(slot + 0.5)
        pause(0.2)
    eventually(lambda: slot in heard, "the slot is missed")
    assert slot not in [end.date.timestamp() for end in ends]


def test_worker_that_is_killed_at_its_slot_is_replaced(write):
    """The run has failed, or the next worker runs it."""
    path = write(JOB)
    heard = Record(ipycron)  # before the first run
    task, ends = start(path, max_restarts=20)
    dice = random.Random(7)
    for number in range(1, 4):
        pid = call_between_slots(task)
        sleep_until(find_next_slot() + dice.uniform(-0.03, 0.003))
        os.kill(pid, signal.SIGKILL)
        heard.wait("task:restarted WorkerCrashed", count=number)
    task.stop().result(SECONDS)
    heard.wait("task:stopped")
    slots = Counter(e.date for e in ends if e.execution.reason == "scheduled")
    assert set(slots.values()) == {1}
    assert heard.count("execution:started") == sum(
        heard.count(name)
        for name in ("execution:finished", "execution:failed WorkerCrashed")
    )


@pytest.mark.alone
def test_worker_stands_by_on_a_descriptor_of_any_number(write):
    """A spawned worker inherits descriptor numbers: `select` ends at 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 4096:  # -1 is no limit
        pytest.skip("this user may not have so many descriptors (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    sleep_until(find_next_slot() - 0.4)
    ends = WorkerPipes()
    control = fcntl.fcntl(ends.fds[0], fcntl.F_DUPFD_CLOEXEC, 2000)
    edge = BlockingChannel(ends.ours, FromWorker)
    try:
        process = start_program("worker.program", (control, *ends.fds[1:]), os.getpid())
        ends.close_theirs()
        os.close(control)
        setting = Setting(b"/", {}, tuple(map(os.fsencode, sys.path)), 30, 1 << 20)
        job = FileJob(os.fsencode(write(JOB)))
        edge.send(Load("id", "name", EVERY_SECOND, "UTC", job, setting))
        assert edge.receive().message == Loaded(is_ok=True)
        ends.permit.give()
        slot = math.ceil(CLOCK.now())  # a worker declines what is too far away
        edge.send(StandBy("run", slot, slot + 1.0, rest=1.0))
        ended = edge.receive().message
        assert (ended.execution_id, ended.is_ok) == ("run", True)
        assert ended.started_at >= slot
        # Not when it was reported: the rest belongs to no run's duration.
        assert ended.started_at <= ended.finished_at < slot + 0.9
        assert CLOCK.now() > slot + 0.999  # by the clock of another process
        edge.send(Quit())
        assert process.wait(SECONDS) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        edge.close()
        ends.permit.close()
        for fd in (ends.stdout, ends.stderr, ends.lifeline):
            os.close(fd)


MEDDLER = """
import os
def find_permit():
    for fd in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{fd}"
        if os.path.lexists(path) and "eventfd" in os.readlink(path):
            return int(fd)
def task(ctx):
    permit = find_permit()
    try:
        os.read(permit, 8)
    except BlockingIOError:
        pass
    os.write(permit, (2**64 - 2).to_bytes(8, "little"))
"""


def test_job_that_fills_its_permit_runs_at_each_slot(write):
    """Its worker never stands by, and the schedule works without that."""
    # A busy machine may be late for a slot; none is left out.
    task, ends = start(write(MEDDLER), tolerance=10)
    heard = Record(task)
    eventually(lambda: len(ends) >= 3, "three runs")
    dates = [end.date.timestamp() for end in ends]
    assert dates == [dates[0] + number for number in range(len(dates))]
    assert not heard.count("execution:missed")
    task.stop().result(SECONDS)
    drain()
    for context in heard.of("execution:overlap"):  # a run that took a second, if any
        runs = [end.execution for end in ends]
        assert any(r.started_at <= context.date <= r.finished_at for r in runs)


@pytest.mark.parametrize("has_eventfd", [True, False])
def test_permit_is_taken_once(monkeypatch, has_eventfd):
    """By whichever of three tries first; with pipes, too."""
    if not has_eventfd:
        monkeypatch.delattr(os, "eventfd", raising=False)
    permit = make_permit()
    barrier = threading.Barrier(4)

    def take(_):
        taken = []
        for _ in range(200):
            barrier.wait(SECONDS)
            taken.append(Permit(permit.fd).take())
            barrier.wait(SECONDS)
        return taken

    with ThreadPoolExecutor(3) as pool:
        takers = pool.map(take, range(3))
        for _ in range(200):
            permit.give()
            assert permit.is_there()
            barrier.wait(SECONDS)
            barrier.wait(SECONDS)
            assert not permit.is_there()
    permit.close()
    assert [sum(each) for each in zip(*takers, strict=True)] == [1] * 200
