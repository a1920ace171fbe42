"""A claim is renewed from the election to the end of the run."""

import asyncio
import logging
import threading
import time

from polling import SECONDS, eventually_async

from ipycron.coordinate.session import CoordinatorSession, log_problem
from ipycron.errors import CoordinatorError

LEASE = 30.0


class Renewing:
    """Elects; answers renewals with `renewals` in turn, then with True."""

    def __init__(self, *, is_elected=True, renewals=()):
        self.is_elected = is_elected
        self.renewals = list(renewals)
        self.calls = []

    def should_run(self, _key, _lease):
        """Answer."""
        self.calls.append("should_run")
        return self.is_elected

    def renew(self, _key, _lease):
        """Answer, or raise."""
        self.calls.append("renew")
        answer = self.renewals.pop(0) if self.renewals else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def on_complete(self, _key):
        """Record the key."""
        self.calls.append("on_complete")


def test_a_claim_is_renewed_every_third_of_its_lease_until_completion():
    """A run may exceed the lease; nothing renews it afterwards."""
    coordinator = Renewing()

    async def live():
        election = CoordinatorSession(coordinator)
        started = time.monotonic()
        assert await election.should_run("report:x", 0.3)
        await eventually_async(lambda: coordinator.calls.count("renew") >= 4)
        assert time.monotonic() - started >= 0.4
        await election.on_complete("report:x")
        await asyncio.sleep(0.25)

    asyncio.run(live())
    assert coordinator.calls[-1] == "on_complete"


def test_a_claim_that_was_not_granted_is_not_renewed():
    """Only the holder renews."""
    coordinator = Renewing(is_elected=False)

    async def live():
        assert not await CoordinatorSession(coordinator).should_run("report:x", 0.03)
        await asyncio.sleep(0.1)

    asyncio.run(live())
    assert coordinator.calls.count("renew") == 0


def test_a_renewal_that_failed_is_reported_and_tried_again():
    """A server that is briefly unreachable does not cost the claim."""
    coordinator = Renewing(renewals=[OSError("away"), None])
    reports = []

    async def live():
        election = CoordinatorSession(
            coordinator, report=lambda *report: reports.append(report)
        )
        await election.should_run("report:x", 0.06)
        await eventually_async(lambda: coordinator.calls.count("renew") >= 4)
        await election.aclose()

    asyncio.run(live())
    assert [key for key, _ in reports] == ["report:x", "report:x"]
    assert "Renewing.renew() raised OSError: away" in str(reports[0][1])
    assert "returned a NoneType" in str(reports[1][1])


def test_a_renewal_ends_with_a_report_when_the_claim_is_lost():
    """The run continues; the log says that it may not be the only one."""
    coordinator = Renewing(renewals=[False])
    reports = []

    async def live():
        election = CoordinatorSession(
            coordinator, report=lambda *report: reports.append(report)
        )
        await election.should_run("report:x", 0.03)
        await eventually_async(lambda: reports)
        await asyncio.sleep(0.05)
        await election.on_complete("report:x")

    asyncio.run(live())
    assert coordinator.calls.count("renew") == 1
    assert len(reports) == 1
    assert "another instance holds the claim" in str(reports[0][1])


def test_on_complete_waits_for_the_renewal_under_way():
    """Otherwise a renewal might recreate the claim after completion."""
    gate = threading.Event()

    class Slow(Renewing):
        def renew(self, key, lease):
            self.calls.append("began")
            gate.wait(SECONDS)
            return super().renew(key, lease)

    coordinator = Slow()

    async def live():
        election = CoordinatorSession(coordinator)
        await election.should_run("report:x", 0.03)
        await eventually_async(lambda: coordinator.calls.count("began") == 1)
        ending = asyncio.create_task(election.on_complete("report:x"))
        await asyncio.sleep(0.05)
        assert coordinator.calls.count("on_complete") == 0
        gate.set()
        await ending

    asyncio.run(live())
    assert coordinator.calls == [
        "should_run",
        "began",
        "renew",
        "on_complete",
    ]


def test_one_renewal_runs_when_a_key_is_granted_twice():
    """A careless coordinator must not leave a renewal running for ever."""
    coordinator = Renewing()

    async def live():
        election = CoordinatorSession(coordinator)
        await election.should_run("report:x", LEASE)
        await election.should_run("report:x", LEASE)
        assert len(election._renewals) == 1
        await election.on_complete("report:x")
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(live())


def test_aclose_stops_renewals_and_closes_the_coordinator():
    """May be repeated; a coordinator without `close` works, too."""
    coordinator = Renewing()
    closed = []

    async def live():
        election = CoordinatorSession(coordinator)
        await election.should_run("a:1", LEASE)
        await election.should_run("b:1", LEASE)
        await election.aclose()
        assert len(asyncio.all_tasks()) == 1
        coordinator.close = lambda: closed.append(1)
        await election.aclose()

    asyncio.run(live())
    assert closed == [1]


def test_log_problem_logs_an_error_with_its_traceback(caplog):
    """By default, a failed renewal is an error in ipycron's log."""
    error = CoordinatorError(reason="Redis: down")
    with caplog.at_level(logging.ERROR, "ipycron"):
        log_problem("report:x", error)
    (record,) = caplog.records
    assert record.name == "ipycron"
    assert record.getMessage() == "claim 'report:x': could not be renewed"
    assert record.exc_info[1] is error
