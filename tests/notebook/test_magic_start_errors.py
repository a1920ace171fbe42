"""A task that did not start says why wherever it is looked at."""

import pytest
from IPython.core.error import UsageError

from ipycron import get_task
from ipycron.errors import CaptureError

REBUILT = (
    "CaptureError: 'odd' (Odd) cannot be sent to a worker: it cannot be rebuilt there "
    "(ZeroDivisionError: division by zero). Make it inside the cell."
)


@pytest.fixture
def odd(session):
    """A task that does not start: its variable cannot be rebuilt in a worker."""
    session.run("class Odd:\n    def __reduce__(self): return eval, ('1 / 0',)")
    session.run("odd = Odd()")
    session.run("%%cron @yearly --name odd-task\nodd")
    task = get_task("odd-task")
    assert task.start().exception(10) is not None
    return task


def test_start_error_is_a_capture_error(odd):
    """What could not be rebuilt is named, with the way out."""
    with pytest.raises(CaptureError) as caught:
        odd.start().result(10)
    assert f"CaptureError: {caught.value}" == REBUILT


def test_table_says_why_a_task_did_not_start(odd, session):
    """In the place of its last run; the task is failing, as in the panel."""
    table = session.run("%cron")
    assert "did not start: CaptureError: 'odd' (Odd) " in table
    assert table.splitlines()[1].split()[:2] == ["odd-task", "failing"]


@pytest.mark.parametrize("command", ["show", "logs"])
def test_commands_say_why_a_task_did_not_start(odd, session, command):
    """All of it, and nothing of a run."""
    text = session.run(f"%cron {command} odd-task")
    assert "did not start" in text
    assert REBUILT in text
    assert "has not run yet" not in text


def test_run_says_why_a_task_did_not_start(odd, session):
    """Its start is what is to be mended, not the run."""
    session.run("%cron run odd-task --wait")
    error = session.result.error_in_exec
    assert type(error) is UsageError
    assert str(error) == f"'odd-task' did not start: {REBUILT}"


def test_nothing_is_said_of_a_start_that_was_called_off(session):
    """A task that was stopped while it started has no error."""
    session.run("%%cron @yearly --name off\n1\n")
    session.run("%cron stop off --force")
    for command in ("", "show off", "logs off"):
        assert "did not start" not in session.run(f"%cron {command}")
