"""The thread pool for inline functions: as many threads as needed, not for long."""

import threading

import pytest
from polling import eventually

from ipycron.client import threads
from ipycron.client.threads import ThreadPool


@pytest.fixture
def pool():
    """A pool that is closed after the test."""
    pool = ThreadPool()
    yield pool
    pool.close()


def count_threads():
    """Return the number of job threads."""
    return sum(thread.name == "ipycron-job" for thread in threading.enumerate())


def test_calls_run_in_order_on_few_threads_when_they_are_short(pool, monkeypatch):
    """A thousand short calls need at most two threads."""
    monkeypatch.setattr(threads, "GROW_AFTER", 0.1)  # on a busy machine they wait
    done = []
    for number in range(1000):
        pool.submit(lambda number=number: done.append(number))
    eventually(lambda: len(done) == 1000)
    assert count_threads() <= threads.MIN_THREADS


def test_every_call_gets_a_thread_when_all_block(pool):
    """Fifty calls that wait for one another all run."""
    meeting = threading.Barrier(50)
    met = []
    for _ in range(50):
        pool.submit(lambda: met.append(meeting.wait(10)))
    eventually(lambda: len(met) == 50)


def test_second_call_runs_when_the_first_blocks(pool):
    """Only one thread is woken at a time: it must wake the next."""
    pool.prepare()
    for _ in range(20):
        eventually(lambda: len(pool._idle) == threads.MIN_THREADS)
        release = threading.Event()
        pool.submit(lambda release=release: release.wait(10))
        pool.submit(release.set)
        assert release.wait(20)


def test_idle_threads_sleep_when_one_can_serve(pool):
    """The thread idle last is woken first, so that the others time out."""
    meeting = threading.Barrier(31)
    for _ in range(30):
        pool.submit(lambda: meeting.wait(10))
    meeting.wait(10)
    # On a busy machine there are more: threads are added for calls that other threads,
    # just started, are about to take.
    eventually(lambda: len(pool._idle) == pool._threads >= 30)
    servers = set()
    for _ in range(100):
        done = threading.Event()
        pool.submit(lambda done=done: (servers.add(threading.get_ident()), done.set()))
        assert done.wait(20)
        # On a busy machine the last one may not be back yet.
        eventually(lambda: len(pool._idle) == pool._threads)
    assert len(servers) < 10


def look_at(stall, looks, *, threads):
    """Return the numbers of the checks that add threads."""
    begun, now, used = 0, 0.0, 0.0
    found = []
    for number, (progress, elapsed, share) in enumerate(looks):
        begun, now, used = begun + progress, now + elapsed, used + elapsed * share
        if stall.check(begun=begun, now=now, used=used, threads=threads):
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ((0, 0.002, 0.0), 10),  # all wait for something
        ((1, 0.002, 0.0), 10),  # one of two does
        ((2, 0.002, 0.0), 0),  # each is free again and again
        ((0, 0.002, 1.0), 1),  # they compute
        ((2, 0.002, 1.0), 0),
        ((0, 0.006, 0.9), 2),
    ],
)
def test_threads_are_added_when_calls_make_no_progress(look, expected):
    """At once for blocked calls, ten times later for computing ones."""
    stall = threads.Stall(begun=0, now=0.0, used=0.0)
    assert len(look_at(stall, [look] * 10, threads=2)) == expected


def test_stall_is_forgotten_when_calls_begin():
    """Short busy periods do not accumulate."""
    stall = threads.Stall(begun=0, now=0.0, used=0.0)
    looks = [(0, 0.002, 1.0)] * 9 + [(2, 0.002, 1.0)]
    assert look_at(stall, looks * 10, threads=2) == []


def test_calls_are_served_when_no_thread_can_be_started_any_more(pool, monkeypatch):
    """Python 3.12 starts no threads once the main thread has ended."""

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    pool.prepare()
    assert count_threads() == threads.MIN_THREADS
    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool.prepare()
    done = []
    for number in range(20):
        pool.submit(lambda number=number: done.append(number))
    eventually(lambda: len(done) == 20)


def test_call_is_refused_when_there_is_no_thread_and_none_can_be_started(
    pool, monkeypatch
):
    """Its run fails with the reason; nothing hangs."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool.prepare()
    with pytest.raises(RuntimeError, match="no thread"):
        pool.submit(lambda: None)


def test_call_is_served_when_it_comes_after_idle_time(pool, monkeypatch):
    """Threads that ended while idle are replaced."""
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.01)
    meeting = threading.Barrier(10)
    for _ in range(10):
        pool.submit(lambda: meeting.wait(10))
    eventually(lambda: count_threads() <= threads.MIN_THREADS)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(10)


def test_threads_end_when_the_pool_is_closed_before_their_calls_are_over(pool):
    """A thread that outlives the pool ends right after its call."""
    release, begun = threading.Event(), threading.Event()

    def work():
        begun.set()
        release.wait(10)

    pool.submit(work)
    assert begun.wait(10)
    pool.close()
    release.set()
    eventually(lambda: count_threads() == 0, "the thread ends")
