"""Real kernels: interrupted, restarted, shut down, killed, twice in one folder."""

import contextlib
import re
import time
from pathlib import Path

import pytest
from kernel import BUSY, Kernel
from lengths import choose
from polling import eventually
from scores import score_test
from watching import find_marked, is_dead

TABLE = "faults: a real kernel"
LIMIT = 10.0
"""Seconds until all are gone: three, and what a busy machine adds."""
RESTARTS = choose(short=5, full=20)

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def row(request):
    """Count each test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


@pytest.fixture
def make_kernel(tmp_path):
    """Start kernels that end with the test."""
    kernels = []

    def make():
        temporary = tmp_path / f"tmp-{len(kernels)}"
        temporary.mkdir()
        own = {"TMPDIR": str(temporary), "IPYTHONDIR": str(tmp_path / "ipython")}
        kernels.append(Kernel(tmp_path, **own))
        return kernels[-1]

    yield make
    for kernel in kernels:
        kernel.close()


SCHEDULE = """
import ipycron
%load_ext ipycron
"""
SLOW = """%%cron @yearly --name slow --quiet
import time
time.sleep(2)
"done"
"""


def begin_slow_run(kernel):
    """Start a run of two seconds; return its worker's pid."""
    kernel.run(SCHEDULE)
    said = kernel.run(SLOW)
    assert "Error" not in said, said
    said = kernel.run("""
import threading
slow = ipycron.get_task("slow")
slow.start().result(30)
started = threading.Event()
slow.on("execution:started", lambda context: started.set())
end = slow.execute()
assert started.wait(20)
print(slow.running[0].pid)
""")
    assert said.strip().isdigit(), said
    return int(said)


def wait_for_nobody(kernel, pids):
    """Return once these processes are gone."""
    at = time.monotonic()
    eventually(lambda: all(is_dead(pid) for pid in pids), f"gone: {pids}")
    assert time.monotonic() - at < LIMIT


def test_run_survives_when_the_kernel_is_interrupted(make_kernel):
    """Ctrl-C in a notebook is meant for the cell, never for a job."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    cell = kernel.begin(BUSY)
    kernel.wait_for_text("busy")
    kernel.interrupt()
    assert "KeyboardInterrupt" in kernel.finish(cell)
    assert kernel.run("print(end.result(20))") == "done\n"


def test_restart_leaves_nothing_and_the_new_kernel_works(make_kernel):
    """No job of the old kernel runs next to the new one."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    before = {**kernel.find_others(), kernel.pid: "kernel"}
    assert len(before) >= 4  # kernel, supervisor, zygote, worker
    kernel.restart()
    wait_for_nobody(kernel, before)
    begin_slow_run(kernel)
    assert kernel.run("print(end.result(20))") == "done\n"


def test_shutdown_leaves_nothing(make_kernel):
    """A closed notebook has no jobs."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    everybody = [*kernel.find_others(), kernel.pid]
    kernel.shut_down()
    wait_for_nobody(kernel, everybody)


def test_death_of_the_kernel_leaves_nothing(make_kernel):
    """A kernel killed for its memory takes its jobs with it."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    everybody = [*kernel.find_others(), kernel.pid]
    kernel.kill()
    wait_for_nobody(kernel, everybody)


def test_death_amid_starts_leaves_nothing(make_kernel):
    """Workers being started end with their kernel."""
    kernel = make_kernel()
    kernel.run(SCHEDULE)
    kernel.begin(
        "for number in range(12):\n"
        "    ipycron.schedule('* * * * * *', lambda: 1, background=True)\n"
        "import time\ntime.sleep(60)"
    )
    eventually(lambda: len(kernel.find_others()) > 5, "workers come", 60)
    everybody = [*kernel.find_others(), kernel.pid]
    kernel.kill()
    wait_for_nobody(kernel, everybody)
    eventually(lambda: not find_marked(kernel.mark), "nobody came after")


def test_two_kernels_in_one_folder_do_not_meet(make_kernel):
    """Tasks with one name in two notebooks are two tasks."""
    kernels = make_kernel(), make_kernel()
    workers = [begin_slow_run(kernel) for kernel in kernels]
    kernels[0].kill()
    eventually(lambda: is_dead(workers[0]), "the first's worker is gone")
    assert not is_dead(workers[1])
    assert kernels[1].run("print(end.result(20))") == "done\n"


def list_abandoned():
    """Return the shared memory that no living process uses; others test as well."""
    folder = Path("/dev/shm")
    paths = folder.iterdir() if folder.exists() else ()
    names = {}
    for path in paths:
        with contextlib.suppress(OSError):  # gone meanwhile
            names[str(path.stat().st_ino)] = path.name
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            # By number: the C library renames a semaphore after it has mapped it.
            for number in re.findall(r"(\d+) +/dev/shm/", maps.read_text()):
                names.pop(number, None)
    return set(names.values())


def test_restarts_in_a_row_leave_nothing_anywhere(make_kernel, tmp_path):
    """No process, no file, no shared memory."""
    kernel = make_kernel()
    abandoned = list_abandoned()
    seen = set()
    for number in range(RESTARTS):
        kernel.run(SCHEDULE)
        kernel.run("%%cron * * * * * * --name often --quiet\nprint(1)")
        kernel.run("ipycron.get_task('often').start().result(20)")
        seen |= {*kernel.find_others(), kernel.pid}
        kernel.restart(now=number % 4 > 0)
    last = kernel.pid
    kernel.shut_down()
    wait_for_nobody(kernel, seen | {last})
    eventually(lambda: not find_marked(kernel.mark), "nobody came after")
    eventually(lambda: list_abandoned() <= abandoned, list_abandoned)
    assert list((tmp_path / "tmp-0").iterdir()) == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"ipython", "tmp-0"}
