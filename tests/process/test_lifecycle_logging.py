"""What is logged, at which level, by which logger (L1 to L3)."""

import gc
import io
import logging
import os
import threading

import pytest
from house import BOTH, EVERY_SECOND, WORKERS, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import InvalidOption

pytestmark = pytest.mark.usefixtures("supervisor")

on_both = pytest.mark.parametrize("house", BOTH, indirect=True)
on_workers = pytest.mark.parametrize("house", WORKERS, indirect=True)


def answer(ctx):
    """The simplest job."""
    return 42


def fail(ctx):
    """A failing job."""
    raise ValueError("no")


def levels(caplog, name="ipycron"):
    """Return levels and texts of a logger's records, but for missed slots.

    A busy machine may miss any slot of a task that is due every second.
    """
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == name and "missed" not in record.getMessage()
    ]


@pytest.fixture
def own_logger():
    """A user's logger, with a handler that stores records."""
    logger = logging.getLogger("test.mine")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.stream = stream
    yield logger
    logger.removeHandler(handler)
    ipycron.set_logger(None)


@on_both
def test_life_of_a_task_is_logged_at_debug_only(house, caplog):
    """Normally nothing is logged; at level DEBUG, every step."""
    caplog.set_level(logging.DEBUG, "ipycron")
    task = house.start(answer, name="report")
    task.execute().result(SECONDS)
    task.destroy().result(SECONDS)
    drain()
    assert levels(caplog) == [
        ("DEBUG", f"task 'report': {event}")
        for event in (
            *("task:started", "execution:started", "execution:finished"),
            *("task:stopped", "task:destroyed"),
        )
    ]


@on_both
def test_scheduled_failure_is_logged_with_its_traceback(house, caplog):
    """A failed scheduled run is an error record."""
    task = house.start(fail, EVERY_SECOND, name="report")
    Record(task).wait("execution:failed")
    task.destroy().result(SECONDS)
    drain()
    record = next(r for r in caplog.records if r.levelname == "ERROR")
    assert record.name == "ipycron"
    assert record.getMessage() == "task 'report': a run failed: ValueError: no"
    text = logging.Formatter().format(record)
    assert 'raise ValueError("no")' in text
    assert text.count("Traceback") == 1
    assert "WorkerTraceback" not in text


@on_both
def test_failures_of_one_incident_are_logged_once(house, caplog):
    """Consecutive failures with one type of error are one error record."""
    log = house.log()

    def alternate(ctx):
        log.write("run")
        number = len(log.read())
        if number != 3:
            raise ValueError(number)

    task = house.start(alternate, EVERY_SECOND, name="report", max_executions=4)
    Record(task).wait("task:destroyed")
    drain()
    assert levels(caplog) == [
        ("ERROR", "task 'report': a run failed: ValueError: 1"),
        ("ERROR", "task 'report': a run failed: ValueError: 4"),
    ]


def run_for_ever(ctx):
    """Run until ended."""
    threading.Event().wait(60)


def test_run_that_a_stop_ended_is_not_an_error(workers, caplog):
    """The user asked for the stop."""
    task = workers.start(run_for_ever, EVERY_SECOND, stop_timeout=0)
    record = Record(task)
    record.wait("execution:started")
    task.stop().result(SECONDS)
    assert record.wait("execution:failed")
    drain()
    assert levels(caplog) == []


@on_both
def test_manual_failure_is_the_callers_to_hear(house, caplog):
    """A manual run's error goes to its caller, if it is read, not to the log."""
    task = house.start(fail, name="report")
    assert isinstance(task.execute().exception(SECONDS), ValueError)
    drain()
    assert levels(caplog) == []
    task.execute()  # nobody asks
    eventually(
        lambda: (
            levels(caplog)
            == [
                (
                    "ERROR",
                    (
                        "execute of task 'report' failed and its result was never "
                        "retrieved: ValueError: no"
                    ),
                )
            ]
        )
    )


@on_both
def test_skipped_overlap_is_a_warning(house, caplog):
    """A slot that `no_overlap` skips is a warning; one that runs is not."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task = house.start(wait, EVERY_SECOND, no_overlap=True, name="report")
    Record(task).wait("execution:overlap")
    gate.open()
    task.destroy().result(SECONDS)
    drain()
    (first, *_) = levels(caplog)
    assert first[0] == "WARNING"
    assert first[1].startswith("task 'report': skipped 20")


def test_failed_start_of_schedule_is_logged_and_leaves_the_task_stopped(workers, write):
    """Nobody waits for the start of `schedule`: the log has the file's error."""
    stream = io.StringIO()
    logger = logging.getLogger("test.start")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.propagate = False
    task = ipycron.schedule(
        "0 0 1 1 *",
        write("def task(): pass\nraise LookupError('not here')"),
        logger=logger,
        launcher="fork" if workers.kind == "forked" else "spawn",
    )
    eventually(lambda: "did not start: LookupError: not here" in stream.getvalue())
    drain()
    assert "never retrieved" not in stream.getvalue()  # once is enough
    assert stream.getvalue().count("Traceback (most recent call last)") == 1
    assert "direct cause" not in stream.getvalue()
    logger.removeHandler(handler)
    assert task.status == "stopped"
    assert ipycron.get_task(task.id) is task


@on_both
def test_failure_that_nobody_asks_for_is_logged_with_one_traceback(house, caplog):
    """Where it was raised; nothing of how it came here."""

    def fail(ctx):
        raise LookupError("gone")

    task = house.start(fail)
    completion = task.execute()
    eventually(completion.done)
    del completion
    gc.collect()
    eventually(lambda: "never retrieved" in caplog.text)
    assert caplog.text.count("Traceback (most recent call last)") == 1
    assert "LookupError: gone" in caplog.text
    assert "direct cause" not in caplog.text
    assert "WorkerTraceback" not in caplog.text


@on_both
def test_logger_of_the_process_and_of_the_task_take_the_records(
    house, own_logger, caplog
):
    """`set_logger` applies without `logger=`; None restores the default."""
    caplog.set_level(logging.DEBUG, "ipycron")
    other = logging.getLogger("test.other")
    other.setLevel(logging.DEBUG)
    ipycron.set_logger(own_logger)
    house.start(answer, name="one")
    house.start(answer, name="two", logger=other)
    drain()
    ipycron.set_logger(None)
    house.start(answer, name="three")
    drain()
    assert own_logger.stream.getvalue() == "DEBUG task 'one': task:started\n"
    assert levels(caplog, "test.other") == [("DEBUG", "task 'two': task:started")]
    assert levels(caplog) == [("DEBUG", "task 'three': task:started")]


@pytest.mark.parametrize("logger", ["ipycron", print, 3])
def test_invalid_logger_is_refused(logger):
    """Only a `logging.Logger` is accepted, not a name or a function."""
    with pytest.raises(InvalidOption, match=r"logger: got .* expected a logging"):
        ipycron.create_task("0 0 1 1 *", lambda: 42, logger=logger)
    with pytest.raises(InvalidOption, match=r"logger: got .* expected a logging"):
        ipycron.set_logger(logger)


@on_workers
def test_records_of_a_worker_are_handled_here_under_their_own_names(house, caplog):
    """A job's records reach this process's handlers unchanged."""

    def job(ctx):
        import logging  # noqa: PLC0415 - in the worker

        log = logging.getLogger("shop.orders")
        log.debug("too quiet")
        log.info("order %d of %s", 7, "Ada")
        try:
            {}["stock"]
        except LookupError:
            log.exception("order refused")
        return len(logging.getLogger().handlers)

    caplog.set_level(logging.INFO)
    task = house.start(job)
    assert task.execute().result(SECONDS) == 1
    eventually(lambda: len(levels(caplog, "shop.orders")) == 2)
    assert levels(caplog, "shop.orders") == [
        ("INFO", "order 7 of Ada"),
        ("ERROR", "order refused"),
    ]
    refused = next(r for r in caplog.records if r.getMessage() == "order refused")
    assert refused.exc_text.endswith("KeyError: 'stock'")
    assert refused.process != os.getpid()
    assert task.last_run.output.stderr == ""


@on_workers
def test_levels_of_this_process_count_for_records_of_workers(house, caplog):
    """A logger silenced here is silent for workers, too."""

    def job(ctx):
        import logging  # noqa: PLC0415 - in the worker

        for name in ("shop.loud", "shop.quiet"):
            logging.getLogger(name).warning("hello")

    quiet = logging.getLogger("shop.quiet")
    quiet.setLevel(logging.ERROR)
    house.start(job).execute().result(SECONDS)
    eventually(lambda: levels(caplog, "shop.loud") == [("WARNING", "hello")])
    assert levels(caplog, "shop.quiet") == []
    quiet.setLevel(logging.NOTSET)
