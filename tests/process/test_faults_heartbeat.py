"""Processes that exist but do not answer are noticed and replaced."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually, pause
from stalls import LONG
from trouble import get_supervisor, get_zygote, stopped
from watching import find_living_children, is_dead

import ipycron
from ipycron.client.background import ANSWER_TIMEOUT
from ipycron.errors import StartTimeout

NOTICED = 10
"""Seconds within which a process that hangs is noticed."""
PID = "import os\ndef task(): return os.getpid()\n"


@pytest.mark.parametrize(
    ("victim", "error"),
    [(get_supervisor, "SupervisorLost"), (get_zygote, "WorkerCrashed")],
)
def test_process_that_is_stopped_is_replaced(write, caplog, sleeper, victim, error):
    """It is noticed within ten seconds; its children go, tasks and starts continue."""
    path = write(PID)
    task = ipycron.create_task(EVERY_SECOND, path, max_restarts=0)
    events = Record(task)
    task.start().result(SECONDS)
    old = [victim(), get_zygote(), task.execute().result(SECONDS)]
    os.kill(old[0], signal.SIGSTOP)
    stopped_at = time.monotonic()
    other = ipycron.create_task(NEVER, path, name="other", start_timeout=20)
    start = other.start()
    eventually(lambda: "does not answer" in caplog.text, "it is noticed")
    seconds = time.monotonic() - stopped_at
    assert seconds < NOTICED + 2 or sleeper.end() > LONG, f"after {seconds:.1f} s"
    events.wait(f"task:restarted {error}")  # once another one is loaded
    start.result(SECONDS)
    assert other.execute().result(SECONDS) not in old
    assert task.execute().result(SECONDS) not in old
    eventually(lambda: all(is_dead(pid) for pid in old), "what was replaced is gone")
    assert not events.count("task:failed")


def test_start_names_the_zygote_when_that_does_not_answer(write):
    """The file itself is not what takes so long."""
    task = ipycron.create_task(NEVER, write(PID), name="report", start_timeout=0.5)
    with stopped(get_zygote()):
        with pytest.raises(StartTimeout, match=r"'report'.*zygote.*Start the task"):
            task.start().result(SECONDS)
        with pytest.raises(StartTimeout) as caught:
            task.start().result(SECONDS)
        assert "by itself" not in str(caught.value)


@pytest.mark.parametrize(
    "victims", [(get_supervisor,), (get_zygote,), (get_zygote, get_supervisor)]
)
def test_shutdown_keeps_its_time_when_processes_are_stopped(write, victims):
    """They are resumed, and end in order."""
    task = ipycron.create_task(NEVER, write(PID))
    task.start().result(SECONDS)
    pids = [get_supervisor(), get_zygote(), task.execute().result(SECONDS)]
    for find in victims:
        os.kill(find(), signal.SIGSTOP)
    begin = time.monotonic()
    ipycron.shutdown(0)
    assert time.monotonic() - begin < ANSWER_TIMEOUT
    eventually(lambda: all(is_dead(pid) for pid in pids), "everybody is gone")


CLIENT = """
import sys
import ipycron
task = ipycron.schedule("* * * * * *", sys.argv[1])
task.start().result(20)
print(task.execute().result(20), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("depth", [(1,), (2,), (1, 2), (1, 2, 3)])
def test_no_process_stays_when_stopped_processes_lose_their_client(
    write, tmp_path, depth
):
    """A supervisor (1), a zygote (2), a worker (3): resumed or killed, and gone."""
    program = tmp_path / "client.py"
    program.write_text(textwrap.dedent(CLIENT))
    client = subprocess.Popen(
        [sys.executable, program, write(PID)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with client:
        worker = int(client.stdout.readline())
        (supervisor,) = find_living_children(client.pid)
        (zygote,) = find_living_children(supervisor)
        family = [client.pid, supervisor, zygote, worker]
        for number in depth:
            os.kill(family[number], signal.SIGSTOP)
        pause(0.1)
        client.kill()
    eventually(lambda: all(is_dead(pid) for pid in family[1:]), "everybody is gone")
