"""Small parts: waiting, counting, the table of phases."""

import ast
import asyncio
from itertools import product
from pathlib import Path

import pytest

import ipycron.scheduling
from ipycron.scheduling.aio import settle, share, sleep, within
from ipycron.scheduling.events import Outcome, ScheduledExecution
from ipycron.scheduling.missed import CHUNK, MissedCounter
from ipycron.scheduling.plan import Gap
from ipycron.scheduling.policy import Policy
from ipycron.scheduling.state import TRANSITIONS, Phase, TaskState
from ipycron.testing import Every, FakeClock

ALLOWED = {
    ("stopped", "starting"),
    ("stopped", "destroyed"),
    ("starting", "started"),
    ("starting", "stopped"),
    ("starting", "stopping"),
    ("started", "stopping"),
    ("stopping", "stopped"),
    ("stopping", "destroyed"),
}


@pytest.mark.parametrize(("here", "there"), list(product(Phase, Phase)))
def test_phase_moves_along_the_table_only(here, there):
    """Eight transitions are allowed; any other raises."""
    entry = TaskState("t", name="t", schedule=Every(1), policy=Policy(), services=None)
    entry.phase = here
    if (here, there) in ALLOWED:
        entry.move(there)
        assert entry.phase is there
    else:
        with pytest.raises(
            RuntimeError, match=f"^invalid transition from {here} to {there}$"
        ):
            entry.move(there)


def test_each_field_of_the_state_has_one_writer():
    """Exactly one class assigns each attribute."""
    writers = {}
    for path in Path(ipycron.scheduling.__file__).parent.glob("*.py"):
        for group in ast.walk(ast.parse(path.read_text())):
            if isinstance(group, ast.ClassDef) and group.name != "TaskState":
                for name in find_written(group):
                    writers.setdefault(name, set()).add(group.name)
    assert writers["standby"] == {"Slots"}
    assert writers["runs"] == {"RunTracker"}
    assert {name: many for name, many in writers.items() if len(many) > 1} == {}


def find_written(group):
    """Return the attributes of a task's state that a class assigns."""
    for node in ast.walk(group):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            owner = ast.unparse(node.value)
            if owner in ("state", "self.state", "self._state"):
                yield node.attr


def test_table_of_phases_is_read_only():
    """The table is complete and read-only."""
    assert set(TRANSITIONS) == set(Phase)
    with pytest.raises(TypeError):
        TRANSITIONS[Phase.STOPPED] = frozenset()


def test_outcome_of_an_error_has_one_line():
    """The summary is the type and the first line of the text."""
    error = ValueError("no\nand more")
    outcome = Outcome.of_error(error)
    assert outcome == Outcome(is_ok=False, value=error, summary="ValueError: no")
    assert Outcome.of_error(KeyError()).summary == "KeyError"


def test_copy_of_an_execution_is_whole():
    """A snapshot has every field and does not change with the original."""
    execution = ScheduledExecution(
        id="r", reason="invoked", date=1, started_at=2, finished_at=3, pid=4
    )
    copy = execution.copy()
    assert copy == execution
    execution.pid = 5
    assert copy.pid == 4


async def test_sleep_is_woken_by_its_clock():
    """Fake seconds pass as the test says."""
    clock = FakeClock()
    nap = asyncio.ensure_future(sleep(clock, 10))
    await clock.advance(9.9)
    assert not nap.done()
    await clock.advance(0.1)
    assert nap.done()


async def test_sleep_leaves_no_timer_when_cancelled():
    """A cancelled sleep leaves no timer behind."""
    clock = FakeClock()
    nap = asyncio.ensure_future(sleep(clock, 10))
    await clock.advance(1)
    nap.cancel()
    await clock.advance(20)
    assert nap.cancelled()


async def test_within_cancels_its_work_when_its_caller_is_cancelled():
    """A cancelled caller leaves nothing behind."""
    clock = FakeClock()
    work = asyncio.ensure_future(asyncio.Event().wait())
    call = asyncio.ensure_future(within(clock, 10, work, late=TimeoutError))
    await clock.advance(1)
    call.cancel()
    await clock.advance()
    assert call.cancelled()
    assert work.cancelled()


async def test_share_returns_the_result_to_all():
    """Several waiters get one result."""
    task = asyncio.ensure_future(asyncio.sleep(0, "done"))
    assert await asyncio.gather(share(task), share(task)) == ["done", "done"]


async def test_settle_may_be_repeated():
    """A future that is done stays as it is."""
    future = asyncio.get_running_loop().create_future()
    settle(future)
    settle(future)
    assert future.result() is None


async def test_counter_counts_small_gaps_at_once():
    """A gap of one chunk is reported before the call returns."""
    reports = []
    tally = MissedCounter(FakeClock())
    tally.add(
        "a", Every(1), Gap(after=0, before=CHUNK), report=lambda *r: reports.append(r)
    )
    assert reports == [(CHUNK - 1, CHUNK - 1)]
    assert not tally.has("a")


async def test_counter_takes_turns():
    """A long count does not block a short one."""
    clock = FakeClock()
    reports = []
    tally = MissedCounter(clock)
    for owner, slots in [("long", 9 * CHUNK), ("short", 2 * CHUNK)]:
        gap = Gap(after=0, before=slots + 1)
        tally.add(
            owner,
            Every(1),
            gap,
            report=lambda count, _newest, owner=owner: reports.append((owner, count)),
        )
    assert tally.has("long")
    await clock.advance(1)
    assert reports == [("short", 2 * CHUNK), ("long", 9 * CHUNK)]
    assert not tally.has("long")


async def test_counter_reports_its_count_when_stopped():
    """A stopped count is reported once; other counts continue."""
    clock = FakeClock()
    reports = []
    tally = MissedCounter(clock)
    for owner in "ab":
        tally.add(
            owner,
            Every(1),
            Gap(after=0, before=9 * CHUNK),
            report=lambda *r, owner=owner: reports.append((owner, *r)),
        )
    tally.cut("a")
    tally.cut("a")
    assert reports == [("a", CHUNK, CHUNK)]
    await clock.advance(1)
    assert reports[1:] == [("b", 9 * CHUNK - 1, 9 * CHUNK - 1)]
