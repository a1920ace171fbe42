"""A job in a shared process: what it may use and what it must leave unchanged."""

# ruff: noqa: T201 - tests check what guests print

import contextlib
import io
import logging
import os
import pickle
import sys
import tempfile
import threading
import time
from dataclasses import replace

import pytest

from ipycron.executors import guest_output
from ipycron.executors.guest import (
    RemoteRun,
    find_place,
    find_software,
    run_guest,
    unpack_report,
)
from ipycron.executors.pools import describe_loss, describe_refusal
from ipycron.process.wire.outcome import decode_error, decode_result
from ipycron.process.wire.payload import Payload, pack_object
from ipycron.process.wire.protocol import FileJob, FunctionJob, Load, Run, Setting
from ipycron.scheduling.clock import SystemClock

AWAY = ("elsewhere", 1)


def make_remote_run(job, **changes):
    """Return a run of a function, or of a file with its source."""
    source = None
    payload = b""
    if isinstance(job, FileJob):
        source = changes.pop("source")
    else:
        payload = bytes(pack_object(job).open())
        job = FunctionJob()
    level = changes.pop("level", logging.WARNING)
    setting = Setting(b"", {}, (), level, changes.pop("max_result_bytes", 1 << 20))
    remote_run = RemoteRun(
        load=Load("id", "report", "* * * * *", "Europe/Berlin", job, setting),
        run=Run("run", "scheduled", 1_795_503_600.0, 1_795_503_600.5),
        payload=payload,
        source=source,
        home=AWAY,
        software=find_software(),
    )
    return replace(remote_run, **changes)


def run(job, **changes):
    """Run a job in this process as on an executor; return the report."""
    return unpack_report(run_guest(pickle.dumps(make_remote_run(job, **changes))))


def get_error(report):
    """Return the error of a report of a failure."""
    assert not report.is_ok
    return decode_error(Payload(report.payload))


@contextlib.contextmanager
def hosting():
    """Give the host its own streams. Not a fixture: pytest sets its own later."""
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        yield streams
        assert (sys.stdout, sys.stderr) == streams


def test_job_receives_the_context_of_a_worker():
    """It receives the same context as in a worker, with this process's pid."""
    ctx = decode_result(Payload(run(lambda ctx: ctx).payload))
    assert ctx.date_local_iso == "2026-11-24T08:00:00+01:00"
    assert (ctx.task.name, ctx.execution.reason) == ("report", "scheduled")


def test_scheduled_run_waits_for_this_machines_clock():
    """If this machine's clock is slightly behind, the run begins at its slot by it."""
    slot = SystemClock().now() + 0.25
    remote_run = Run("run", "scheduled", slot, slot)
    shown = decode_result(Payload(run(_read_clocks, run=remote_run).payload))
    assert min(shown) >= slot


def _read_clocks():
    # The slow one is the kernel's coarse clock, which dates files.
    with tempfile.NamedTemporaryFile() as file:
        return SystemClock().now(), os.fstat(file.fileno()).st_mtime


@pytest.mark.parametrize("reason", ["scheduled", "invoked"])
def test_run_does_not_wait_for_a_clock_that_is_wrong(reason):
    """A clock minutes behind is reported; a manual run never waits."""
    began = time.monotonic()
    ahead = SystemClock().now() + 600
    report = run(lambda: 1, run=Run("run", reason, ahead, 0.0))
    assert time.monotonic() - began < 5
    told = [entry["msg"] for entry in report.logs]
    assert told == [] if reason == "invoked" else "behind the one that" in told[0]


def test_output_is_the_guests_own():
    """Its output is returned in order, text and bytes alike."""

    def talk():
        print("one")
        sys.stderr.write("two\n")
        sys.stdout.buffer.write(b"\xff\n")
        print("three \udcff", flush=True)
        assert not sys.stdout.isatty()
        assert sys.stdout.encoding == "utf-8"

    with hosting() as host:
        assert run(talk).pieces == [
            ("stdout", b"one\n", 0, 0),
            ("stderr", b"two\n", 0, 0),
            ("stdout", b"\xff\nthree \\udcff\n", 0, 0),
        ]
    assert [stream.getvalue() for stream in host] == ["", ""]


def test_output_of_others_passes():
    """Other threads, of the host or the job, print where they always do."""

    def talk():
        print("mine")
        call_in_thread(print, "of a thread")

    with hosting() as host:
        assert run(talk).pieces == [("stdout", b"mine\n", 0, 0)]
    assert host[0].getvalue() == "of a thread\n"


def test_outputs_are_kept_apart_when_guests_meet():
    """Two runs in two threads; the last one restores the streams."""
    meeting = threading.Barrier(2, timeout=10)
    pieces = {}

    def remote_run(word):
        # Not by `run`: the barrier cannot be packed.
        with guest_output.record_output(None) as record:
            meeting.wait()
            for _ in range(100):
                print(word)
            meeting.wait()
        pieces[word] = record.get_pieces()

    threads = [threading.Thread(target=remote_run, args=[word]) for word in ("a", "b")]
    with hosting():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for word in ("a", "b"):
        assert pieces[word] == [("stdout", f"{word}\n".encode() * 100, 0, 0)]


def test_output_is_bounded_when_a_job_floods():
    """Head and tail of each stream, with the number of bytes in between."""
    size = 3 * guest_output.HEAD_BYTES

    def flood():
        for _ in range(size // 64):
            sys.stdout.write("x" * 64)
        sys.stderr.write("end")

    head, _, tail = run(flood).pieces
    assert len(head[1]) == guest_output.HEAD_BYTES
    assert len(tail[1]) == guest_output.TAIL_BYTES
    assert tail[2] == size - len(head[1]) - len(tail[1])


# --- the log --------------------------------------------------------------------------


class Taker(logging.Handler):
    """A handler of the host."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        """Store the text."""
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def logging_as_host(*handlers):
    """Give the root logger these handlers and the level WARNING."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    try:
        yield
        assert root.handlers == list(handlers)
        assert root.level == logging.WARNING
        assert not any(handler.filters for handler in handlers)
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])


def call_in_thread(function, *args):
    """Call from a thread that belongs to no run."""
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def test_log_goes_home_from_the_level_that_home_wants():
    """The host does not see these records, nor more of its own."""

    def talk():
        log = logging.getLogger("job")
        log.debug("too little")
        log.info("number %d", 7)
        call_in_thread(logging.getLogger("host").info, "no")
        call_in_thread(logging.getLogger("host").error, "yes")

    taker = Taker()
    with logging_as_host(taker):
        (record,) = run(talk, level=logging.INFO).logs
    assert (record["name"], record["msg"]) == ("job", "number 7")
    assert taker.texts == ["yes"]


def test_log_stays_when_the_guest_is_at_home():
    """In the client's own process, a record must not be handled twice."""
    taker = Taker()
    with logging_as_host(taker):
        report = run(lambda: logging.getLogger("job").error("seen"), home=find_place())
    assert report.logs == []
    assert taker.texts == ["seen"]


def test_host_without_handlers_keeps_its_last_resort():
    """Our handler must not count as the host's own."""

    def talk():
        call_in_thread(logging.getLogger("host").error, "seen")

    with logging_as_host(), hosting() as host:
        assert run(talk).logs == []
    assert host[1].getvalue() == "seen\n"


def test_log_is_bounded_when_a_job_floods(monkeypatch):
    """Further records are only counted."""
    monkeypatch.setattr(guest_output, "MAX_LOGS", 10)

    def talk():
        for number in range(15):
            logging.getLogger("job").error("%d", number)

    with logging_as_host(Taker()):
        logs = run(talk).logs
    assert len(logs) == 11
    assert logs[-1]["msg"] == "5 log records of this run were left out"


# --- what is lent ---------------------------------------------------------------------


def test_script_is_main_and_gives_it_back():
    """`__main__`, `sys.argv` and the path are restored."""
    main, argv, path = sys.modules["__main__"], sys.argv, list(sys.path)
    job = FileJob(b"/nowhere/script.py", (b"x",))
    source = b"import sys\nprint(__name__, __file__, sys.argv)\nclass A: pass\n"
    report = run(job, source=source)
    assert report.pieces == [
        ("stdout", b"__main__ /nowhere/script.py ['/nowhere/script.py', 'x']\n", 0, 0)
    ]
    assert sys.modules["__main__"] is main
    assert sys.argv is argv
    assert [folder for folder in sys.path if folder not in path] == ["/nowhere"]
    run(job, source=source)
    assert sys.path.count("/nowhere") == 1
    sys.path.remove("/nowhere")


FILE = b"""
class Odd(Exception):
    pass
def task(ctx):
    raise Odd(ctx.task.name)
"""


def test_file_leaves_no_module_behind():
    """Its errors are sent by value and quote its text, which is on no disk."""
    before = set(sys.modules)
    report = run(FileJob(b"/nowhere/odd_job.py"), source=FILE)
    error = get_error(report)
    assert (type(error).__name__, error.args) == ("Odd", ("report",))
    assert "    raise Odd(ctx.task.name)\n" in str(error.__cause__)
    assert "odd_job" not in set(sys.modules) - before
    sys.path.remove("/nowhere")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"task = 3", "odd_job.py defines task as int, expected a function."),
        (b"raise OSError('no')\ndef task(): 0", "no"),
        (b"def task(a, b): 0", "the job requires the arguments (a, b)"),
        (b"def task(:", "invalid syntax"),
        (b"# coding: nonsense\n", "unknown encoding: nonsense"),
    ],
)
def test_file_that_cannot_be_loaded_is_a_failed_run(source, text):
    """The errors are the same as in a worker."""
    before = set(sys.modules), list(sys.path)
    error = get_error(run(FileJob(b"/nowhere/odd_job.py"), source=source))
    assert text in str(error)
    assert "odd_job" not in set(sys.modules) - before[0]
    sys.path[:] = before[1]


def test_scripts_run_one_at_a_time():
    """There is only one `__main__`; functions do not wait for it."""
    job = FileJob(b"/nowhere/script.py")
    source = (
        b"import sys, test_guest_state as state\n"
        b"state.count += 1\nassert state.count == 1\n"
        b"state.pause()\nstate.count -= 1\n"
    )
    state = type(sys)("test_guest_state")
    state.count = 0
    state.pause = lambda: threading.Event().wait(0.02)
    sys.modules["test_guest_state"] = state
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(run(job, source=source)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del sys.modules["test_guest_state"]
    sys.path.remove("/nowhere")
    assert [report.is_ok for report in reports] == [True] * 4


# --- what is refused ------------------------------------------------------------------


def test_script_is_refused_in_the_process_that_sends_it():
    """It would replace the `__main__` of a notebook."""
    report = run(FileJob(b"/nowhere/a.py"), source=b"", home=find_place())
    assert "Use an executor of other processes" in str(get_error(report))


@pytest.mark.parametrize(
    ("software", "text"),
    [
        (("9.9.9", find_software()[1]), "ipycron 9.9.9 has sent the job"),
        ((find_software()[0], "3.2"), "Python 3.2 has sent a function"),
    ],
)
def test_function_is_refused_when_the_sides_differ(software, text):
    """Bytecode of another Python version could do anything."""
    report = run(lambda: 1, software=software)
    assert text in str(get_error(report))


def test_file_is_taken_when_only_python_differs():
    """Source text does not depend on the version."""
    software = find_software()[0], "3.2"
    report = run(FileJob(b"/nowhere/a.py"), source=b"def task(): 0", software=software)
    assert report.is_ok
    sys.path.remove("/nowhere")


def test_coroutines_end_with_their_run():
    """The run's loop is closed; unfinished tasks do not affect the result."""

    async def job():
        import asyncio  # noqa: PLC0415 - as jobs do

        task = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        return task.done()

    report = run(job)
    assert decode_result(Payload(report.payload)) is False


def test_process_exit_is_a_failed_run():
    """A job's `sys.exit` must not end its host."""
    report = run(lambda: sys.exit(3))
    assert report.summary == "SystemExit: 3"


def test_error_of_an_executor_is_described_in_one_line():
    """What to do about it follows, and views show an error's first line."""
    error = RuntimeError("a worker was killed.\n\nThe exit codes are {EXIT(3)}")
    said = "RuntimeError: a worker was killed. The exit codes are {EXIT(3)}."
    assert describe_loss(error) == f"lost the run: {said}"
    assert describe_refusal(error) == f"refused the run: {said}"
