"""Attempts, queues and cancelled runs as the magics show them as text."""

import re

import pytest
from hours import INSTANT
from polling import SECONDS, eventually

import ipycron
from ipycron import get_task


def test_cancelled_run_is_not_called_finished(session):
    """It says what its job has said."""
    session.run(
        "%%cron @yearly --name it --quiet\nimport ipycron\nraise ipycron.Cancel('no')"
    )
    said = session.run("%cron run it --wait")
    assert re.search(rf"it: {INSTANT} cancelled after \S+ m?s: no\n", said)
    assert "cancelled after" in session.run("%cron show it")


def test_attempts_are_counted_where_a_run_is_shown(session):
    """However it ended; and why it has ended."""
    session.run(
        "%%cron @yearly --name it --retry 1 --retry-delay 0.1 --quiet\n"
        "ctx.attempt - 1 or 1 / 0"
    )
    said = session.run("%cron run it --wait")
    assert re.search(rf"it: {INSTANT} finished in \S+ m?s, 2 attempts: 1\n", said)
    session.run("%%cron @yearly --name it --retry 1 --retry-delay 0.1 --quiet\n1 / 0")
    session.run("%cron run it --wait")
    assert re.search(
        r"failed after \S+ m?s, 2 attempts: ZeroDivisionError: division by zero "
        r"\(no further attempt: all 2 are used up\)",
        session.run("%cron show it"),
    )


def test_run_between_two_attempts_is_not_called_running(session):
    """It says when the next one begins, and why there is one."""
    # A year's end would be before the next attempt, in the last hour of the year.
    options = "--retry 1 --retry-delay 1h --retry-past-next --quiet"
    session.run(f"%%cron @yearly --name it {options}\n1 / 0")
    session.run("%cron run it")
    task = get_task("it")
    eventually(lambda: any(run.next_attempt_at for run in task.running))
    said = session.run("%cron show it")
    assert re.match(r"it +retrying\n", said)
    assert re.search(
        rf"last run +{INSTANT} attempt 2 at {INSTANT}: ZeroDivisionError: div", said
    )
    assert "retrying" in session.run("%cron list")
    session.run("%cron stop it --force")
    assert "ended by the stop of the task" in session.run("%cron show it")


def test_attempt_that_waits_for_a_place_is_not_called_running(session, tmp_path):
    """It is queued, with its number and the error of the attempt before."""
    first, held = tmp_path / "first", tmp_path / "held"
    wait = "import pathlib, time\nwhile not pathlib.Path(r'{}').exists():\n    "
    wait += "time.sleep(0.01)\n"
    session.run("%cron pool due 1")
    session.run(
        "%%cron @yearly --name it --pool due --retry 1 --retry-delay 0.01 --quiet\n"
        f"{wait.format(first)}1 / 0"
    )
    session.run(f"%%cron @yearly --name other --pool due --quiet\n{wait.format(held)}")
    task, other = get_task("it"), get_task("other")
    session.run("%cron run it")
    eventually(lambda: task.running)
    session.run("%cron run other")
    eventually(lambda: other.queued)
    first.touch()
    eventually(lambda: task.queued and other.running)
    said = session.run("%cron show it")
    assert re.match(r"it +queued\n", said)
    assert re.search(r"last run +\S+ queued, attempt 2: ZeroDivisionError: div", said)
    assert re.search(r"it +queued ", session.run("%cron list"))
    assert re.search(r"due +1 +1 +1 ", session.run("%cron pool"))
    assert "queued, attempt 2" in session.run("%cron logs it")
    assert re.search(r"queued", session.run("%cron history it"))
    held.touch()
    eventually(lambda: task.history)
    session.run("%cron pool due none")


def test_queued_runs_are_counted_with_the_status(session, tmp_path):
    """Also of a task that runs nothing meanwhile: another one has the place."""
    path = tmp_path / "release"
    session.run("%cron pool words 1")
    wait = f"import pathlib, threading\nwhile not pathlib.Path({str(path)!r}).exists():"
    for name in ("first", "second"):
        options = f"--name {name} --pool words --overlap queue --quiet"
        session.run(
            f"%%cron @yearly {options}\n{wait}\n    threading.Event().wait(0.01)"
        )
    first, second = get_task("first"), get_task("second")
    calls = [first.execute(), first.execute()]
    eventually(lambda: first.running)
    calls.append(second.execute())
    eventually(lambda: first.queued and second.queued)
    eventually(lambda: second.is_started)
    said = session.run("%cron list")
    assert re.search(r"first +running, queued ", said)
    assert re.search(r"second +queued ", said)
    path.touch()
    for call in calls:
        call.result(SECONDS)
    eventually(lambda: "queued" not in session.run("%cron list"))


def test_pool_that_nobody_has_made_is_made_by_a_magic(session):
    """The advice is what one types here."""
    ipycron.set_pool("the disk", 1)
    session.run("%%cron @yearly --pool dsk\n1")
    said = str(session.result.error_in_exec)
    assert "Make it first: %cron pool 'dsk' LIMIT." in said
    with pytest.raises(ipycron.IpycronError, match=r"Call ipycron\.set_pool\('dsk'"):
        ipycron.create_task("@yearly", int, pool="dsk")
