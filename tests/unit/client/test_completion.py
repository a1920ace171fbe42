"""Completions can be read by any caller and never hide a failure."""

import asyncio
import gc
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipycron.client.completion import Completion
from ipycron.errors import StartRevoked, TaskNotStarted


class Owner:
    """A task as its completions see it; deferred calls are made by the test."""

    logger = logging.getLogger("test.owner")

    def __init__(self):
        self.deferred = []

    def defer(self, call):
        """Defer a call."""
        self.deferred.append(call)

    def check_wait(self, what, *, blocks):
        """Allow every wait."""

    def run(self):
        """Make the deferred calls."""
        while self.deferred:
            self.deferred.pop(0)()


@pytest.fixture
def owner():
    """A task that does nothing by itself."""
    return Owner()


@pytest.fixture
def completion(owner):
    """A completion that is not done."""
    return Completion("execute of task 'report'", owner)


def fail():
    """Raise, as reading a failed run does."""
    raise ValueError("no")


def test_result_is_read_at_each_question(completion):
    """The result is decoded when it is asked for, not before."""
    read = []
    completion.set(lambda: read.append(1) or len(read))
    assert read == []
    assert (completion.result(), completion.result(0)) == (1, 2)


def test_first_end_counts(completion):
    """A completion ends only once; later ends are ignored."""
    completion.set(lambda: 1)
    completion.set(lambda: 2)
    completion.fail(ValueError())
    assert completion.result() == 1


def test_result_raises_when_nothing_comes_in_time(completion):
    """The wait has its own timeout; the run itself continues."""
    with pytest.raises(TimeoutError):
        completion.result(0.001)
    assert not completion.done()
    completion.set(lambda: 1)
    assert completion.result() == 1


@pytest.mark.parametrize("is_read", [True, False])
def test_exception_is_returned_for_failures_and_refusals(completion, is_read):
    """A run's error and a refusal are read in the same way."""
    if is_read:
        completion.set(fail, is_ok=False)
    else:
        completion.fail(ValueError("no"))
    assert isinstance(completion.exception(), ValueError)
    with pytest.raises(ValueError, match="no"):
        completion.result()


def test_callbacks_run_where_the_owner_says(completion, owner):
    """A user's callback never runs in the thread that ends the completion."""
    called = []
    completion.add_done_callback(called.append)
    completion.set(lambda: 1)
    assert called == []
    owner.run()
    assert called == [completion]


def test_every_callback_is_called_when_one_fails(completion, caplog):
    """A callback's exception is logged; all callbacks are called, in order."""
    told = []
    completion.watch(lambda _: told.append(1))
    completion.watch(lambda _: 1 / 0)
    completion.watch(lambda _: told.append(2))
    completion.set(lambda: None)
    completion.watch(lambda _: told.append(3))
    assert told == [1, 2, 3]
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


def test_all_threads_wake_when_the_end_comes(completion):
    """Any number of threads may wait; all of them get the same result."""
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(completion.result, 10) for _ in range(8)]
        with pytest.raises(TimeoutError):
            completion.exception(0.01)
        completion.set(lambda: 7)
        assert [each.result() for each in waiting] == [7] * 8


def test_error_is_found_while_the_completion_is_held(completion):
    """A finalizer may read a completion at any time without a deadlock."""
    with completion._lock:
        completion.fail(ValueError("no"))
        assert isinstance(completion.exception(0), ValueError)


def test_await_that_gives_up_leaves_nothing_behind(completion):
    """Waiters that give up leave nothing behind; others are still notified."""
    told = []
    completion.watch(told.append)

    async def poll():
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(completion, 0.001)
        left = len(completion._watchers)
        completion.set(lambda: 7)
        return left, await completion

    assert asyncio.run(poll()) == (1, 7)
    assert told == [completion]


def test_await_gives_the_result_from_another_thread(completion):
    """`await` returns when any thread ends the completion."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, completion.set, lambda: 7)
        return await completion

    assert asyncio.run(main()) == 7


def test_cancelled_await_leaves_the_completion_alone(completion):
    """Cancelling one waiter affects no other waiter."""
    complaints = []

    async def wait():
        return await completion

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        impatient = asyncio.ensure_future(wait())
        patient = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        completion.set(fail, is_ok=False)
        with pytest.raises(ValueError, match="no"):
            await patient
        assert impatient.cancelled()

    asyncio.run(main())
    assert complaints == []


def test_waiter_may_be_gone_when_the_end_comes(completion):
    """A waiter's loop may be closed before the completion ends."""

    async def main():
        await asyncio.wait_for(asyncio.ensure_future(_await(completion)), 0.001)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    completion.set(lambda: 1)
    assert completion.result() == 1


async def _await(completion):
    return await completion


@pytest.mark.parametrize("ask", ["", "result", "exception", "await"])
def test_failure_is_logged_once_when_it_is_not_read(owner, caplog, ask):
    """A failure that nobody reads is logged once by the task's logger."""
    completion = Completion("execute of task 'report'", owner)
    completion.set(fail, is_ok=False)
    if ask == "await":
        with pytest.raises(ValueError, match="no"):
            asyncio.run(_await(completion))
    elif ask == "result":
        with pytest.raises(ValueError, match="no"):
            completion.result()
    elif ask:
        completion.exception()
    del completion
    gc.collect()
    owner.run()
    if ask:
        assert caplog.records == []
        return
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("test.owner", "ERROR")
    assert record.getMessage() == (
        "execute of task 'report' failed and its result was never retrieved: "
        "ValueError: no"
    )
    assert record.exc_info[0] is ValueError
    said = logging.Formatter().format(record)
    assert said.count("Traceback (most recent call last)") == 1
    assert said.count("ValueError: no") == 2  # above the traceback and below it


def test_refusal_is_logged_without_a_traceback_of_ours(owner, caplog):
    """The text of our own errors says everything."""
    Completion("execute of task 'report'", owner).fail(TaskNotStarted(name="report"))
    gc.collect()
    owner.run()
    (record,) = caplog.records
    assert record.exc_info is None
    assert "Call start() before execute()" in record.getMessage()


def test_revoked_start_is_not_logged(owner, caplog):
    """A start that the user stopped is not logged as a failure."""
    Completion("start of task 'report'", owner).fail(StartRevoked(name="report"))
    gc.collect()
    owner.run()
    assert caplog.records == []


def test_success_is_not_decoded_when_it_is_not_read(owner):
    """A result that nobody reads is neither decoded nor logged."""
    read = []
    Completion("execute", owner).set(lambda: read.append(1))
    gc.collect()
    owner.run()
    assert read == []


def test_repr_shows_the_state(owner):
    """The repr says what the completion is for and how it ended."""
    completion = Completion("stop of task 'report'", owner)
    assert repr(completion) == "<Completion of stop of task 'report': pending>"
    completion.set(fail, is_ok=False)
    assert repr(completion) == "<Completion of stop of task 'report': failed>"
    completion.exception()
    done = Completion("stop", owner)
    done.set(lambda: None)
    assert repr(done) == "<Completion of stop: done>"
