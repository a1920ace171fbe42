"""Executors that cannot end a run, that break, and that a function creates (D3)."""

import concurrent.futures
import logging
import multiprocessing
import os
import threading
from functools import partial

import executors
import loky
import pytest
from executors import note_and_wait, read_runs
from house import EVERY_SECOND, NEVER, Record
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import ExecutionTimeout, ExecutorError, InvalidOption, OverlapError

SPAWN = multiprocessing.get_context("spawn")
THREADS = "threads"
FACTORIES = {
    "python": partial(concurrent.futures.ProcessPoolExecutor, 1, mp_context=SPAWN),
    "loky": partial(loky.ProcessPoolExecutor, 1),
    THREADS: partial(concurrent.futures.ThreadPoolExecutor, 1),
}


@pytest.fixture
def quiet():
    """A logger that stores no errors, whose frames would keep the pool alive."""
    logger = logging.getLogger("test_executor_factories.quiet")
    logger.setLevel(logging.CRITICAL)
    return logger


@pytest.mark.parametrize("kind", ["python", THREADS])
def test_run_that_cannot_be_ended_keeps_its_task_busy(start, tmp_path, kind, caplog):
    """Slots overlap it and calls are refused until it is really over."""
    with FACTORIES[kind]() as pool:
        job = partial(note_and_wait, str(tmp_path))
        task = start(job, pool, EVERY_SECOND, no_overlap=True, timeout=0.2)
        record = Record(task)
        (failed,) = record.wait("execution:failed")[:1]
        assert type(failed.error) is ExecutionTimeout
        assert not failed.error.is_ended
        assert "is no longer waited for" in str(failed.error)
        record.wait("execution:overlap", 2)
        with pytest.raises(OverlapError, match=failed.execution.id):
            task.execute().result(SECONDS)
        eventually(lambda: read_runs(tmp_path), "its process has begun it")
        assert len(read_runs(tmp_path)) == 1
        assert "cannot end it, so it continues" in caplog.text
        (tmp_path / "go").touch()
        record.wait("execution:finished")
        task.destroy().result(SECONDS)


def test_run_that_has_not_begun_is_ended_by_its_timeout(start, tmp_path):
    """A run that waits for a thread is cancelled; its task is free at once."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        release = threading.Event()
        pool.submit(release.wait)
        task = start(print, pool, timeout=0.1, no_overlap=True)
        for _ in range(2):
            error = task.execute().exception(SECONDS)
            assert type(error) is ExecutionTimeout
            assert error.is_ended
        release.set()


def test_pool_that_broke_fails_its_task_with_the_way_out(start, tmp_path, quiet):
    """A broken pool stays broken: after `max_restarts` the error says so."""
    with FACTORIES["python"]() as pool:
        task = start(
            partial(executors.leave, str(tmp_path)), pool, max_restarts=1, logger=quiet
        )
        record = Record(task)
        for _ in range(2):
            error = task.execute().exception(SECONDS)
            assert isinstance(error, ExecutorError)
            assert "executor=lambda: ProcessPoolExecutor(4)" in str(error)
            if task.status == "idle":
                eventually(lambda: record.of("task:restarted") or not task.is_started)
        (failed,) = record.wait("task:failed")
        assert "BrokenProcessPool" in str(failed.error)
        assert task.status == "stopped"


@pytest.mark.parametrize("kind", ["python", "loky"])
def test_factory_makes_a_new_pool_when_one_broke(start, tmp_path, quiet, kind):
    """The run that broke it fails; the next one gets another pool."""
    made = []

    def make():
        made.append(FACTORIES[kind]())
        return made[-1]

    task = start(partial(executors.leave_once, str(tmp_path)), make, logger=quiet)
    record = Record(task)
    error = task.execute().exception(SECONDS)
    assert isinstance(error, ExecutorError)
    assert "A new one is made" in str(error)
    record.wait("task:restarted")
    assert task.execute().result(SECONDS) != os.getpid()
    assert len(made) == 2
    task.destroy().result(SECONDS)
    for pool in made:
        pool.shutdown()


def test_factory_is_called_once_for_tasks_that_share_it(start):
    """Its pool is shut down with the last of them."""
    made = []

    def make():
        made.append(FACTORIES[THREADS]())
        return made[-1]

    first, second = (start(threading.get_ident, make, name=n) for n in "ab")
    assert first.execute().result(SECONDS) == second.execute().result(SECONDS)
    assert len(made) == 1
    first.destroy().result(SECONDS)
    second.execute().result(SECONDS)
    second.destroy().result(SECONDS)
    eventually(lambda: made[0]._shutdown, "the pool is shut down")


def test_lokys_pool_of_a_factory_ends_a_run_that_takes_too_long(start, tmp_path, quiet):
    """We may kill its processes, and the next run gets a new pool."""
    job = partial(note_and_wait, str(tmp_path))
    # Long enough for a new pool to begin a run on a busy machine.
    task = start(job, FACTORIES["loky"], no_overlap=True, timeout=10, logger=quiet)
    error = task.execute().exception(SECONDS)
    assert type(error) is ExecutionTimeout
    assert error.is_ended
    (tmp_path / "go").touch()
    assert task.execute().result(SECONDS)
    assert len(read_runs(tmp_path)) == 2
    task.destroy().result(SECONDS)


@pytest.mark.parametrize(
    ("factory", "error", "text"),
    [
        (lambda: None, InvalidOption, "got None, expected a concurrent.futures.Exe"),
        (lambda: 1 / 0, ZeroDivisionError, "division by zero"),
        (lambda: exec("raise SystemExit(3)"), RuntimeError, "SystemExit"),
    ],
)
def test_start_fails_when_the_factory_does(factory, error, text):
    """With the factory's own error; the task stays stopped."""
    task = ipycron.create_task(NEVER, print, executor=factory)
    with pytest.raises(error, match=text):
        task.start().result(SECONDS)
    assert task.status == "stopped"
