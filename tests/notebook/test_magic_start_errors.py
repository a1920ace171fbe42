"""Why a task did not start is shown wherever the task is."""

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
    """A task that does not start, since its variable cannot be rebuilt."""
    session.run("class Odd:\n    def __reduce__(self): return eval, ('1 / 0',)")
    session.run("odd = Odd()")
    session.run("%%cron @yearly --name odd-task\nodd")
    task = get_task("odd-task")
    assert task.start().exception(20) is not None
    return task


def test_start_error_is_a_capture_error(odd):
    """It names what could not be rebuilt, and what to do."""
    with pytest.raises(CaptureError) as caught:
        odd.start().result(20)
    assert f"CaptureError: {caught.value}" == REBUILT


def test_table_says_why_a_task_did_not_start(odd, session):
    """In place of its last run."""
    lines = session.run("%cron").splitlines()
    # The failure itself may be reported while the table is printed.
    (row,) = [line for line in lines if line.startswith("odd-task ")]
    assert row.split()[1] == "failing"
    assert "did not start: CaptureError: 'odd' (Odd) " in row


@pytest.mark.parametrize("command", ["show", "logs"])
def test_commands_say_why_a_task_did_not_start(odd, session, command):
    """The full error, and nothing about runs."""
    text = session.run(f"%cron {command} odd-task")
    assert "did not start" in text
    assert REBUILT in text
    assert "has not run yet" not in text


def test_run_says_why_a_task_did_not_start(odd, session):
    """The start must be fixed, not the run."""
    session.run("%cron run odd-task --wait")
    error = session.result.error_in_exec
    assert type(error) is UsageError
    assert str(error) == f"'odd-task' did not start: {REBUILT}"


def test_nothing_is_said_of_a_start_that_was_called_off(session):
    """A task that was stopped while starting has no error."""
    session.run("%%cron @yearly --name off\n1\n")
    session.run("%cron stop off --force")
    for command in ("", "show off", "logs off"):
        assert "did not start" not in session.run(f"%cron {command}")
