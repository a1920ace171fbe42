"""Code that is called again by a signal handler, or a finalizer, in the middle of it.

Each program calls something over and over, and a timer's handler calls the same at any
line of it: on the same thread, which waits for ever if it takes a plain lock twice.
"""

from pathlib import Path

import pytest
from fresh import run_fresh

import ipycron

PROGRAM = """
import gc, itertools, json, signal, socket, sys, threading, time

{setup}

counts, depth = [0, 0], [0]

def handle(*_):
    counts[1] += 1
    if depth[0] < 20:  # a handler that is slower than the timer would go ever deeper
        depth[0] += 1
        call()
        depth[0] -= 1

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
end = time.monotonic() + {seconds}
while time.monotonic() < end or counts[1] < 20:
    counts[0] += 1
    call()
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps([*counts, {answer}]))
"""

FEED = """
from ipycron.notebook.display.feed import Feed

class View:
    outlives_process = False
    def note(self, task_ids): pass
    def push(self, now): return now + 0.01

feed = Feed()

def call():
    view = View()
    feed.attach(view)
    feed.note("task")
    feed.wake()
    feed.detach(view)
"""

CHANNEL = """
from ipycron.process.wire.channel import BlockingChannel
from ipycron.process.wire.payload import Payload
from ipycron.process.wire.protocol import FromWorker, Logged

ours, theirs = socket.socketpair()
sender, receiver = (BlockingChannel(s, FromWorker) for s in (ours, theirs))
numbers, seen = itertools.count(), set()

def receive():
    while (frame := receiver.receive()) is not None:
        assert bytes(frame.payload.open()) == frame.message.task_id.encode() * 8000
        seen.add(frame.message.task_id)

reader = threading.Thread(target=receive)
reader.start()

def call():
    text = f"{next(numbers):06d}"
    sender.send(Logged(text, ""), Payload(text.encode() * 8000))

def finish():
    ours.close()
    reader.join()
    return len(seen) == next(numbers)
"""

RECORD = """
from ipycron.executors.guest_output import Record

record, lines = Record(), itertools.count()

def call():
    record.write("stdout", b"%09d\\n" % next(lines))
    record.log({"msg": "text"})
"""

RUN = """
from ipycron.cli.foreground import Ends

ends = Ends([])

def call():
    ends.all_over.set()
    ends.all_over.wait()
    assert ends.all_over.is_set()
"""

PROGRAMS = {
    "a view's feed": (FEED, "feed._views == []"),
    "a worker's messages": (CHANNEL, "finish()"),
    "an executor's output": (RECORD, "record._sizes['stdout'] == 10 * next(lines)"),
    "the end of ipycron run": (RUN, "True"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_waits_for_itself_when_it_is_called_again_in_the_middle(name):
    """Both calls return, and what they did is complete."""
    setup, answer = PROGRAMS[name]
    program = PROGRAM.format(setup=setup, answer=answer, seconds=1.5)
    calls, handled, is_right = run_fresh(program)
    assert calls
    assert handled >= 20
    assert is_right


INTERRUPTED = """
import json, signal, time
from ipycron.client.completion import Flag

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
end, count = time.monotonic() + 4, 0
while time.monotonic() < end or count < 20:
    flag = Flag()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00005 + 0.0001 * (count % 7))
        while True:
            flag.wait(0.00001)
    except KeyboardInterrupt:
        count += 1
    flag.set()
print(json.dumps(flag.is_set()))
"""


def test_interrupted_wait_leaves_nothing_locked():
    """Ctrl-C in `wait()` may come at any line; the next event is reported all the same.

    One in 500 such interrupts leaves a `threading.Event` locked, and `set` hangs.
    """
    assert run_fresh(INTERRUPTED)


def test_plain_locks_are_used_for_waiting_only():
    """Whatever else is locked may be needed again in the middle of it."""
    root = Path(ipycron.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "threading.Lock()" in path.read_text()
    }
    # What a thread waits for: `Wakeup`, the pool's threads, the history's writer.
    assert found == {"client/completion.py", "client/threads.py", "runlog/writer.py"}
