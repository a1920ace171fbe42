"""The tasks of a process: found by id and name, replaced, kept, refused."""

import re

import pytest
from house import BOTH, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import TaskExists, UnknownTask

pytestmark = pytest.mark.parametrize("house", BOTH, indirect=True)


def answer(ctx):
    """The simplest job."""
    return 42


def test_tasks_are_found_by_id_and_by_name(house):
    """`get_tasks` is by id, read-only and a snapshot; `get_task` accepts both."""
    first = house.create(answer, name="report")
    second = house.create(answer)
    tasks = ipycron.get_tasks()
    assert dict(tasks) == {first.id: first, second.id: second}
    assert second.name == second.id != first.id
    with pytest.raises(TypeError):
        tasks["x"] = first
    assert ipycron.get_task("report") is ipycron.get_task(first.id) is first
    first.destroy().result(SECONDS)
    assert first.id in tasks
    assert first.id not in ipycron.get_tasks()


def test_tasks_are_printed_as_a_table(house):
    """One line each, under the words that say how to look one up."""
    assert repr(ipycron.get_tasks()) == "<TaskMap: no tasks>"
    report = house.start(answer, name="report\n\u202e")
    report.execute().result(SECONDS)
    house.create(answer, name="second")
    title, head, *rows = repr(ipycron.get_tasks()).splitlines()
    assert title == "<TaskMap: 2 tasks, by id or name>"
    assert re.split("  +", head) == [
        "name",
        "status",
        "schedule",
        "next run",
        "last run",
        "past runs",
    ]
    cells = [re.split("  +", row) for row in rows]
    following = f"{report.next_run:%Y-%m-%d %H:%M:%S}"
    last = f"finished {report.last_run.date:%Y-%m-%d %H:%M:%S}: 42"
    first = [r"report \u202e", "idle", report.pattern, following, last, "1"]
    assert cells == [first, ["second", "stopped", report.pattern]]
    house.create(answer, name="n" * 200)
    assert max(map(len, repr(ipycron.get_tasks()).splitlines())) <= 100


def test_unknown_name_is_met_with_a_suggestion(house):
    """The error for an unknown task suggests a similar name."""
    house.create(answer, name="weekly report")
    with pytest.raises(UnknownTask, match="Did you mean 'weekly report'"):
        ipycron.get_task("weekly repotr")


def test_task_is_replaced_when_its_name_is_declared_again(house):
    """The old task is destroyed, and lookups return the new one."""
    old = house.start(answer, name="report")
    record = Record(old)
    new = house.start(lambda _: 43, name="report")
    eventually(lambda: old.status == "destroyed")
    assert ipycron.get_task("report") is new
    assert list(ipycron.get_tasks()) == [new.id]
    assert new.execute().result(SECONDS) == 43
    drain()
    assert record.names[-2:] == ["task:stopped", "task:destroyed"]


def test_task_is_kept_when_asked_to(house):
    """With ``if_exists="keep"`` the declaration returns the existing task."""
    old = house.start(answer, name="report")
    again = house.schedule(lambda _: 43, name="report", if_exists="keep")
    assert again is old
    assert again.execute().result(SECONDS) == 42


def test_second_task_is_refused_when_asked_to(house):
    """With ``if_exists="error"`` a name that is taken is only an error."""
    old = house.start(answer, name="report")
    with pytest.raises(TaskExists, match="'report' already exists"):
        house.create(answer, name="report", if_exists="error")
    assert list(ipycron.get_tasks()) == [old.id]
    assert old.status == "idle"


def test_old_task_stays_when_its_replacement_is_wrong(house):
    """A declaration with a mistake changes nothing."""
    old = house.start(answer, name="report")
    with pytest.raises(ipycron.CronSyntaxError):
        house.create(answer, "61 * * * *", name="report")
    assert ipycron.get_task("report") is old
    assert old.execute().result(SECONDS) == 42


def test_task_says_what_it_is(house):
    """A task's repr has name, status, next run and zone."""
    task = house.create(answer, "0 9 * * *", name="report", timezone="Europe/Berlin")
    assert repr(task) == "<Task 'report' stopped>"
    task.start().result(SECONDS)
    assert repr(task).startswith("<Task 'report' idle, next 20")
    assert repr(task).endswith(" 09:00:00 Europe/Berlin>")
