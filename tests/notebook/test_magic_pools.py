"""`%cron pool`: the limits of pools, shown and set."""

import re

import pytest
from IPython.core.error import UsageError
from polling import SECONDS, eventually

import ipycron
from ipycron.api.pools import PoolState, get_pools
from ipycron.client.registry import registry
from ipycron.notebook.magic.completion import complete


@pytest.fixture(autouse=True)
def _no_pools(session):
    """Begin without a pool: this process keeps those of other tests."""
    for name in get_pools():
        ipycron.set_pool(name, None)
    registry.client.pools = {}


@pytest.fixture
def release(tmp_path):
    """The path of a file; the jobs below run until it is there."""
    path = tmp_path / "release"
    yield path
    path.touch()


def train(path):
    """Run until a file is there."""
    import pathlib  # noqa: PLC0415 - in the worker
    import threading  # noqa: PLC0415

    while not pathlib.Path(path).exists():
        threading.Event().wait(0.01)


def test_pool_is_set_and_shown(session):
    """By the line that makes it, and by the one without a name."""
    assert re.search(r"gpu +2 +0 +0", session.run("%cron pool gpu 2"))
    said = session.run("%cron pool")
    assert re.match(r"pool +limit +running +queued +tasks\ngpu +2 +0 +0", said)
    assert get_pools() == {"gpu": PoolState(2, 0, 0, ())}
    assert re.search(r"gpu +none +0 +0", session.run("%cron pool gpu none"))
    assert get_pools()["gpu"].limit is None


def test_tasks_without_a_pool_have_a_limit(session):
    """By a flag, since they have no name."""
    ipycron.create_task("@yearly", int, name="free")
    assert re.search(
        r"without one\) +8 +0 +0 +free", session.run("%cron pool --others 8")
    )
    assert get_pools()[None].limit == 8
    assert re.search(
        r"without one\) +8 +0 +0 +free", session.run("%cron pool --others")
    )


def test_pool_says_what_is_running_and_queued(session, release):
    """A run that waits is counted as such, whatever its task."""
    session.run("%cron pool gpu 1")
    tasks = [
        ipycron.schedule(
            "@yearly",
            train,
            background=True,
            pool="gpu",
            name=name,
            args=[str(release)],
        )
        for name in ("small", "large")
    ]
    calls = [task.execute() for task in tasks]
    eventually(lambda: get_pools()["gpu"][1:3] == (1, 1))
    assert re.search(r"gpu +1 +1 +1 +small, large", session.run("%cron pool"))
    assert re.search(r"gpu +2 ", session.run("%cron pool gpu 2"))
    eventually(lambda: get_pools()["gpu"][1:3] == (2, 0))
    release.touch()
    for call in calls:
        call.result(SECONDS)
    eventually(lambda: get_pools()["gpu"][1:3] == (0, 0))


def test_run_between_two_attempts_has_no_place(session):
    """Nor does it count as running."""
    session.run("%cron pool gpu 1")
    task = ipycron.schedule(
        "@yearly",
        lambda: 1 / 0,
        pool="gpu",
        retry=ipycron.Retry(1, delay=3600, past_next=True),
        name="again",
    )
    call = task.execute()
    eventually(lambda: any(run.next_attempt_at for run in task.running))
    assert get_pools()["gpu"][:3] == (1, 0, 0)
    task.stop(force=True).result(SECONDS)
    assert call.exception(SECONDS) is not None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gpuu", "no pool is called 'gpuu'. Did you mean 'gpu'? Pools: gpu."),
        ("--others", "the tasks without a pool have no limit"),
        ("gpu 0", "got '0', expected a limit from 1, or none"),
        ("gpu 1.5", "got '1.5', expected a limit from 1, or none"),
        ("gpu -1", "got '-1', expected a limit from 1, or none"),
        ("gpu ²", "got '²', expected a limit from 1, or none"),
        ("gpu 2 3", "got '3' after the limit"),
        ("--others gpu 2", "got '2' after the limit"),
        ("gpu --limit 2", "'--limit' is not an option"),
    ],
)
def test_line_that_makes_no_sense_is_refused(session, line, message):
    """And nothing is changed."""
    session.run("%cron pool gpu 3")
    session.run(f"%cron pool {line}")
    error = session.result.error_in_exec
    assert type(error) is UsageError
    assert message in str(error)
    assert get_pools() == {"gpu": PoolState(3, 0, 0, ())}


def test_no_pool_is_no_error(session):
    """It says how to make one."""
    assert "%cron pool NAME LIMIT makes one" in session.run("%cron pool")
    assert "%cron pool [NAME | --others] [LIMIT | none]" in session.run(
        "%cron pool --help"
    )


def test_names_of_pools_are_completed(session):
    """Whatever they contain; the limit is a number that nobody can guess."""
    for name in ("gpu", "the disk", "\x1b[31mred"):
        ipycron.set_pool(name, 1)
    assert complete("%cron pool g", session.shell).texts == ["gpu"]
    assert '"the disk"' in complete("%cron pool ", session.shell).texts
    assert complete("%cron pool gpu ", session.shell) is None
    assert "\x1b" not in session.run("%cron pool")
