"""Listeners: called once, in order, isolated from each other and from schedules."""

import logging
import sys
import threading
from datetime import datetime, timedelta

import pytest
from house import BOTH, EVERY_SECOND, FORKED, INLINE, NEVER, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.client import listeners
from ipycron.errors import InvalidOption, SelfWait

on_both = pytest.mark.parametrize("house", BOTH, indirect=True)


def answer(ctx):
    """The simplest job."""
    return 42


def test_once_is_called_once(house):
    """A listener added by `once` gets the next event of its kind, and no more."""
    task = house.start(answer)
    heard = []
    task.once("execution:finished", heard.append)
    for _ in range(3):
        task.execute().result(SECONDS)
    drain()
    assert [context.event for context in heard] == ["execution:finished"]


@on_both
def test_off_removes_one_listener_or_all_of_an_event(house):
    """A removed listener is not called; an unknown one is ignored."""
    task = house.start(answer)
    first, second, other = [], [], []
    task.on("execution:finished", first.append)
    task.on("execution:finished", second.append)
    task.on("execution:started", other.append)
    task.off("execution:finished", first.append).off("execution:failed", print)
    task.execute().result(SECONDS)
    drain()
    task.off("execution:finished")
    task.execute().result(SECONDS)
    drain()
    assert [len(heard) for heard in (first, second, other)] == [0, 1, 2]


@on_both
def test_star_and_module_listeners_hear_every_event_of_theirs(house):
    """``"*"`` gets every event of a task, `ipycron.on` those of all tasks."""
    everything, ends, once = [], [], []
    ipycron.on("*", everything.append)
    ipycron.on(ipycron.Event.EXECUTION_FINISHED, ends.append)
    ipycron.once("execution:finished", once.append)
    tasks = [house.start(answer, name=name) for name in ("one", "two")]
    for task in tasks:
        task.execute().result(SECONDS)
    drain()
    assert [(c.task.name, c.event) for c in everything] == [
        ("one", "task:started"),
        ("two", "task:started"),
        ("one", "execution:started"),
        ("one", "execution:finished"),
        ("two", "execution:started"),
        ("two", "execution:finished"),
    ]
    assert [context.task for context in ends] == tasks
    assert len(once) == 1
    ipycron.off("execution:finished", ends.append)
    ipycron.off("*")
    tasks[0].execute().result(SECONDS)
    drain()
    assert (len(everything), len(ends)) == (6, 2)


def test_unknown_event_is_refused():
    """A misspelt event, or a listener that is not callable, is an error."""
    task = ipycron.create_task(NEVER, lambda: 42)
    with pytest.raises(InvalidOption, match=r"'execution:done', expected '\*' or one"):
        task.on("execution:done", print)
    with pytest.raises(InvalidOption, match="expected a function of one argument"):
        task.on("execution:finished", None)
    with pytest.raises(InvalidOption):
        ipycron.once("finished", print)


@on_both
def test_failing_listener_is_logged_and_touches_nothing_else(house, caplog):
    """A listener's exception is logged; other listeners and the run continue."""

    def fail(context):
        raise RuntimeError("listener of mine")

    def leave(context):
        sys.exit("a listener does not end a program")

    task = house.start(answer)
    heard = []
    task.on("execution:finished", fail)
    task.on("execution:finished", leave)
    task.on("execution:finished", heard.append)
    with caplog.at_level(logging.ERROR, "ipycron"):
        assert task.execute().result(SECONDS) == 42
        assert task.execute().result(SECONDS) == 42
        drain()
    assert len(heard) == 2
    assert task.last_run.is_ok
    errors = [record.exc_info[1] for record in caplog.records]
    assert [str(error) for error in errors[:2]] == [
        "listener of mine",
        "a listener does not end a program",
    ]


@on_both
def test_coroutine_listeners_are_awaited_in_order(house, monkeypatch):
    """An `async` listener is awaited before the next one is called."""
    monkeypatch.setattr(listeners, "PATIENCE", SECONDS)  # then others go on
    heard = []

    async def slow(context):
        import asyncio  # noqa: PLC0415

        await asyncio.sleep(0.02)
        heard.append("slow")

    task = house.start(answer)
    task.on("execution:finished", slow)
    task.on("execution:finished", lambda _: heard.append("quick"))
    task.execute().result(SECONDS)
    drain()
    assert heard == ["slow", "quick"]


@on_both
def test_schedules_go_on_while_a_listener_blocks(house, sleeper):
    """A blocking listener delays no other listener and no run."""
    release, blocked = threading.Event(), threading.Event()

    def block(context):
        blocked.set()
        release.wait(SECONDS)

    busy = house.start(answer, name="busy")
    busy.on("execution:finished", block)
    other = house.start(answer, EVERY_SECOND, name="other")
    record = Record(other)
    busy.execute().result(SECONDS)
    assert blocked.wait(SECONDS)
    first = eventually(lambda: other.last_run)
    eventually(lambda: other.last_run.date >= first.date + timedelta(seconds=2))
    for _ in range(20):
        assert busy.execute().result(SECONDS) == 42
    record.wait("execution:finished", 2)
    release.set()
    sleeper.check_missed(record)


@on_both
def test_listener_may_unsubscribe_itself_and_add_others(house):
    """An event goes to the listeners that were registered when it happened."""
    heard = []
    task = house.start(answer)

    def once(context):
        heard.append("once")
        task.off("execution:finished", once)
        task.on("execution:finished", lambda _: heard.append("added"))

    task.on("execution:finished", once)
    task.execute().result(SECONDS)
    drain()
    assert heard == ["once"]
    task.execute().result(SECONDS)
    drain()
    assert heard == ["once", "added"]


@on_both
def test_listener_may_control_its_task(house):
    """It may stop, start and execute, and wait for a start, run or other task."""
    heard = []
    task, other = house.start(answer), house.start(answer)

    def restart(context):
        task.stop()
        task.start().result(SECONDS)
        other.stop().result(SECONDS)
        heard.append(task.execute().result(SECONDS))

    task.once("execution:finished", restart)
    task.execute().result(SECONDS)
    eventually(lambda: heard == [42])
    assert other.status == "stopped"
    task.once("execution:finished", lambda _: task.destroy())
    task.execute().result(SECONDS)
    eventually(lambda: task.status == "destroyed")


@on_both
@pytest.mark.parametrize("of", ["the task", "all tasks", "once"])
def test_listener_that_waits_for_the_end_of_its_task_gets_an_error(house, of):
    """An immediate error that names task, call and advice; no timeout."""
    errors = []
    task = house.start(answer, name="report")
    before = task.stop()
    before.result(SECONDS)
    task.start().result(SECONDS)

    def wait(context):
        before.result(0)
        for call in (
            lambda: task.stop().result(SECONDS),
            lambda: task.stop(force=True).exception(SECONDS),
            lambda: task.destroy().result(SECONDS),
            ipycron.shutdown,
        ):
            try:
                call()
            except SelfWait as error:
                errors.append(str(error))

    source = ipycron if of == "all tasks" else task
    (source.once if of == "once" else source.on)("execution:finished", wait)
    task.execute().result(SECONDS)
    calls = eventually(lambda: len(errors) == 4 and errors)
    for call, text in zip(("stop", "stop", "destroy", "shutdown"), calls, strict=True):
        assert text.startswith(f"{call}() ")
        assert "was called by a listener of task 'report'" in text
        assert "Call stop() or destroy() without waiting" in text
    eventually(lambda: task.status == "destroyed")


def test_coroutine_listener_may_await_the_end_of_its_task(house):
    """Without a loop of its own, it is awaited within the call."""
    heard = []
    task = house.start(answer)

    async def end(context):
        with pytest.raises(SelfWait):
            await ipycron.shutdown_async()
        await task.stop()
        heard.append(task.status)

    task.on("execution:finished", end)
    task.execute().result(SECONDS)
    assert eventually(lambda: heard) == ["stopped"]


def test_context_describes_the_event(house):
    """Instants are datetimes in the task's zone; the run is complete."""
    task = house.start(answer, timezone="America/St_Johns", name="report")
    record = Record(task)
    task.execute().result(SECONDS)
    drain()
    started, finished = record.contexts
    for context in (started, finished):
        assert isinstance(context.date, datetime)
        assert str(context.date.tzinfo) == "America/St_Johns"
        assert str(context.triggered_at.tzinfo) == "America/St_Johns"
        assert context.task is task
        assert context.date_local_iso == context.date.isoformat(timespec="seconds")
        assert context.date_local_iso[-6:] in ("-02:30", "-03:30")
        assert (context.error, context.reason, context.missed_count) == (None,) * 3
    assert started.execution is finished.execution
    execution = finished.execution
    assert (
        execution.duration
        == (execution.finished_at - execution.started_at).total_seconds()
    )
    assert execution.result == 42


def test_job_receives_the_context_too(house):
    """A job with one parameter gets its slot, its run and its task."""

    def look(ctx):
        return (
            ctx.task.name,
            ctx.task.pattern,
            ctx.execution.id,
            ctx.execution.reason,
            ctx.date.isoformat(),
            ctx.triggered_at >= ctx.date,
            ctx.date_local_iso[-6:],
            ctx.event,
        )

    task = house.start(look, name="report", timezone="Asia/Kathmandu")
    record = Record(task)
    name, pattern, run_id, reason, date, is_later, offset, event = (
        task.execute().result(SECONDS)
    )
    drain()
    context = record.of("execution:finished")[0]
    assert (name, pattern, reason, offset) == ("report", NEVER, "invoked", "+05:45")
    assert run_id == context.execution.id
    assert date == context.date.isoformat()
    assert is_later
    assert event is None


@pytest.mark.parametrize("house", [INLINE, FORKED], indirect=True)
def test_ten_thousand_events_all_come_in_order(house):
    """A burst of events loses none, and the client keeps answering."""
    heard = []
    count = 2_500 if house.is_background else 5_000
    task = house.start(lambda _: None)
    task.on("*", heard.append)
    runs = [task.execute() for _ in range(count)] if not house.is_background else []
    for _ in range(0 if runs else count):
        task.execute().result(SECONDS)
    for run in runs:
        run.result(SECONDS)
    drain()
    assert len(heard) == 2 * count
    started = [c.execution.id for c in heard if c.event == "execution:started"]
    finished = {c.execution.id for c in heard if c.event == "execution:finished"}
    assert len(set(started)) == count
    assert set(started) == finished


@pytest.mark.parametrize("house", [INLINE, FORKED], indirect=True)
def test_blocked_listeners_are_logged_and_block_no_others(house, caplog):
    """With task and event. Only their own later events wait for them."""
    slow, other = house.start(answer, name="slow"), house.start(answer, name="other")
    release, heard, late = threading.Event(), [], []

    def block(context):
        release.wait(SECONDS)
        late.append(context.event)

    for _ in range(3):  # of one function: one lane
        slow.on("execution:finished", block)
    slow.on("execution:started", block)
    for number in range(5):  # each of its own
        slow.on("*", lambda _, number=number: number + release.wait(SECONDS))
        slow.on("*", heard.append)
    ipycron.on("execution:finished", heard.append)
    other.on("execution:finished", heard.append)
    for _ in range(2):
        slow.execute().result(SECONDS)
    other.execute().result(SECONDS)
    eventually(lambda: len(heard) == 2 * 2 * 5 + 2 + 2, "all quick listeners")
    assert late == []

    def find_warnings():
        return [r for r in caplog.records if r.levelno == logging.WARNING]

    warnings = eventually(lambda: len(find_warnings()) == 6 and find_warnings())
    release.set()
    text = "a listener of execution:started of task 'slow' has been running for more"
    assert all(record.getMessage().startswith(text) for record in warnings)
    eventually(lambda: len(late) == 8, "the events that waited")
    assert late == ["execution:started", *["execution:finished"] * 3] * 2


@on_both
def test_listener_that_fails_is_logged_with_task_and_event_once_a_minute(house, caplog):
    """A broken listener of every run does not fill the log."""
    task = house.start(answer, name="report")
    task.on("execution:finished", lambda _: 1 / 0)
    for _ in range(3):
        task.execute().result(SECONDS)
    drain()
    said = [r for r in caplog.records if r.levelno == logging.ERROR]
    (record,) = said
    text = "a listener of execution:finished of task 'report' failed"
    assert record.getMessage() == text
    assert record.exc_info[0] is ZeroDivisionError
