"""Jobs that produce too much output: nothing else waits, and nothing grows.

Other tasks run every second meanwhile; their lateness and the memory of client and
supervisor are printed in the summary.
"""

import gc
import logging
import os
import re

import pytest
from gauge import WATCHERS, Gauge
from house import EVERY_SECOND, NEVER
from lengths import choose
from polling import eventually, pause
from scores import count_score
from trouble import get_supervisor
from watching import count_descriptors

import ipycron
from ipycron.client.jobs import Cell
from ipycron.client.registry import registry
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import Preload

TABLE = "floods"
MAX_GROWN = 100_000_000
MAX_LATE = 0.1
KEPT = 512 * 1024
MEGABYTES = choose(short=250, full=1000)
"""Printed in one run; more than client and supervisor together may grow by."""
RECORDS = choose(short=30_000, full=100_000)

pytestmark = pytest.mark.alone


@pytest.fixture
def gauge(tmp_path, request):
    """Measure during the test, then compare with the limits."""
    with Gauge(tmp_path) as gauge:
        yield gauge
        gauge.wait_for_runs(2 * WATCHERS)
    row = request.node.originalname.removeprefix("test_")
    is_lost = gauge.excess > MAX_LATE or max(gauge.grown.values()) > MAX_GROWN
    count_score(request, TABLE, row, lost=is_lost, note=str(gauge))
    assert gauge.excess <= MAX_LATE, str(gauge)
    assert max(gauge.grown.values()) <= MAX_GROWN, str(gauge)


def run(job, **options):
    """Run a job once in a worker; return the task, with its result and output."""
    task = ipycron.create_task(NEVER, job, **options)
    task.start().result(30)
    task.execute().result(60)
    return task


def check_cut(text, head, tail):
    """Check that a text is a head, a line about what is missing, and a tail."""
    assert text.startswith(head)
    assert text.rstrip().endswith(tail)
    assert " bytes left out …" in text
    assert len(text) < 2 * KEPT


def test_hundreds_of_megabytes_printed_are_head_and_tail(gauge, write):
    """The job waits while printing; what is kept says what is missing."""
    task = run(
        write(f"""
        import os
        block = b"0123456789abcde\\n" * 65536
        def task():
            print("the beginning", flush=True)
            for _ in range({MEGABYTES}):
                os.write(1, block)
            print("the end")
    """)
    )
    output = task.last_run.output
    check_cut(output.stdout, "the beginning\n0123", "abcde\nthe end")


def test_a_line_of_200_mb_is_head_and_tail(gauge, write):
    """An endless line is not special."""
    task = run(
        write("""
        import sys
        def task():
            print("start", end="")
            sys.stdout.write("x" * 200_000_000)
            print("end")
    """)
    )
    check_cut(task.last_run.output.stdout, "startxxx", "xxxend")


def test_invalid_utf_8_is_shown_as_such(gauge, write):
    """Invalid UTF-8 becomes replacement characters, in a flood as well."""
    task = run(
        write("""
        import os
        block = bytes(range(128, 256)) * 8192
        def task():
            os.write(1, "é".encode() + block)
            for _ in range(40):
                os.write(1, block)
            os.write(1, "ü".encode())
    """)
    )
    check_cut(task.last_run.output.stdout, "é�", "ü")


def make_cell(source):
    """Return a cell like the notebook's, without captured variables."""
    return Cell(source=source, filename="<cell flood>", payload=Payload())


def test_100_000_displays_end_with_the_newest(gauge):
    """The last displays are there, and the others are counted."""
    registry.client.warm(Preload((), shell=True))
    task = run(
        make_cell("""
from IPython.display import display
for number in range(100_000):
    display({"text/plain": f"display {number}"}, raw=True)
"""),
        start_timeout=30,
    )
    output = task.last_run.output
    assert output.displays[-1].data == {"text/plain": "display 99999"}
    left_out = re.findall(r"([\d,]+) displays left out", output.stderr)
    shown = len(output.displays) + output.dropped_displays
    assert shown + sum(int(n.replace(",", "")) for n in left_out) == 100_000


class Counting(logging.Handler):
    """Counts the job's records, slowly; stores ipycron's own."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.said = ""

    def emit(self, record):
        """Count a record."""
        if record.name == "chatty":
            self.count += 1
            pause(0.00005)
        else:
            self.said += record.getMessage()


def test_log_records_are_handled_or_counted(gauge, write):
    """A handler slower than the job loses records, but uses no memory."""
    handler = Counting()
    logging.getLogger().addHandler(handler)
    try:
        task = run(
            write(f"""
            import logging
            def task():
                for number in range({RECORDS}):
                    logging.getLogger("chatty").warning("record %d", number)
        """)
        )

        def count():
            said = handler.said + task.last_run.output.stderr
            left_out = re.findall(r"([\d,]+) log records", said)
            return handler.count + sum(int(n.replace(",", "")) for n in left_out)

        eventually(lambda: count() >= RECORDS, "all are accounted for", 30)
        assert count() == RECORDS
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_result_of_500_mb_passes_by(gauge, write):
    """It is sent as a descriptor, can be read, and is closed again."""
    path = write("def task(): return bytearray(b'abcde') * 100_000_000")
    pids = os.getpid(), get_supervisor()
    before = [count_descriptors(pid) for pid in pids]
    task = ipycron.create_task(NEVER, path, max_result_bytes=10**9)
    task.start().result(30)
    assert task.execute().exception(60) is None
    gauge.stop()  # who asks for it has it in memory
    result = task.last_run.result
    assert len(result) == 500_000_000
    assert result[-5:] == b"abcde"
    task.destroy().result(30)
    del task, result
    gc.collect()

    def count():
        return [count_descriptors(pid) for pid in pids]

    eventually(lambda: count() <= before, f"{before}, {count()}", 5)


def test_an_exception_of_50_mb_is_shortened(gauge, write):
    """Its type and the beginning of its text arrive."""
    task = ipycron.create_task(
        NEVER, write("def task(): raise ValueError('long' * 12_500_000)")
    )
    task.start().result(30)
    error = task.execute().exception(30)
    assert "ValueError" in f"{type(error).__name__}: {error}"
    assert str(error).endswith("more characters)") or len(str(error)) == 50_000_000
    assert len(task.last_run.summary) < 400


def test_50_tasks_printing_without_pause_wait_for_the_others(gauge, write):
    """However many tasks flood, fires are on time."""
    path = write("""
        import os, time
        block = b"x" * 65536
        def task():
            end = time.monotonic() + 2.5
            while time.monotonic() < end:
                os.write(1, block)
    """)
    tasks = [ipycron.create_task(NEVER, path, start_timeout=30) for _ in range(50)]
    for task in tasks:
        task.start()
    ends = [task.execute() for task in tasks]
    for end in ends:
        end.result(60)
    assert all(task.last_run.output.size <= 2 * KEPT for task in tasks)


def test_5_tasks_displaying_without_pause_wait_for_the_others(gauge, write):
    """Messages are bounded like pipes."""
    registry.client.warm(Preload((), shell=True))
    cell = make_cell("""
import time
from IPython.display import display
end = time.monotonic() + 2.5
while time.monotonic() < end:
    display({"text/plain": "x" * 10_000}, raw=True)
""")
    tasks = [ipycron.create_task(NEVER, cell, start_timeout=30) for _ in range(5)]
    for task in tasks:
        task.start()
    for end in [task.execute() for task in tasks]:
        end.result(60)
    assert all(task.last_run.output.displays for task in tasks)


def test_events_of_100_tasks_are_all_delivered(gauge, write):
    """No event is lost if nothing is too large."""
    path = write("def task(): return 1")
    tasks = [
        ipycron.create_task(EVERY_SECOND, path, start_timeout=30) for _ in range(100)
    ]
    told = []
    for task in tasks:
        task.on("execution:started", lambda c: told.append(c.execution.id))
        task.on("execution:finished", lambda c: told.append(c.execution.id))
    for task in tasks:
        task.start()
    eventually(lambda: len(told) > 400, "400 events", 40)
    for end in [task.stop() for task in tasks]:
        end.result(30)
    assert all(told.count(run_id) == 2 for run_id in set(told))
