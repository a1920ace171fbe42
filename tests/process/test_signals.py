"""Signal handlers that use ipycron, and Ctrl-C, in fresh interpreters.

A handler runs on the main thread, between any two steps of what that is doing.
"""

import pytest
from fresh import run_fresh

BEGINNING = """
import json, os, signal, tempfile, threading, time
import ipycron

def send_later(seconds, number=signal.SIGTERM):
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()

def tell(*facts):
    print(json.dumps(facts))

heard = []
"""

IN_A_SHUTDOWN = """
def shut_down(*_):
    ipycron.shutdown(0.5)
    heard.append(task.status)

folder = tempfile.TemporaryDirectory()
go_on = folder.name + "/go-on"

def work():
    while not os.path.exists(go_on):
        time.sleep(0.01)

signal.signal(signal.SIGTERM, shut_down)
task = ipycron.schedule("0 0 1 1 *", work, background=True, stop_timeout=20)
task.execute()
while not task.is_busy:
    time.sleep(0.01)
pid = task.running[0].pid
"""

TWICE = """
send_later(0.1)
send_later(0.3)
while len(heard) < 2:
    time.sleep(0.01)
"""

WITHIN = """
send_later(0.2)
ipycron.shutdown(0.5)
while not heard:  # on a busy machine the signal may be late
    time.sleep(0.01)
"""

INTERRUPTED = """
send_later(0.2, signal.SIGINT)
try:
    ipycron.shutdown(20)
except KeyboardInterrupt:
    heard.append(task.status)
open(go_on, "w").close()
ipycron.shutdown(20)
heard.append(task.status)
"""

AT_THE_START_OF_A_THREAD = """
def shut_down(*_):
    ipycron.shutdown(1)
    tell("down", threading.active_count())
    os._exit(0)

signal.signal(signal.SIGTERM, shut_down)
start = threading.Thread.start

def start_and_signal(thread):
    start(thread)
    if thread.name == {name!r}:
        os.kill(os.getpid(), signal.SIGTERM)

threading.Thread.start = start_and_signal
ipycron.schedule("* * * * * *", lambda: None)
time.sleep(10)
"""

IS_GONE = """
import pathlib
tell(heard, pathlib.Path(f"/proc/{pid}").exists())
"""


def run(*parts):
    """Return a program's JSON output."""
    return run_fresh("".join((BEGINNING, *parts)))


@pytest.mark.parametrize("ending", [TWICE, WITHIN], ids=["twice", "within"])
def test_handler_shuts_down_within_a_shutdown(ending):
    """It returns once all is gone, like the shutdown that it interrupts."""
    heard, is_there = run(IN_A_SHUTDOWN, ending, IS_GONE)
    assert set(heard) == {"destroyed"}
    assert not is_there


def test_shutdown_after_one_that_was_interrupted_waits_for_its_end():
    """Ctrl-C only ends the wait."""
    heard, is_there = run(IN_A_SHUTDOWN, INTERRUPTED, IS_GONE)
    assert heard == ["running", "destroyed"]
    assert not is_there


@pytest.mark.parametrize(
    "name", ["ipycron", "ipycron-events", "ipycron-job", "ipycron-keepalive"]
)
def test_handler_shuts_down_while_a_thread_of_ours_is_started(name):
    """No lock is held that the shutdown, or a thread it waits for, needs."""
    told, _ = run(AT_THE_START_OF_A_THREAD.replace("{name!r}", repr(name)))
    assert told == "down"
