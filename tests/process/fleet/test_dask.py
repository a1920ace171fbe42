"""Jobs on a real Dask cluster: a scheduler and two workers in processes (D3)."""

import asyncio
import re
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from functools import partial

import executors
import pytest
from dask_cluster import Cluster
from executors import end_process, note_and_wait, read_runs
from house import EVERY_SECOND, NEVER, Record, drain
from polling import SECONDS, eventually

import ipycron
from ipycron.errors import ExecutionTimeout, ExecutorError, OverlapError
from ipycron.executors.dask import call_on_loop


@pytest.fixture(scope="module")
def shared(tmp_path_factory, dask_threads):
    """The cluster of all tests that do not damage it."""
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    cluster.add_workers(2)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(tmp_path, dask_threads):
    """A cluster for one test."""
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def find_on_scheduler(client):
    """Return how many runs and events Dask's scheduler holds."""

    def ask(dask_scheduler):
        events = dask_scheduler.extensions["events"]._events
        names = [*dask_scheduler.tasks], [*events]
        return tuple(sum(n.startswith("ipycron") for n in part) for part in names)

    return client.run_on_scheduler(ask)


def execute_until(task, is_enough):
    """Run a task until its error, None without one, is enough; return all of them.

    One time may not do: on a machine that stands still, a run times out before it has
    begun.
    """
    errors = []

    def execute():
        errors.append(task.execute().exception(SECONDS))
        return is_enough(errors[-1])

    eventually(execute, lambda: errors)
    return errors


@pytest.fixture(params=["client", "executor"])
def way(request, shared):
    """A client itself, and what its `get_executor` returns."""
    client = shared.client
    return client if request.param == "client" else client.get_executor()


def test_run_comes_home_with_everything(way, start, caplog):
    """Result, context, output and log, from a process of the cluster."""
    task = start(executors.talk, way)
    ctx = task.execute().result(SECONDS)
    assert ctx.task.name == "report"
    assert task.last_run.output.stdout == "to stdout report\nbytes\n"
    assert task.last_run.output.stderr == "to stderr\n"
    (record,) = eventually(lambda: [r for r in caplog.records if r.name == "talker"])
    assert record.process == ctx.execution.pid


def test_run_comes_home_with_its_error(way, start):
    """As it was raised; Dask does not retry."""
    task = start(executors.fail, way)
    with pytest.raises(executors.Boom) as caught:
        task.execute().result(SECONDS)
    assert caught.value.extra == [1, 2]
    assert "raise boom from error" in task.last_run.traceback_text


def test_result_leaves_its_class_as_it_is(shared, start):
    """The class is returned as a reference."""
    scope = {"__name__": "__main__"}
    exec("class Mine:\n    n = 0\ndef job(): return Mine(), job", scope)
    task = start(scope["job"], shared.client)
    scope["Mine"].n = 7
    value, job = task.execute().result(SECONDS)
    assert type(value) is scope["Mine"]
    assert (value.n, job) == (7, scope["job"])


def test_each_fire_is_computed(shared, start):
    """Dask caches results by arguments; no two fires have the same."""
    record = Record(ipycron)  # before the first slot
    start(lambda: 42, shared.client, EVERY_SECOND, max_executions=2)
    record.wait("task:destroyed")
    assert len(record.of("execution:finished")) == 2


def test_job_may_use_its_worker(shared, start):
    """It is an ordinary Dask task."""

    def ask():
        from distributed import get_client, get_worker  # noqa: PLC0415 - in the worker

        return get_worker().address, get_client().submit(lambda: 42).result()

    address, result = start(ask, shared.client).execute().result(SECONDS)
    assert address in shared.client.scheduler_info()["workers"]
    assert result == 42


def test_runs_are_as_many_as_the_cluster_takes(shared, start, tmp_path):
    """Two workers run two at a time; the third waits in Dask."""
    task = start(partial(note_and_wait, str(tmp_path)), shared.client)
    runs = [task.execute() for _ in range(3)]
    eventually(lambda: len(read_runs(tmp_path)) == 2)
    assert len(task.running) == 3
    (tmp_path / "go").touch()
    assert len({run.result(SECONDS) for run in runs}) == 2


def test_run_is_cancelled_when_it_takes_too_long(shared, start, tmp_path):
    """A run that waits for a worker never begins; the schedule continues."""
    job = partial(note_and_wait, str(tmp_path))
    holders = start(job, shared.client, name="holders")
    held = [holders.execute() for _ in range(2)]
    eventually(lambda: len(read_runs(tmp_path)) == 2)
    others = tmp_path / "others"
    others.mkdir()
    (others / "go").touch()
    task = start(partial(note_and_wait, str(others)), shared.client, timeout=3)
    assert isinstance(task.execute().exception(SECONDS), ExecutionTimeout)
    eventually(lambda: find_on_scheduler(shared.client) == (2, 2))
    (tmp_path / "go").touch()
    for run in held:
        run.result(SECONDS)
    errors = execute_until(task, lambda error: error is None)
    assert 1 <= len(read_runs(others)) <= len(errors)


def test_run_that_goes_on_keeps_its_task_busy(shared, start, tmp_path):
    """Dask cannot end a run that has begun: the task is busy until it returns."""
    job = partial(note_and_wait, str(tmp_path))
    task = start(job, shared.client, timeout=2, no_overlap=True)
    errors = execute_until(task, lambda error: not error.is_ended)
    assert {type(error) for error in errors} == {ExecutionTimeout}
    with pytest.raises(OverlapError):
        task.execute().result(SECONDS)
    (tmp_path / "go").touch()
    errors += execute_until(task, lambda error: error is None)
    admitted = [error for error in errors if not isinstance(error, OverlapError)]
    assert 2 <= len(read_runs(tmp_path)) <= len(admitted)


def test_nothing_is_left_on_the_cluster(shared, start):
    """Results and events are released once the last task is gone."""
    task = start(lambda: 42, shared.client)
    for _ in range(3):
        task.execute().result(SECONDS)
    task.destroy().result(SECONDS)
    eventually(lambda: find_on_scheduler(shared.client) == (0, 0))
    eventually(lambda: not any(shared.client.has_what().values()))
    assert not shared.client.futures


def test_asynchronous_client_is_taken_as_it_is(shared, start):
    """It may belong to a notebook's loop, on which ipycron must not wait."""
    from distributed import Client  # noqa: PLC0415 - beside its only use

    async def run():
        async with Client(
            shared.address, asynchronous=True, set_as_default=False
        ) as client:
            task = ipycron.create_task(NEVER, lambda: 42, executor=client)
            await task.start()
            assert await task.execute() == 42
            await task.destroy()

    asyncio.run(run())


# --- policies -------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 0.05])
def test_failed_run_is_attempted_again(way, start, delay):
    """Each attempt is a task of Dask's own: it remembers the one before."""

    def fetch(ctx):
        print("attempt", ctx.attempt)  # noqa: T201 - what is recorded
        if ctx.attempt < 4:
            raise ConnectionError(f"no {ctx.attempt}")
        return ctx.attempt

    retry = ipycron.Retry(3, delay=delay, on=ConnectionError)
    task = start(fetch, way, retry=retry)
    assert task.execute().result(SECONDS) == 4
    assert task.last_run.output.stdout == "".join(f"attempt {n}\n" for n in range(1, 5))


def test_failed_run_has_the_error_of_its_last_attempt(shared, start):
    """Not one of Dask's."""

    def fail(ctx):
        raise LookupError(f"no {ctx.attempt}")

    task = start(fail, shared.client, retry=ipycron.Retry(2, delay=0.01))
    with pytest.raises(LookupError, match="no 3"):
        task.execute().result(SECONDS)
    assert task.last_run.attempt == 3


def test_snoozed_run_goes_on(shared, start, tmp_path):
    """As often as its job asks for it."""
    path = tmp_path / "times"

    def load():
        with path.open("a") as file:
            file.write("x")
        if path.stat().st_size < 3:
            raise ipycron.Snooze(0.01)
        return "loaded"

    task = start(load, shared.client)
    assert task.execute().result(SECONDS) == "loaded"
    assert path.stat().st_size == 3


def test_run_is_attempted_again_when_its_worker_is_killed(cluster, start, tmp_path):
    """By ipycron, as its policy says; never by Dask."""
    cluster.add_workers(2)
    retry = ipycron.Retry(1, delay=0.01, on="crash")
    job = partial(note_and_wait, str(tmp_path))
    task = start(job, cluster.client, retry=retry)
    run = task.execute()
    (pid,) = eventually(lambda: read_runs(tmp_path))
    cluster.kill(pid)
    (tmp_path / "go").touch()  # not before: the first attempt would return
    assert run.result(SECONDS) != pid
    assert len(read_runs(tmp_path)) == 2
    assert task.last_run.attempt == 2


# --- losses ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_run_fails_once_when_its_worker_is_killed(cluster, start, tmp_path, count):
    """At once, even if another worker could take over; it is not run again."""
    cluster.add_workers(count)
    task = start(partial(note_and_wait, str(tmp_path)), cluster.client)
    run = task.execute()
    (pid,) = eventually(lambda: read_runs(tmp_path))
    cluster.kill(pid)
    with pytest.raises(ExecutorError) as caught:
        run.result(SECONDS)
    # Without an address if the second attempt was faster than the notification.
    assert re.fullmatch(
        r"task 'report': the executor lost the run: the Dask worker( \S+)? that had it "
        r"is gone\. It is not run again, for it may have done a part of its work\.",
        str(caught.value),
    )
    (tmp_path / "go").touch()
    if count == 1:
        cluster.add_workers(1)
    assert task.execute().result(SECONDS) != pid
    assert len(read_runs(tmp_path)) == 2
    assert task.status == "idle"


def test_run_that_waits_for_a_worker_that_is_killed_runs_on_another(
    cluster, start, tmp_path
):
    """It has done nothing yet, although Dask had given it to that worker."""
    cluster.add_workers(1)
    task = start(partial(note_and_wait, str(tmp_path)), cluster.client)
    runs = [task.execute()]
    (pid,) = eventually(lambda: read_runs(tmp_path))
    runs.append(task.execute())
    eventually(lambda: find_on_scheduler(cluster.client)[0] == 2)
    cluster.kill(pid)
    assert isinstance(runs[0].exception(SECONDS), ExecutorError)
    (tmp_path / "go").touch()
    cluster.add_workers(1)
    assert runs[1].result(SECONDS) != pid
    assert len(read_runs(tmp_path)) == 2


def test_run_fails_when_its_first_line_ends_its_worker(cluster, start, tmp_path):
    """However soon: the cluster reports who has a run before it begins."""
    cluster.add_workers(1)
    task = start(partial(end_process, str(tmp_path)), cluster.client)
    # A worker that has run something runs the next at once.
    task.execute().result(SECONDS)
    (tmp_path / "go").touch()
    with pytest.raises(ExecutorError, match=r"the Dask worker \S+ that had it is gone"):
        task.execute().result(SECONDS)


def test_run_fails_when_its_worker_is_gone_before_the_client_hears_of_it(
    cluster, start, tmp_path
):
    """A busy client may ask too late to be notified about the worker."""
    task = start(partial(end_process, str(tmp_path)), cluster.client)
    (tmp_path / "go").touch()
    run = task.execute()
    eventually(lambda: find_on_scheduler(cluster.client)[0])
    is_over = threading.Event()
    cluster.client.loop.add_callback(is_over.wait, SECONDS)
    with cluster.start_worker() as worker:
        worker.wait(SECONDS)
    is_over.set()
    with pytest.raises(ExecutorError, match=r"the Dask worker \S+ that had it is gone"):
        run.result(SECONDS)


def test_schedule_goes_on_when_a_worker_is_killed(cluster, start, tmp_path):
    """The lost fire is reported; the next ones run on the remaining worker."""
    cluster.add_workers(2)
    record = Record(ipycron)  # before the first slot
    task = start(partial(note_and_wait, str(tmp_path)), cluster.client, EVERY_SECOND)
    (pid, *_) = eventually(lambda: read_runs(tmp_path))
    cluster.kill(pid)
    record.wait("execution:failed")
    (tmp_path / "go").touch()
    record.wait("execution:finished", count=2)
    task.destroy().result(SECONDS)
    drain()
    assert len(record.of("execution:failed")) == 1
    assert len(read_runs(tmp_path)) == len(record.of("execution:started"))


def test_result_is_not_computed_again_when_its_worker_is_killed(
    cluster, start, tmp_path
):
    """Dask would do so for a result that it still holds."""
    cluster.add_workers(2)
    (tmp_path / "go").touch()
    task = start(partial(note_and_wait, str(tmp_path)), cluster.client)
    pid = task.execute().result(SECONDS)
    eventually(lambda: not any(cluster.client.has_what().values()))
    cluster.kill(pid)
    eventually(lambda: len(cluster.client.scheduler_info()["workers"]) == 1)
    other = start(partial(note_and_wait, str(tmp_path)), cluster.client, name="other")
    assert other.execute().result(SECONDS) != pid
    assert len(read_runs(tmp_path)) == 2


def test_runs_wait_when_there_is_no_worker(cluster, start, tmp_path):
    """They run once the cluster grows; `timeout` limits the wait."""
    task = start(lambda: 42, cluster.client)
    bounded = start(lambda: 42, cluster.client, name="bounded", timeout=0.3)
    run = task.execute()
    assert isinstance(bounded.execute().exception(SECONDS), ExecutionTimeout)
    assert not run.done()
    cluster.add_workers(1)
    assert run.result(SECONDS) == 42


def test_runs_fail_when_the_scheduler_is_killed(cluster, start, tmp_path):
    """Runs in progress are lost, later ones refused; nothing hangs."""
    cluster.add_workers(1)
    task = start(partial(note_and_wait, str(tmp_path)), cluster.client, timeout=60)
    run = task.execute()
    eventually(lambda: read_runs(tmp_path))
    cluster.kill_scheduler()
    error = run.exception(SECONDS)
    assert isinstance(error, ExecutorError)
    assert "scheduler-connection-lost" in str(error)
    ipycron.shutdown()


def test_runs_fail_when_the_client_is_closed(cluster, start, tmp_path):
    """The same, if the user closes it."""
    cluster.add_workers(1)
    task = start(partial(note_and_wait, str(tmp_path)), cluster.client)
    run = task.execute()
    eventually(lambda: read_runs(tmp_path))
    cluster.client.close()
    assert "the executor cancelled the run" in str(run.exception(SECONDS))
    again = task.execute().exception(SECONDS)
    assert "the executor refused the run: ClosedClientError" in str(again)


@pytest.mark.parametrize("is_closed", [False, True], ids=["stopped", "closed"])
def test_call_ends_when_the_loop_ends_before_it(is_closed):
    """Closing a client during one of our calls leaves no thread behind."""
    loop = asyncio.new_event_loop()
    is_asked, is_held = threading.Event(), threading.Event()

    def hold_and_stop():
        is_held.set()
        assert is_asked.wait(SECONDS)
        loop.stop()  # what was asked for meanwhile is not called any more

    def live():
        loop.call_soon(hold_and_stop)
        loop.run_forever()
        if is_closed:
            loop.close()

    thread = threading.Thread(target=live)
    thread.start()
    assert is_held.wait(SECONDS)
    threading.Timer(0.2, is_asked.set).start()
    with pytest.raises(CancelledError, match="the client is closed"):
        call_on_loop(loop, partial(asyncio.sleep, 0))
    thread.join(SECONDS)
    with pytest.raises(CancelledError, match="the client is closed"):
        call_on_loop(loop, partial(asyncio.sleep, 0))
    loop.close()


def test_call_raises_what_the_method_raises(shared):
    """Not every failure of a call means that the loop has ended."""

    async def fail():
        raise RuntimeError("the method's own")

    with pytest.raises(RuntimeError, match="the method's own"):
        call_on_loop(shared.client.loop.asyncio_loop, fail)


def test_dask_is_imported_only_for_its_clients():
    """A pool does not cost the import of Dask."""
    code = (
        "import sys, concurrent.futures as cf, ipycron\n"
        "with cf.ThreadPoolExecutor(1) as pool:\n"
        "    task = ipycron.create_task('0 0 1 1 *', int, executor=pool)\n"
        "    task.start().result(30)\n"
        "    assert task.execute().result(30) == 0\n"
        "    ipycron.shutdown()\n"
        "print('distributed' in sys.modules, 'dask' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
