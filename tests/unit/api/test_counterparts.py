"""Names known from other schedulers are answered with ipycron's names."""

import re

import pytest

import ipycron
from ipycron.api.counterparts import NAMES, TASK_NAMES
from ipycron.errors import InvalidOption

MODULE = [
    ("add_job", "Use schedule(expression, job, name=…)."),
    ("addJob", "Use schedule(expression, job, name=…)."),
    ("BackgroundScheduler", "There is no scheduler to create"),
    ("IntervalTrigger", "Use every(interval)."),
    ("run_pending", "wait() keeps a script running"),
    ("createTask", "Here it is called 'create_task'."),
    ("schedul", "Did you mean 'schedule'?"),
]
TASK = [
    ("getNextRun", "Use next_run."),
    ("msToNext", "Use seconds_to_next."),
    ("isBusy", "Here it is called 'is_busy'."),
    ("remove", "Use destroy()."),
    ("tag", "have no counterpart"),
    ("next_rum", "Did you mean 'next_run'?"),
]


@pytest.fixture
def task():
    """A task that is not started."""
    yield ipycron.create_task("0 0 1 1 *", lambda: 1)
    ipycron.shutdown()


@pytest.mark.parametrize(("name", "advice"), MODULE)
def test_function_of_another_scheduler_is_pointed_to_ours(name, advice):
    """Names of APScheduler, schedule and node-cron, and misspelt names of ours."""
    with pytest.raises(AttributeError, match=re.escape(advice)):
        getattr(ipycron, name)


@pytest.mark.parametrize(("name", "advice"), TASK)
def test_attribute_of_another_job_is_pointed_to_ours(task, name, advice):
    """Attributes are answered like functions."""
    with pytest.raises(AttributeError, match=re.escape(advice)):
        getattr(task, name)
    assert not hasattr(task, name)


def test_event_of_node_cron_is_pointed_to_ours(task):
    """node-cron writes event names in camel case."""
    with pytest.raises(InvalidOption, match=r"Did you mean 'execution:max_reached'\?"):
        task.on("execution:maxReached", print)


def test_advice_names_only_what_there_is(task):
    """No advice leads to another error, or away from a name of ours."""
    members = {*dir(ipycron), *dir(task)}
    for name, advice in {**NAMES, **TASK_NAMES}.items():
        called = re.findall(r"([A-Za-z_]+)\(", advice)
        used = re.findall(r"Use ([a-z_]+)", advice)
        assert {*called, *used} <= members, name
    assert not NAMES.keys() & set(ipycron.__all__)
    assert not TASK_NAMES.keys() & set(dir(task))
