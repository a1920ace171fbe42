"""Hosts that fork while a supervisor is started, and what the children can do."""

import signal
import sys

import pytest

PYTHON = (sys.executable, "-W", "error", "app.py")
FORKS = """
import ipycron, os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def fork(count):
    children = []
    for _ in range(count):
        if not (pid := os.fork()):
            time.sleep(60)
            os._exit(0)
        children.append(pid)
    return children

def end(children):
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
"""


def test_start_comes_through_while_the_host_forks(start):
    """Whichever thread starts the supervisor: no child keeps its pipes open.

    With one that does, the start ends with the child, and the shutdown takes 20 s.
    """
    program = start(
        *PYTHON,
        app=f"""{FORKS}
for pause in (0.003, 0.006, 0.012):
    # The engine is there: its thread starts the supervisor, and we fork meanwhile.
    ipycron.schedule("0 0 1 1 *", lambda: 1).execute().result()
    task = ipycron.schedule("0 0 1 1 *", "tick.py", start_timeout=30)
    begin = time.monotonic()
    while time.monotonic() < begin + pause:
        pass
    children = fork(3)
    task.execute().result(30)
    ipycron.shutdown()
    taken = time.monotonic() - begin
    assert taken < 18, f"after {{pause}}: {{taken}}"
    end(children)
""",
    )
    assert program.wait() == 0, program.stderr


def test_start_comes_through_while_another_thread_forks(start):
    """The main thread starts the supervisor while another forks continuously."""
    program = start(
        *PYTHON,
        app=f"""{FORKS}
children = []
def fork_on():
    while not is_over.is_set() and len(children) < 300:
        children.extend(fork(1))
        is_over.wait(0.002)
is_over = threading.Event()
thread = threading.Thread(target=fork_on)
thread.start()
try:
    for _ in range(2):
        begin = time.monotonic()
        task = ipycron.schedule("0 0 1 1 *", "tick.py", start_timeout=30)
        task.execute().result(30)
        ipycron.shutdown()
        taken = time.monotonic() - begin
        assert taken < 18, taken
finally:
    is_over.set()
    thread.join()
    end(children)
""",
    )
    assert program.wait() == 0, program.stderr


def test_supervisor_ends_with_its_client_whatever_children_live_on(start):
    """A child forked in the middle of a start keeps nothing alive."""
    program = start(
        *PYTHON,
        app=f"""{FORKS}
ipycron.schedule("0 0 1 1 *", lambda: 1).execute().result()
task = ipycron.schedule("0 0 1 1 *", "tick.py")
for _ in range(10):
    fork(1)
    time.sleep(0.001)
task.execute().result(30)
print("ready", flush=True)
time.sleep(60)
""",
    )
    program.wait_line("ready")
    assert program.find_ours()
    program.end(signal.SIGKILL)
    program.wait_gone()


@pytest.mark.parametrize("kind", ["'tick.py'", "lambda: 1"])
def test_task_is_inert_in_a_copy_and_says_so(start, kind):
    """Nothing hangs or affects the parent there, and a new task runs."""
    program = start(
        *PYTHON,
        app=f"""{FORKS}
task = ipycron.schedule("* * * * * *", {kind}, name="tick")
is_over = threading.Event()  # once the copy has ended, however long that takes
pending = ipycron.schedule("0 0 1 1 *", lambda: is_over.wait(60)).execute()
task.execute().result()
parent = os.getpid()
if not (pid := os.fork()):
    for wait in (
        lambda: task.execute().result(30),
        lambda: task.start().result(30),
        lambda: pending.result(30),
    ):
        try:
            wait()
        except ipycron.errors.TaskNotInherited as error:
            assert error.pid == parent, error
        else:
            raise AssertionError("it waited")
    assert (task.status, task.next_run, task.is_busy) == ("stopped", None, False)
    task.stop().result(30)
    task.destroy().result(30)
    task.on("*", print).ref().unref()
    task.last_run, task.history, repr(task)
    assert not ipycron.get_tasks()
    own = ipycron.schedule("* * * * * *", {kind}, name="tick")
    own.execute().result(30)
    ipycron.shutdown()
    sys.stderr.flush()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert not pending.done()
is_over.set()
task.execute().result(30)
assert task.status != "stopped"
ipycron.shutdown()
""",
    )
    assert program.wait() == 0, program.stderr
