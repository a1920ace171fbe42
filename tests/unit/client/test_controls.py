"""Starts, stops and destroys that outlive the supervisor that was asked."""

import asyncio
import inspect

import pytest

from ipycron.client.recovery import Controls
from ipycron.errors import StartRevoked, SupervisorLost

LOST = SupervisorLost(reason="killed")


class Supervisors:
    """Answered by the test; remembers the requests."""

    def __init__(self):
        self.asked = []
        self.answers = []

    def ask(self, task_id, action, *, force):
        """Take a control; the test answers it."""
        self.asked.append((task_id, action, force))
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    async def answer(self, number=-1, error=None):
        """Answer a control and let the answer be processed."""
        if error is None:
            self.answers[number].set_result(None)
        else:
            self.answers[number].set_exception(error)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def run_coroutines(request):
    """Run each test of this file on its own loop."""
    test = request.function
    if inspect.iscoroutinefunction(test):
        request.node.obj = lambda: asyncio.run(test())


async def test_answer_ends_the_request():
    """The supervisor's answer is what the caller gets."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    start = controls.add("t", "start")
    stop = controls.add("t", "stop", force=True)
    assert supervisors.asked == [("t", "start", False), ("t", "stop", True)]
    assert controls.get_last("t") == "stop"
    await supervisors.answer(0, ValueError("no"))
    assert isinstance(start.exception(), ValueError)
    await supervisors.answer(1)
    assert stop.result() is None
    assert controls.get_last("t") is None


async def test_start_is_asked_again_when_the_supervisor_is_lost():
    """The caller keeps waiting; the old supervisor's late answer is ignored."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    start = controls.add("t", "start")
    controls.handle_loss("t", "t", None)
    await supervisors.answer(0, LOST)
    assert not start.done()
    assert supervisors.asked == [("t", "start", False)] * 2
    await supervisors.answer(1)
    assert start.result() is None


async def test_stop_and_destroy_are_done_when_the_supervisor_is_lost():
    """Workers die with their supervisor: nothing is left to stop."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    ends = [controls.add("t", action) for action in ("stop", "destroy")]
    controls.handle_loss("t", "t", None)
    assert [end.result() for end in ends] == [None, None]
    assert len(supervisors.asked) == 2
    assert controls.get_last("t") is None


async def test_start_is_revoked_when_a_stop_came_after_it():
    """The latest request wins: a start before a stop is not repeated."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    revoked = controls.add("t", "start")
    controls.add("t", "stop")
    wanted = controls.add("t", "start")
    controls.handle_loss("t", "report", None)
    assert isinstance(revoked.exception(), StartRevoked)
    assert revoked.exception().name == "report"
    assert not wanted.done()
    assert supervisors.asked[3:] == [("t", "start", False)]
    await supervisors.answer(3)
    assert wanted.result() is None


async def test_start_fails_when_nobody_takes_over():
    """After too many losses the start fails with the last loss."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    start = controls.add("t", "start")
    controls.handle_loss("t", "t", LOST)
    assert start.exception() is LOST


async def test_cancelled_caller_is_not_an_error():
    """A cancelled waiter is ignored when the answer arrives."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    controls.add("t", "start").cancel()
    await supervisors.answer()
    assert controls.get_last("t") is None


async def test_control_is_open_until_it_is_answered():
    """A call must not overtake an unanswered control."""
    supervisors = Supervisors()
    controls = Controls(supervisors.ask)
    controls.add("t", "start")
    assert controls.has_open("t")
    assert not controls.has_open("other")
    await supervisors.answer()
    assert not controls.has_open("t")
