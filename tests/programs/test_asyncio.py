"""asyncio programs: ipycron neither blocks their loop nor waits for itself."""

import signal
import sys

import pytest

PYTHON = (sys.executable, "-W", "error", "-X", "dev", "app.py")
LOOPS = {"asyncio": "asyncio.run(main())", "uvloop": "uvloop.run(main())"}
HEAD = """
import asyncio, concurrent.futures, threading, time
import ipycron, uvloop
from ipycron.errors import BlockingCall, SelfWait

def raises(kind, call, said):
    begin = time.monotonic()
    try:
        call()
    except kind as error:
        assert said in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")
    assert time.monotonic() - begin < 20
"""


@pytest.fixture(params=LOOPS)
def run(request, start):
    """Run the body of a coroutine as a program; return its output lines."""

    def run_main(body):
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        app = f"{HEAD}\nasync def main():\n{lines}\n{LOOPS[request.param]}\n"
        program = start(*PYTHON, app=app)
        assert program.wait() == 0, program.stderr
        return program.stdout

    return run_main


def test_completion_goes_where_asyncio_takes_awaitables(run):
    """`create_task`, `TaskGroup`, `gather`, `wait_for`, `wrap_future`, repeatedly."""
    run("""
async with ipycron.create_task("0 0 1 1 *", "tick.py") as task:
    assert task.status == "idle", task
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(task.execute()) for _ in range(3)]
    assert all(run.done() for run in runs)
    once = task.execute()
    assert await asyncio.gather(once, once, asyncio.create_task(once)) == [None] * 3
    await asyncio.wait_for(task.execute(), 30)
    await asyncio.wrap_future(task.execute())
    await asyncio.wait([asyncio.ensure_future(task.execute())], timeout=30)
    one, two = asyncio.create_task(task.execute()), task.execute()
    done, left = await asyncio.wait({one, asyncio.wrap_future(two)}, timeout=30)
    assert len(done) == 2 and not left and two.done()
    try:  # Python forbids it for whatever `create_task` takes
        await asyncio.wait({task.execute()})
    except TypeError as error:
        assert "use tasks explicitly" in str(error), error
    else:
        raise AssertionError("asyncio.wait takes coroutines")
    assert await asyncio.shield(task.execute()) is None
    loop = asyncio.get_running_loop()
    await loop.create_task(task.execute())
    await asyncio.to_thread(
        lambda: asyncio.run_coroutine_threadsafe(task.execute(), loop).result(30)
    )
    for run in asyncio.as_completed([task.execute(), task.execute()]):
        await run
    runs = [task.execute() for _ in range(3)]
    done = await asyncio.to_thread(concurrent.futures.wait, runs, 30)
    assert not done.not_done
assert task.status == "destroyed", task
assert not ipycron.get_tasks()
await ipycron.shutdown_async()
""")


def test_failure_and_cancellation_arrive_in_a_task(run):
    """The job's own error; cancelling one wait does not affect others."""
    run("""
async def fail():
    raise KeyError("lost")
task = ipycron.create_task("0 0 1 1 *", fail)
await task.start()
try:
    async with asyncio.TaskGroup() as group:
        group.create_task(task.execute())
except* KeyError as errors:
    assert len(errors.exceptions) == 1
over = asyncio.Event()
slow = ipycron.create_task("0 0 1 1 *", over.wait)
await slow.start()
execution = slow.execute()
first, second = asyncio.create_task(execution), asyncio.create_task(execution)
await asyncio.sleep(0.05)
first.cancel()
await asyncio.wait([first])
assert first.cancelled() and not second.done() and not execution.done()
wrapped = asyncio.wrap_future(execution)
assert execution.cancel() and execution.cancelled() and not execution.running()
await asyncio.wait([second, wrapped])
assert second.cancelled() and wrapped.cancelled()
raises(concurrent.futures.CancelledError, execution.result, "")
assert slow.is_busy
over.set()
await ipycron.shutdown_async()
assert not execution.cancel() or execution.cancelled()
""")


def test_blocking_calls_on_the_loop_raise_and_name_the_others(run):
    """At once, naming the non-blocking ones; nothing is shut down."""
    run("""
async def job():
    return 7
task = ipycron.schedule("0 0 1 1 *", job)
with open("slow.py", "w") as slow:  # what has ended by then blocks nobody
    slow.write("import os, time\\ndef task():\\n"
               "    while not os.path.exists('go'):\\n        time.sleep(0.01)")
file = ipycron.schedule("0 0 1 1 *", "slow.py")
await asyncio.gather(task.start(), file.start())
raises(BlockingCall, ipycron.shutdown, "await ipycron.shutdown_async()")
raises(BlockingCall, ipycron.wait, "await ipycron.wait_async()")
raises(BlockingCall, lambda: task.execute().result(10), "await task.execute()")
raises(BlockingCall, lambda: file.execute().exception(), "await task.execute()")
raises(BlockingCall, lambda: file.stop().result(), "await task.stop()")
open("go", "w").close()
await file.start()
done = task.execute()
assert await done == 7 == done.result()
assert await ipycron.wait_async(task, timeout=0.05) is False
waiting = asyncio.create_task(ipycron.wait_async(task, runs=2))
while not waiting.done():
    await task.execute()
    await asyncio.sleep(0.01)
assert await waiting is True
waiting = asyncio.create_task(ipycron.wait_async())
await asyncio.sleep(0.1)
await asyncio.gather(task.destroy(), file.destroy())
assert await waiting is True
await ipycron.shutdown_async(1)
""")


def test_run_that_waits_for_itself_gets_an_error(run):
    """From a coroutine, a thread, and a thread called by a coroutine."""
    run("""
def block(task):
    raises(SelfWait, lambda: task().stop().result(), "'own'")
    raises(SelfWait, lambda: task().destroy().result(), "'own'")
    raises(SelfWait, ipycron.shutdown, "'own'")
    raises(SelfWait, ipycron.wait, "'own'")
    raises(SelfWait, lambda: ipycron.wait(task()), "'own'")
    assert other.execute().result(30) == 1
    assert ipycron.wait(other, timeout=0.01) is False
async def job():
    begin = time.monotonic()
    for wait in (task.stop, ipycron.shutdown_async, ipycron.wait_async):
        try:
            await wait()
        except SelfWait as error:
            assert "'own'" in str(error)
        else:
            raise AssertionError(wait)
    assert time.monotonic() - begin < 20
    await asyncio.to_thread(block, lambda: task)
    return "ended"
other = ipycron.schedule("0 0 1 1 *", lambda: 1)
await other.start()
task = ipycron.create_task("0 0 1 1 *", job, name="own")
await task.start()
await asyncio.gather(task.execute(), return_exceptions=True)
thread = ipycron.create_task("0 0 1 1 *", lambda: block(lambda: thread), name="own")
await thread.start()
await asyncio.gather(thread.execute(), return_exceptions=True)
for task in (task, thread):
    error = task.last_run.error
    assert error is None or "ExecutionStopped" in repr(error), error
await ipycron.shutdown_async()
""")


def test_run_may_stop_its_own_task_where_it_does_not_wait(run):
    """The stop takes effect when the run has ended."""
    run("""
def job():
    task.stop()
    return 3
task = ipycron.create_task("0 0 1 1 *", job)
await task.start()
assert await task.execute() == 3
await task.stop()
assert task.status == "stopped"
await ipycron.shutdown_async()
""")


@pytest.mark.parametrize("wait", ["wait_async()", "to_thread"])
def test_interrupt_ends_a_program_that_waits(start, wait):
    """Ctrl-C cancels the main coroutine; the waiting thread ends with it."""
    call = (
        "asyncio.to_thread(ipycron.wait)" if wait == "to_thread" else f"ipycron.{wait}"
    )
    program = start(
        *PYTHON,
        app=f"""
        import asyncio, ipycron
        async def main():
            ipycron.schedule("* * * * * *", "tick.py")
            await {call}
        asyncio.run(main())
        """,
    )
    program.wait_ticks()
    program.end(signal.SIGINT)
    assert program.wait() == -signal.SIGINT, program.stderr


def test_async_listener_runs_on_the_loop_where_it_was_added(run):
    """In the order of events; it can use objects of that loop."""
    run("""
seen, lock = [], asyncio.Lock()
async def listener(context):
    assert asyncio.get_running_loop() is home
    async with lock:
        await asyncio.sleep(0.05 if not seen else 0)
        seen.append(context.execution.result)
home = asyncio.get_running_loop()
results = iter(range(9))
task = ipycron.create_task("0 0 1 1 *", lambda: next(results))
task.on("execution:finished", listener)
await task.start()
for _ in range(5):
    await task.execute()
while len(seen) < 5:
    await asyncio.sleep(0.01)
task.off("execution:finished", listener)
await task.execute()
await ipycron.shutdown_async()
assert seen == [0, 1, 2, 3, 4], seen
""")


def test_coroutine_that_never_returns_delays_no_other_listener(run):
    """It only blocks its own later events, and is logged once."""
    run("""
import logging
records = []
def keep(record):
    records.append(record.getMessage())
logging.getLogger("ipycron").addFilter(keep)
seen, begun = [], []
async def stuck(context):
    begun.append(1)
    await asyncio.Event().wait()
task = ipycron.create_task("0 0 1 1 *", lambda: 1)
task.on("execution:finished", stuck)
task.on("execution:finished", lambda context: seen.append(1))
await task.start()
for _ in range(3):
    await task.execute()
deadline = time.monotonic() + 30
while time.monotonic() < deadline and not (len(seen) == 3 and records):
    await asyncio.sleep(0.01)
assert (seen, begun) == ([1, 1, 1], [1]), (seen, begun)
assert "running for more than 1 s; its later events wait" in records[0], records
await ipycron.shutdown_async(0)
""")
