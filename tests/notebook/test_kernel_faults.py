"""Real kernels: interrupted, restarted, shut down, killed, twice in one folder."""

import os
import signal
import time
import uuid
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from lengths import choose
from scores import score_test
from watching import MARK, find_marked, is_dead, pause, wait_until

TABLE = "faults: a real kernel"
DEADLINE = 60
GOAL = 3.0
RESTARTS = choose(short=5, full=20)

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def row(request):
    """Count each test in the table."""
    score_test(request, TABLE, request.node.originalname.removeprefix("test_"))


class Kernel:
    """A kernel and a client of it, found again by a mark in its environment."""

    def __init__(self, folder):
        self.mark = uuid.uuid4().hex
        self.temporary = folder / f"tmp-{self.mark}"
        self.temporary.mkdir()
        env = os.environ | {MARK: self.mark, "TMPDIR": str(self.temporary)}
        env["IPYTHONDIR"] = str(folder / "ipython")
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=str(folder), env=env)
        self._connect()

    def _connect(self):
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=DEADLINE)

    @property
    def pid(self):
        """The kernel's process."""
        return self._manager.provisioner.pid

    def run(self, source):
        """Run a cell; return what it prints, or its error."""
        said = []

        def hear(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            elif message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}")

        reply = self._client.execute_interactive(
            source, output_hook=hear, timeout=DEADLINE
        )
        assert reply["content"]["status"] != "aborted"
        return "".join(said)

    def begin(self, source):
        """Run a cell and do not wait for it; return its message's id.

        Its error aborts no cell that comes after it.
        """
        return self._client.execute(source, stop_on_error=False)

    def wait_for_reply(self, message_id):
        """Return how a cell ended that was begun: "ok" or "error"."""
        while True:
            reply = self._client.get_shell_msg(timeout=DEADLINE)
            if reply["parent_header"].get("msg_id") == message_id:
                return reply["content"]["status"]

    def interrupt(self):
        """Interrupt, as the stop button does."""
        self._manager.interrupt_kernel()

    def restart(self, *, now=False):
        """Restart; return when the new kernel answers."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=now)
        self._connect()

    def shut_down(self, *, now=False):
        """Shut down, as closing the notebook does."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=now)

    def kill(self):
        """Kill the kernel as the system would."""
        os.kill(self.pid, signal.SIGKILL)

    def find_others(self):
        """Return the processes below the kernel, the kernel's own not."""
        return {p: c for p, c in find_marked(self.mark).items() if p != self.pid}

    def close(self):
        """End it, whatever state it is in, and let go of everything."""
        if self._manager.has_kernel:
            self.shut_down(now=True)
        self._client.stop_channels()
        self._manager.cleanup_resources()
        self._manager.context.destroy()


@pytest.fixture
def make_kernel(tmp_path):
    """Start kernels that end with the test."""
    kernels = []

    def make():
        kernels.append(Kernel(tmp_path))
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
    """Have a run of two seconds in progress; return its worker's pid."""
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
assert started.wait(10)
print(slow.running[0].pid)
""")
    return int(said)


def wait_for_nobody(kernel, pids):
    """Return when these processes are gone."""
    at = time.monotonic()
    wait_until(lambda: all(is_dead(pid) for pid in pids), 10, f"gone: {pids}")
    assert time.monotonic() - at < 2 * GOAL


def test_run_survives_when_the_kernel_is_interrupted(make_kernel):
    """Ctrl-C in a notebook is for the cell, never for a job."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    cell = kernel.begin("import time\ntime.sleep(60)")
    pause(0.5)
    kernel.interrupt()
    assert kernel.wait_for_reply(cell) == "error"
    assert kernel.run("print(end.result(20))") == "done\n"


def test_restart_leaves_nothing_and_the_new_kernel_works(make_kernel):
    """No job of the old kernel lives on beside the new one."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    before = {**kernel.find_others(), kernel.pid: "kernel"}
    assert len(before) >= 4  # kernel, supervisor, zygote, worker
    kernel.restart()
    wait_for_nobody(kernel, before)
    begin_slow_run(kernel)
    assert kernel.run("print(end.result(20))") == "done\n"


def test_shutdown_leaves_nothing(make_kernel):
    """A notebook that is closed has no jobs."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    everybody = [*kernel.find_others(), kernel.pid]
    kernel.shut_down()
    wait_for_nobody(kernel, everybody)


def test_death_of_the_kernel_leaves_nothing(make_kernel):
    """A kernel that runs out of memory takes its jobs with it."""
    kernel = make_kernel()
    begin_slow_run(kernel)
    everybody = [*kernel.find_others(), kernel.pid]
    kernel.kill()
    wait_for_nobody(kernel, everybody)


def test_death_amid_starts_leaves_nothing(make_kernel):
    """Workers on their way into life follow their kernel out of it."""
    kernel = make_kernel()
    kernel.run(SCHEDULE)
    kernel.begin(
        "for number in range(12):\n"
        "    ipycron.schedule('* * * * * *', lambda: 1, background=True)\n"
        "import time\ntime.sleep(60)"
    )
    wait_until(lambda: len(kernel.find_others()) > 5, 20, "workers come")
    everybody = [*kernel.find_others(), kernel.pid]
    kernel.kill()
    wait_for_nobody(kernel, everybody)
    wait_until(lambda: not find_marked(kernel.mark), GOAL, "nobody came after")


def test_two_kernels_in_one_folder_do_not_meet(make_kernel):
    """Tasks of one name in two notebooks are two tasks."""
    kernels = make_kernel(), make_kernel()
    workers = [begin_slow_run(kernel) for kernel in kernels]
    kernels[0].kill()
    wait_until(lambda: is_dead(workers[0]), 10, "the first's worker is gone")
    assert not is_dead(workers[1])
    assert kernels[1].run("print(end.result(20))") == "done\n"


def list_shared():
    """Return what is in shared memory under a name."""
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_restarts_in_a_row_leave_nothing_anywhere(make_kernel, tmp_path):
    """Restarts leave no process, no file, no shared memory."""
    kernel = make_kernel()
    shared = list_shared()
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
    assert not find_marked(kernel.mark)
    assert list_shared() <= shared
    assert list(kernel.temporary.iterdir()) == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"ipython", kernel.temporary.name}
