"""Gaps that real processes leave, and schedules with an end (C1, C6)."""

import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from house import EVERY_SECOND, NEVER, Record, drain, submit_to_client
from polling import SECONDS, eventually
from programs import find_complaints

import ipycron
from ipycron.api.task import get_record
from ipycron.client.registry import registry
from ipycron.scheduling.clock import SystemClock
from ipycron.scheduling.plan import Outage
from ipycron.testing import time_travel

JOB = """
def task(ctx):
    return ctx.execution.reason, ctx.date.timestamp()
"""
GAP = 5
"""Seconds without a supervisor."""


def start(path, **options):
    """Return a started task that has run once, and what is known about it."""
    task = ipycron.create_task(EVERY_SECOND, path, **options)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:finished")
    return task, record


def freeze():
    """Stop the supervisor for some seconds."""
    pid = registry.client.supervisor_pid
    os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(GAP)
    os.kill(pid, signal.SIGCONT)


def count_caught(record):
    """Return how many runs that catch up have finished."""
    finished = record.of("execution:finished")
    return sum(context.execution.reason == "catch_up" for context in finished)


def count_absent(record, until):
    """Return how many slots from the first run to an instant have not run."""
    dates = {context.date for context in finished(record) if context.date < until}
    first = min(dates)
    return int((until - first).total_seconds()) + 1 - len(dates)


def collect(task, record):
    """End the task; return the dates of its runs by reason, and the missed ones."""
    task.destroy().result(SECONDS)
    drain()
    runs = {"scheduled": [], "catch_up": []}
    for context in record.of("execution:started"):
        runs[context.execution.reason].append(context.date)
    for context in record.of("execution:finished"):
        reason, date = context.execution.result
        assert (reason, date) == (context.execution.reason, context.date.timestamp())
    missed = [c.date for c in record.of("execution:missed")]
    return runs["scheduled"], runs["catch_up"], missed


def check_slots(*groups):
    """Each slot is in one of them, once."""
    slots = sorted(slot for group in groups for slot in group)
    steps = {later - slot for slot, later in pairwise(slots)}
    assert steps == {timedelta(seconds=1)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The file of the job."""
    path = tmp_path_factory.mktemp("job") / "job.py"
    path.write_text(JOB)
    return path


@pytest.fixture(scope="module")
def frozen(path):
    """The slots of two tasks whose supervisor stood still; the tests share the gap."""
    every, every_record = start(path, catch_up="all")
    latest, record = start(path, catch_up="latest")
    freeze()
    eventually(lambda: count_caught(every_record) >= GAP - 2)
    record.wait("execution:missed", GAP - 2)
    eventually(
        lambda: finished(record)[-1].date > record.of("execution:missed")[-1].date
    )
    return {"all": collect(every, every_record), "latest": collect(latest, record)}


def test_all_slots_of_a_frozen_supervisor_run_afterwards(frozen):
    """Each with its own date, oldest first; none is missed."""
    scheduled, caught, missed = frozen["all"]
    assert caught == sorted(caught)
    assert missed == [] or min(missed) > max(caught)  # only what the end cut off
    check_slots(scheduled, caught, missed)


def test_newest_slot_of_a_frozen_supervisor_runs_afterwards(frozen):
    """One run for the gap, whether it is on time or late."""
    scheduled, caught, missed = frozen["latest"]
    check_slots(scheduled, caught, missed)
    # A busy machine has gaps of its own; the slot before the newest one is missed.
    assert not {slot - timedelta(seconds=1) for slot in caught} & set(caught)


@pytest.fixture(scope="module")
def replaced(path):
    """The slots of two tasks whose supervisor stood still, then died, and when."""
    tasks = {catch_up: start(path, catch_up=catch_up) for catch_up in ("none", "all")}
    pid = registry.client.supervisor_pid
    os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(GAP)
    submit_to_client(lambda: os.kill(pid, signal.SIGKILL))
    return {
        catch_up: collect_after_restart(task, record, catch_up)
        for catch_up, (task, record) in tasks.items()
    }


def collect_after_restart(task, record, catch_up):
    """Return its slots once another supervisor goes on, and when that began."""
    (restarted,) = record.wait("task:restarted")
    until = restarted.triggered_at
    eventually(lambda: finished(record)[-1].date > until)
    if catch_up == "all":
        eventually(lambda: count_absent(record, until) <= 1)  # it may have run
    return *collect(task, record), until


@pytest.mark.parametrize("catch_up", ["none", "all"])
def test_slots_without_a_supervisor_run_when_there_is_another(replaced, catch_up):
    """It was frozen, then killed: the next one has to do its work."""
    scheduled, caught, missed, until = replaced[catch_up]
    check_slots(scheduled, caught, missed)
    if catch_up == "none":
        assert caught == []
        assert len(missed) >= GAP - 2
    else:
        assert len(caught) >= GAP - 2
        assert len([slot for slot in missed if slot < until]) <= 1


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """A script whose task has an end: two tests wait for one, at the same time."""
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(
        "import datetime, ipycron\n"
        "ipycron.create_task('* * * * *', print).destroy()  # all is loaded\n"
        "end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=9)\n"
        "ipycron.schedule('* * * * * *', lambda: print('ran', flush=True), end=end)\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, path], text=True, **pipes) as script:
        yield script
        script.kill()


@pytest.mark.usefixtures("script")
def test_task_with_an_end_is_destroyed_in_its_worker_too(write):
    """The supervisor follows the bounds; nothing runs before or after."""
    ipycron.schedule("0 0 1 1 *", write(JOB)).start().result(SECONDS)  # all is loaded
    now = datetime.fromtimestamp(SystemClock().now(), UTC).replace(microsecond=0)
    start, end = now + timedelta(seconds=6), now + timedelta(seconds=8)
    task = ipycron.create_task(EVERY_SECOND, write(JOB), start=start, end=end)
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("task:destroyed")
    settled = record.of("execution:started") + record.of("execution:missed")
    slots = sorted(context.date for context in settled)
    assert slots == [now + timedelta(seconds=s) for s in (6, 7, 8)]
    assert record.count("execution:max_reached") == 0


def test_script_ends_with_the_end_of_its_task(script):
    """As after `max_executions`."""
    stdout, stderr = script.communicate(timeout=60)
    assert script.returncode == 0
    assert "ran\n" in stdout
    assert find_complaints(stderr) == []


def inherit(task, *, seconds, is_clean=False):
    """Let a task have had an earlier life, ended some seconds ago; return now."""
    now = SystemClock().now()
    outage = Outage(since=now - seconds, until=now - seconds, is_clean=is_clean)
    get_record(task).inherit(outage)
    return now


OVER = ("none", True)
"""A clean end of a task that does not catch up: it was not scheduled any more."""


def finished(record):
    """Return the contexts of the runs that have ended."""
    return record.of("execution:finished")


def name_reason(ctx):
    """A job that tells why it runs."""
    return ctx.execution.reason, ctx.date.timestamp()


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    ("catch_up", "is_clean"),
    [("all", True), ("latest", False), ("none", False), ("none", True)],
)
def test_slots_of_an_earlier_life_are_settled_by_the_first_start(
    background, catch_up, is_clean
):
    """Run or missed, as the option says; what was not scheduled is not reported."""
    task = ipycron.create_task(
        EVERY_SECOND, name_reason, background=background, catch_up=catch_up
    )
    record = Record(task)
    end = inherit(task, seconds=5, is_clean=is_clean)
    task.start().result(SECONDS)
    eventually(lambda: any(c.date.timestamp() > end + 1 for c in finished(record)))
    if catch_up == "all":
        eventually(
            lambda: len([c for c in finished(record) if c.date.timestamp() <= end]) == 5
        )
    scheduled, caught, missed = collect(task, record)
    scheduled, caught, missed = (
        [slot for slot in slots if slot.timestamp() <= end]
        for slots in (scheduled, caught, missed)
    )
    slots = [*scheduled, *caught, *missed]
    assert len(slots) == len(set(slots)) == (0 if (catch_up, is_clean) == OVER else 5)
    assert catch_up != "none" or caught == []
    assert catch_up != "all" or missed == []
    assert catch_up != "latest" or len(caught) <= 1
    assert get_record(task).outage is None


def test_task_that_was_stopped_owes_nothing_of_an_earlier_life():
    """The user ended it by name."""
    task = ipycron.create_task(EVERY_SECOND, name_reason, catch_up="all")
    record = Record(task)
    end = inherit(task, seconds=60)
    task.stop().result(SECONDS)
    task.start().result(SECONDS)
    record.wait("execution:finished")
    task.destroy().result(SECONDS)
    drain()
    assert [c for c in finished(record) if c.date.timestamp() <= end] == []


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("action", ["stop", "destroy"])
def test_start_that_looks_for_an_earlier_life_ends_before_a_stop(background, action):
    """However soon the stop comes: the user's last word counts."""
    task = ipycron.create_task(
        EVERY_SECOND,
        name_reason,
        name=f"soon-{action}-{background}",
        background=background,
        catch_up="all",
    )
    start = task.start()
    getattr(task, action)().result(SECONDS)
    start.exception(SECONDS)  # it may have been revoked
    drain()
    assert task.status == {"stop": "stopped", "destroy": "destroyed"}[action]


@pytest.mark.parametrize("background", [True, False])
def test_call_waits_for_a_start_that_looks_for_an_earlier_life(background):
    """As it does for any other start."""
    task = ipycron.schedule(
        NEVER,
        name_reason,
        name=f"called-{background}",
        background=background,
        catch_up="latest",
    )
    assert task.execute().result(SECONDS)[0] == "invoked"


AT_ONCE = """
import ipycron

def work():
    return 1

for background in (True, False, True):
    task = ipycron.create_task(
        "0 0 1 1 *", work, name="soon", background=background, catch_up="all"
    )
    asked = [task.start(), task.pause(), task.resume(), task.stop(), task.start()]
    asked.append(task.execute())
    ipycron.shutdown()
    for completion in asked:
        completion.exception(60)
    print(task.status)
"""


def test_shutdown_ends_a_start_that_looks_for_an_earlier_life(tmp_path):
    """And all that waits for it; a disk may be slow."""
    path = tmp_path / "program.py"
    path.write_text(AT_ONCE)
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=80, check=True
    )
    assert done.stdout.split() == ["destroyed"] * 3
    assert find_complaints(done.stderr) == []
    assert "pending" not in done.stderr


def test_tests_of_users_see_what_is_caught_up_on():
    """On the time that they move, with real functions."""
    with time_travel("2026-12-01 08:30", timezone="UTC") as clock:
        seen = []
        ipycron.schedule(
            "0 * * * *",
            lambda ctx: seen.append((ctx.execution.reason, f"{ctx.date:%H:%M}")),
            catch_up=ipycron.CatchUp("all", window=10_000),
            end="2026-12-01 13:30",
            timezone="UTC",
        )
        clock.step(4.2 * 3600)  # to 12:42
        clock.advance(6)
        assert seen == [("catch_up", f"{hour}:00") for hour in (10, 11, 12)]
        clock.advance(3600)
        assert seen[3:] == [("scheduled", "13:00")]
        assert not ipycron.get_tasks()


def test_examples_of_the_documentation_run(monkeypatch):
    """As they stand in `docs/gaps.md`: those of gaps and ends."""
    monkeypatch.setenv("TZ", "UTC")
    gaps, ends = read_examples("Gaps"), read_examples("Ends")
    with time_travel("2026-12-01 08:30", timezone="UTC") as clock:
        seen = []
        names = {"print": lambda *words: seen.append(words[1:])}
        exec(compile(gaps + ends, "docs/gaps.md", "exec"), names)
        clock.step(4.2 * 3600)
        clock.advance(6)
        assert seen == [("2026-12-01T12:00:00+00:00", "catch_up")] * 2


def test_examples_of_pauses_and_backfills_run(monkeypatch, tmp_path):
    """As they stand in `docs/gaps.md`."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("IPYCRON_HISTORY", str(tmp_path / "history.sqlite"))
    pauses, backfills = read_examples("Pauses"), read_examples("Backfills")
    with time_travel("2026-12-01 08:30", timezone="UTC") as clock:
        seen, cancelled = [], threading.Event()

        def fetch(ctx):
            seen.append(ctx.execution.reason)
            if ctx.execution.reason == "backfill":
                # All of its slots may have run before the example cancels it.
                assert cancelled.wait(20)

        names = {
            "ipycron": ipycron,
            "print": lambda *words: seen.append(words),
            "fetch": fetch,
        }
        exec(compile(pauses, "docs/gaps.md", "exec"), names)
        clock.advance(3600)
        assert seen == ["scheduled"]
        exec(compile(backfills, "docs/gaps.md", "exec"), names)
        cancelled.set()
        clock.advance(6)
        assert seen[1] == (0, "slots would run")
        assert names["backfill"].stopped_by == "it was cancelled"


def read_examples(section):
    """Return the code in a section of `docs/gaps.md`."""
    text = (Path(__file__).parents[2] / "docs/gaps.md").read_text()
    (section,) = [s for s in text.split("\n## ") if s.startswith(section)]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
