"""Exceptions raised by signal handlers between any two steps of a call (R9)."""

import pytest
from fresh import run_fresh
from house import NEVER
from polling import SECONDS

import ipycron
from ipycron.client.registry import registry

# In an interpreter of its own: pytest's limit of time is a timer, too.
STORM = """
import json, random, signal, sys, time
from pathlib import Path
import ipycron

def wait_until_idle():
    end = time.monotonic() + 15
    while (task.is_busy or task.status == "running") and time.monotonic() < end:
        time.sleep(0.001)

def interrupt(*_):
    raise KeyboardInterrupt

path = Path(sys.argv[1])
path.write_text(
    "def task():\\n    with open(__file__ + '.runs', 'a') as runs: runs.write('x')"
)
task = ipycron.create_task("0 0 1 1 *", path, start_timeout=60)
task.start().result(20)
for _ in range(3):
    task.execute().result(20)
    time.sleep(0.02)
signal.signal(signal.SIGALRM, interrupt)
dice, count, late = random.Random(%d), 0, 0
for _ in range(400):
    try:
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00002, 0.0005))
        task.execute().result(20)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        count += 1
    except TimeoutError:
        late += 1
        break
    if not count %% 10:
        wait_until_idle()  # or there are more runs than workers can be loaded for
signal.setitimer(signal.ITIMER_REAL, 0)
wait_until_idle()
task.execute().result(20)
wait_until_idle()
ipycron.shutdown()
ran = len(Path(f"{path}.runs").read_text())
print(json.dumps([count, late, task.history.finished - ran]))
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_interrupted_calls_lose_nothing(seed, tmp_path):
    """Every request comes to an end, and each run is counted once.

    An interrupt used to leave a lock locked, of the connection or of who waits, that
    the loop needs; or each call was done when the next one came.
    """
    code = f"import sys; sys.argv = ['', {str(tmp_path / 'job.py')!r}]\n" + STORM % seed
    interrupted, late, difference = run_fresh(code, 60)
    assert interrupted > 50
    assert not late
    assert difference == 0


def test_request_of_an_interrupted_caller_blocks_no_other(monkeypatch):
    """It is carried out with the next one."""
    task = ipycron.create_task(NEVER, lambda: 1)
    task.start().result(SECONDS)
    engine = registry.client._engine
    wake = engine._loop.call_soon_threadsafe
    interrupts = [KeyboardInterrupt]

    def wake_or_not(*arguments, **options):
        if interrupts:
            raise interrupts.pop()
        return wake(*arguments, **options)

    monkeypatch.setattr(engine._loop, "call_soon_threadsafe", wake_or_not)
    with pytest.raises(KeyboardInterrupt):
        task.stop()
    task.start().result(SECONDS)
    assert task.execute().result(SECONDS) == 1


INTERRUPTED_IMPORT = """
import json, sys
import ipycron

class Interrupt:
    def find_spec(self, name, *_):
        if name == "ipycron.scheduling.slots":
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

if {in_use}:
    other = ipycron.schedule("0 0 1 1 *", lambda: 1, name="other", background=True)
    assert other.execute().result(20) == 1
    assert "ipycron.scheduling.slots" not in sys.modules
sys.meta_path.insert(0, Interrupt())
told = []
try:
    ipycron.schedule("0 0 1 1 *", lambda: 2, name="interrupted")
except KeyboardInterrupt:
    told.append("interrupted")
task = ipycron.schedule("0 0 1 1 *", lambda: 3, name="next")
told.append(task.execute().result(20))
names = [task.name for task in ipycron.get_tasks().values()]
ipycron.shutdown()
print(json.dumps([told, names]))
"""


@pytest.mark.parametrize("in_use", [False, True])
def test_interrupt_while_the_scheduler_is_imported_loses_no_task(in_use):
    """The next task is scheduled as if nothing had happened."""
    told, names = run_fresh(INTERRUPTED_IMPORT.format(in_use=in_use))
    assert told == ["interrupted", 3]
    assert "next" in names
    assert ("other" in names) is in_use
