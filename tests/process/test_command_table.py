"""The table of `ipycron run` in a terminal, of tasks with real workers."""

import io

import pytest
from polling import SECONDS, eventually
from rich.console import Console

import ipycron
from ipycron.cli.table import Watch

pytestmark = pytest.mark.usefixtures("supervisor")
NEVER = "0 0 1 1 *"


def draw(*tasks):
    """Return the table as text."""
    console = Console(file=io.StringIO(), width=110)
    console.print(Watch(tasks))
    return console.file.getvalue()


def start(job, *, when=NEVER, **options):
    """Return a started background task."""
    task = ipycron.create_task(when, job, background=True, **options)
    task.start().result(SECONDS)
    return task


@pytest.fixture
def release(tmp_path):
    """The path of a file; `wait_for` waits until it is there."""
    path = tmp_path / "release"
    yield path
    path.touch()


def wait_for(path):
    """Return when a file is there."""
    import pathlib  # noqa: PLC0415 - in the worker
    import threading  # noqa: PLC0415

    while not pathlib.Path(path).exists():
        threading.Event().wait(0.01)


def fail_twice(ctx):
    """Succeed in the third attempt."""
    if ctx.attempt < 3:
        raise ConnectionError("no \x1b[31manswer")
    return "fetched"


def test_table_counts_the_runs_that_wait(release):
    """Of the same task, and of a task that waits for another one's place."""
    ipycron.set_pool("table", 1)
    first = start(
        wait_for, args=[str(release)], pool="table", overlap="queue", name="a"
    )
    calls = [first.execute() for _ in range(3)]
    eventually(lambda: len(first.running) == 1)
    second = start(wait_for, args=[str(release)], pool="table", name="b")
    calls.append(second.execute())
    eventually(lambda: (len(first.queued), len(second.queued)) == (2, 1))
    assert "queued" in draw(first)
    lines = [line.strip().split("  ")[0] for line in draw(first, second).splitlines()]
    assert [line for line in lines if "queued" in line] == ["2 queued", "1 queued"]
    release.touch()
    for call in calls:
        call.result(SECONDS)
    eventually(lambda: "queued" not in draw(first, second))


def test_table_shows_the_attempts_of_a_run():
    """Which one comes when, the error of the one before, and how many there were."""
    task = start(fail_twice, retry=ipycron.Retry(3, delay=1, backoff=1), name="again")
    call = task.execute()
    said = eventually(lambda: text if "attempt 2" in (text := draw(task)) else None)
    assert "ConnectionError: no" in said
    assert "\x1b" not in said
    call.result(SECONDS)
    said = eventually(lambda: text if "fetched" in (text := draw(task)) else None)
    assert "3 attempts" in said
    assert "attempt 2" not in said


def test_table_shows_a_snoozed_run():
    """It runs again, as the same attempt."""

    def snooze():
        raise ipycron.Snooze(3600)

    # No run is snoozed past its next slot: with NEVER, not in the year's last hour.
    task = start(snooze, when="@at 2999-12-01T09:00", name="later")
    call = task.execute()
    said = eventually(lambda: text if "again in 3" in (text := draw(task)) else None)
    assert "attempt" not in said
    task.stop(force=True).result(SECONDS)
    assert "cancelled" in repr(task.last_run)
    call.exception(SECONDS)


def fail_once(path, ctx):
    """Fail once a file is there, in the first attempt only."""
    wait_for(path)
    if ctx.attempt == 1:
        raise ConnectionError("no answer")


def test_table_says_which_attempt_waits_for_a_place(release, tmp_path):
    """As queued, with the error of the one before."""
    ipycron.set_pool("attempts", 1)
    first, retry = tmp_path / "first", ipycron.Retry(1, delay=0.01)
    task = start(
        fail_once, args=[str(first)], pool="attempts", retry=retry, name="again"
    )
    holder = start(wait_for, args=[str(release)], pool="attempts", name="holder")
    call = task.execute()
    eventually(lambda: task.running)
    held = holder.execute()
    eventually(lambda: holder.queued)
    first.touch()
    eventually(lambda: task.queued)
    said = draw(task)
    assert "1 queued" in said
    assert "running" not in said
    assert "attempt 2, queued" in said
    assert "ConnectionError: no answer" in said
    release.touch()
    held.result(SECONDS)
    call.result(SECONDS)
