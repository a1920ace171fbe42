"""A worker does not grow from run to run (R): the runs' garbage is collected."""

import contextlib
import textwrap

import psutil
import pytest
from house import NEVER
from polling import SECONDS, eventually, pause

import ipycron
from ipycron.client.jobs import Cell
from ipycron.process.wire.payload import Payload
from ipycron.process.worker.memory import MemoryKeeper

RUNS = 40
MIB = 1 << 20

FUNCTIONS = {
    "a cycle": """
        big = [bytearray(8 << 20)]
        big.append(big)
    """,
    "an error with the frame that handles it": """
        big = bytearray(8 << 20)
        try:
            1 / 0
        except ZeroDivisionError as error:
            kept = error
    """,
    "a failure with a closure": """
        big = bytearray(8 << 20)
        def inner(): return big
        raise ValueError("no") from KeyError(inner)
    """,
    "a failure that refers to itself": """
        error = ValueError("no")
        error.itself, error.big = error, bytearray(8 << 20)
        raise error
    """,
    "a result that refers to itself": """
        big = [bytearray(8 << 20)]
        big.append(big)
        return big
    """,
    "small objects": """
        rows = [{"row": i} for i in range(50_000)]
        rows.append(rows)
    """,
}
CELL_FAILURE = "def f():\n    big = bytearray(8 << 20)\n    1 / 0\nf()"
CELL_CYCLE = "def f():\n    big = [bytearray(8 << 20)]\n    big.append(big)\nf()"
SCRIPT = """
data = bytearray(8 << 20)
def use(): return data
class Holder:
    data = data
use()
"""


def find_processes():
    """Return all processes below this one."""
    return psutil.Process().children(recursive=True)


def measure():
    """Return the memory of all processes below this one."""
    total = 0
    for process in find_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def count_at_rest():
    """Return how many processes there are once none of them comes or goes."""
    known = []

    def is_at_rest():
        before, known[:] = known.copy(), find_processes()
        pause(0.3)
        return before == known

    eventually(is_at_rest, lambda: known)
    return len(known)


def check(task, runs=RUNS):
    """Run a task often; the memory of its processes must return to its level.

    A run of a script has a process of its own, which may still be going when the next
    one is there: what is left behind stays, that process does not.
    """
    task.start().result(SECONDS)
    # Between runs a script has a process if the next one is near, else none.
    crowd = count_at_rest()

    def run():
        task.execute().exception(SECONDS)

    run()
    run()
    # The process of a script's last run is gone.
    eventually(lambda: len(find_processes()) == crowd, find_processes)
    pause(0.2)
    limit = measure() * 1.1 + 5 * MIB
    for _ in range(runs):
        run()
        eventually(lambda: measure() < limit)


@pytest.mark.parametrize("body", FUNCTIONS.values(), ids=FUNCTIONS)
def test_function_leaves_no_garbage(body):
    """Finished or failed."""
    names = {"__name__": "__main__"}
    exec(
        "import gc\ndef job():\n" + textwrap.indent(textwrap.dedent(body), "    "),
        names,
    )
    check(ipycron.create_task(NEVER, names["job"], background=True))


def test_coroutine_leaves_no_garbage():
    """Its loop stays; what the run held does not."""

    async def job():
        big = bytearray(8 << 20)

        async def fail():
            return big[len(big)]

        await fail()

    check(ipycron.create_task(NEVER, job, background=True))


@pytest.mark.parametrize("source", [SCRIPT, SCRIPT + "1 / 0"], ids=["ends", "fails"])
def test_script_leaves_no_garbage(write, source):
    """Functions and classes refer to all of its module."""
    check(ipycron.create_task(NEVER, write(source)))


@pytest.mark.parametrize("source", [CELL_FAILURE, CELL_CYCLE], ids=["fails", "ends"])
def test_cell_leaves_no_garbage(source):
    """IPython's traceback keeps no frame of the cell."""
    cell = Cell(source=source, filename="<cell it>", payload=Payload())
    check(ipycron.create_task(NEVER, cell, start_timeout=20))


def test_run_leaves_no_figures_and_a_file_keeps_its_own(write):
    """Pyplot's figures are closed after a run, unless they were open before."""
    path = write("""
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        plt.figure(77)
        def task():
            plt.figure().gca().plot(range(10_000))
            return plt.get_fignums()
    """)
    task = ipycron.create_task(NEVER, path, start_timeout=20)
    task.start().result(SECONDS)
    numbers = [task.execute().result(SECONDS) for _ in range(3)]
    assert numbers == [[77, 78]] * 3


def test_brief_runs_are_not_measured(monkeypatch):
    """A call takes 30 µs, reading the size five."""
    looks = []
    monkeypatch.setattr(
        "ipycron.process.worker.memory.read_size", lambda: looks.append(1) or 1 << 20
    )
    keeper = MemoryKeeper()
    for _ in range(32):
        keeper.clean(0.00003)
    assert len(looks) == 2
    keeper.clean(0.01)
    assert len(looks) == 3
