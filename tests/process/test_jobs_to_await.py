"""Jobs that return something to be awaited: it is awaited, or refused (A2)."""

import asyncio
import concurrent.futures
import functools
import threading

import pytest
from house import NEVER
from polling import SECONDS

import ipycron
from ipycron.client.jobs import Cell
from ipycron.errors import ExecutionStopped, RemoteError
from ipycron.process.wire.payload import Payload


async def work():
    """Do something after a short wait; return the loop's thread."""
    await asyncio.sleep(0)
    return threading.current_thread().name, threading.get_ident()


@functools.wraps(work)
def wrapped():
    """Return the coroutine, like a decorator's wrapper."""
    return work()


class Later:
    """An awaitable that is not a coroutine."""

    def __await__(self):
        """Await the work."""
        return work().__await__()


def make_later():
    """Return the awaitable."""
    return Later()


def lazy():
    """Call it without awaiting."""
    return work()


RETURNING = {"a lambda": lazy, "a wrapper": wrapped, "an awaitable": make_later}


def generate():
    """Yield."""
    yield 1


async def generate_later():
    """Yield, too."""
    yield 1


class Generating:
    """Yields when it is called."""

    def __call__(self):
        """Yield."""
        yield 1


def run(job, **options):
    """Return the result of one run of a job."""
    task = ipycron.create_task(NEVER, job, **options)
    task.start().result(SECONDS)
    return task.execute().result(SECONDS)


@pytest.mark.parametrize("job", RETURNING.values(), ids=RETURNING)
@pytest.mark.parametrize("background", [None, True])
def test_what_comes_back_is_awaited(job, background):
    """In a worker, or inline without a loop, on a loop of its own."""
    name, _ = run(job, background=background)
    assert (name == "MainThread") is bool(background)


@pytest.mark.parametrize("job", RETURNING.values(), ids=RETURNING)
def test_what_comes_back_is_awaited_on_the_loop_of_the_task(job):
    """Where the task was created, so that clients of that loop can be used."""

    async def main():
        task = ipycron.create_task(NEVER, job)
        await task.start()
        return await task.execute()

    assert asyncio.run(main())[1] == threading.get_ident()


def test_loop_that_is_over_is_replaced():
    """The loop on which the task was created no longer runs."""

    async def main():
        return ipycron.create_task(NEVER, lazy)

    task = asyncio.run(main())
    task.start().result(SECONDS)
    _, ident = task.execute().result(SECONDS)
    assert ident != threading.get_ident()


def test_loop_that_waits_for_the_run_is_not_waited_for(monkeypatch):
    """For example, a notebook's cell may block the kernel's loop."""
    monkeypatch.setattr("ipycron.client.waits.is_interactive", lambda: True)

    async def main():
        task = ipycron.create_task(NEVER, lazy)
        await task.start()
        blocked = task.execute().result(SECONDS)
        return blocked, await task.execute()

    (_, elsewhere), (_, here) = asyncio.run(main())
    assert here == threading.get_ident() != elsewhere


def test_stop_cancels_what_is_awaited():
    """As with a coroutine function."""

    async def main():
        begun = asyncio.Event()

        async def wait():
            begun.set()
            await asyncio.sleep(60)

        task = ipycron.create_task(NEVER, lambda: [wait()][0], stop_timeout=0.5)
        await task.start()
        completion = task.execute()
        await begun.wait()
        await task.stop()
        with pytest.raises(ExecutionStopped):
            await completion
        assert task.last_run.outcome == "stopped"

    asyncio.run(main())


@pytest.mark.parametrize("how", ["stop", "destroy"])
def test_coroutine_that_is_stopped_has_not_failed(how):
    """As a worker that is ended has not: its row says so, and nothing is repeated."""

    async def main():
        begun = asyncio.Event()

        async def wait():
            begun.set()
            await asyncio.sleep(60)

        task = ipycron.create_task(NEVER, wait, retry=3, name=how, stop_timeout=0.1)
        await task.start()
        completion = task.execute()
        await begun.wait()
        await getattr(task, how)()
        with pytest.raises(ExecutionStopped):
            await completion

    asyncio.run(main())
    (row,) = ipycron.history(how)
    assert (row.outcome, row.summary) == ("stopped", None)


async def raise_it():
    """Raise what a cancellation raises."""
    raise asyncio.CancelledError


async def await_what_is_cancelled():
    """As a job does whose request was given up elsewhere."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def be_cancelled():
    """As all tasks of a loop are at its end."""
    asyncio.current_task().cancel()
    await asyncio.sleep(60)


@pytest.mark.parametrize("returns_it", [False, True])
@pytest.mark.parametrize("work", [raise_it, await_what_is_cancelled, be_cancelled])
def test_job_that_is_cancelled_by_others_has_failed(work, returns_it):
    """Its task was not stopped, and nothing says so; a retry follows."""
    name = f"{work.__name__} {returns_it}"

    def begin():
        return work()

    async def main():
        job = begin if returns_it else work
        retry = ipycron.Retry(1, delay=0.01, on=asyncio.CancelledError)
        task = ipycron.create_task(NEVER, job, name=name, retry=retry)
        await task.start()
        with pytest.raises(RemoteError, match=r"^CancelledError: .* was not stopped"):
            await task.execute()

    asyncio.run(main())
    (row,) = ipycron.history(name)
    assert (row.outcome, row.error_type, row.attempts) == (
        "failed",
        "CancelledError",
        2,
    )
    assert "not stopped" in row.error


def test_job_that_is_cancelled_with_a_reason_says_it():
    """It is the error's text."""

    async def work():
        raise asyncio.CancelledError("no more tea")

    async def main():
        task = ipycron.create_task(NEVER, work)
        await task.start()
        with pytest.raises(RemoteError, match=r"^CancelledError: no more tea$"):
            await task.execute()

    asyncio.run(main())


def test_error_of_what_is_awaited_is_the_runs():
    """Whatever it is, even a timeout or a cancelled future."""

    async def fail(error):
        raise error

    for error in (ValueError("no"), TimeoutError("late")):
        task = ipycron.create_task(NEVER, functools.partial(fail, error).__call__)
        task.start().result(SECONDS)
        assert task.execute().exception(SECONDS) is error


def test_executor_awaits_as_well():
    """A pool of threads."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert run(lazy, executor=executor)
        ipycron.shutdown(SECONDS)


def test_cell_awaits_the_coroutine_that_it_ends_with():
    """Without `await` its body would never run."""
    for source in ("work()", "await asyncio.sleep(0)\nwork()"):
        text = f"import asyncio\nasync def work():\n    return 42\n{source}"
        cell = Cell(source=text, filename="<cell it>", payload=Payload())
        assert run(cell, start_timeout=20) == 42


GENERATORS = {
    "a generator function": generate,
    "an async one": generate_later,
    "an object": Generating(),
    "a partial": functools.partial(generate),
}


@pytest.mark.parametrize("job", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("background", [None, True])
def test_generator_function_is_refused_when_the_task_is_created(job, background):
    """The error says what to do."""
    with pytest.raises(TypeError, match=r"generator function: calling it runs nothing"):
        ipycron.create_task(NEVER, job, background=background)


@pytest.mark.parametrize("source", ["def task(): yield", "async def task(): yield"])
def test_generator_function_of_a_file_is_refused_at_its_start(write, source):
    """That is when the file is read."""
    task = ipycron.create_task(NEVER, write(source))
    with pytest.raises(TypeError, match=r"job.py defines task as a generator function"):
        task.start().result(SECONDS)


@pytest.mark.parametrize("background", [None, True])
def test_run_that_returns_a_generator_fails(background):
    """A wrapper may hide it until it is returned."""
    task = ipycron.create_task(NEVER, lambda: [generate()][0], background=background)
    task.start().result(SECONDS)
    with pytest.raises(TypeError, match="returned a generator, whose body has not run"):
        task.execute().result(SECONDS)
