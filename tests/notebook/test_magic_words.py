"""The words of `%cron`: what people type, and what they are told."""

import pytest
from IPython.core.error import UsageError

from ipycron import get_task, get_tasks
from ipycron.notebook.widgets.model import describe_task


@pytest.fixture
def job(session):
    """A started task."""
    session.run("%%cron @yearly --name job --quiet\n1")
    task = get_task("job")
    task.start().result(10)
    return task


@pytest.mark.parametrize("line", ["rm job", "delete job", "delete --all", "rm --all"])
def test_other_words_for_destroy_work(job, session, line):
    """As elsewhere: a task that is deleted is gone."""
    assert "job: destroyed" in session.run(f"%cron {line}")
    assert get_tasks() == {}


def test_other_words_for_the_rest_work(job, session):
    """Status is list, or show; pause is stop, resume is start; help is the manual."""
    assert session.run("%cron status").startswith("name")
    assert "schedule  @yearly" in session.run("%cron status job")
    assert "job: stopped" in session.run("%cron pause job")
    assert "job: idle" in session.run("%cron resume job")
    assert "Run a cell or a file on a schedule" in session.run("%cron help")
    assert session.run("%cron help run").startswith("%cron run NAME...")
    assert session.run("%cron help rm").startswith("%cron destroy NAME...")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("retry job", "run"),
        ("rerun job", "run"),
        ("trigger --all", "run"),
        ("kill job", "stop"),
        ("ls", "list"),
        ("shwo job", "show"),
        ("log job", "logs"),
        ("strat job", "start"),
    ],
)
def test_unknown_command_suggests_the_one_that_is_meant(session, line, meant):
    """Before any of its options is looked at."""
    session.run(f"%cron {line}")
    error = session.result.error_in_exec
    assert type(error) is UsageError
    word = line.split()[0]
    assert str(error).startswith(
        f"%cron has no command {word!r}. Did you mean {meant!r}? Commands: list, "
    )


@pytest.mark.parametrize(
    "line", ["destory job", "detroy --all", "remove job", "drop --all --force", "x12 y"]
)
def test_nothing_suggests_what_destroys(session, line):
    """A slip of the hand must not end in a task that is gone."""
    session.run(f"%cron {line}")
    assert "Did you mean" not in str(session.result.error_in_exec)


def test_task_that_was_stopped_while_it_started_has_not_failed(session, caplog):
    """`Restart & Run All` with a `%cron stop` further down: nothing is red."""
    for _ in range(5):
        session.run("%%cron @yearly --name job --run-now --quiet\n1")
        session.run("%cron stop job --force")
        task = get_task("job")
        assert task.status == "stopped"
        assert describe_task(task, 0.0)["trouble"] is None
        for command in ("", "show job", "logs job"):
            assert "StartRevoked" not in session.run(f"%cron {command}")
        task.start().result(10)
        task.destroy().result(10)
    assert "StartRevoked" not in caplog.text
