"""In a fleet each slot runs at most once, with any combination of options (D1, D2)."""

import asyncio
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipycron.client.elections import check_election
from ipycron.client.options import make_options
from ipycron.errors import InvalidOption
from ipycron.scheduling.aio import sleep
from ipycron.scheduling.scheduler import Scheduler
from ipycron.testing import Every, FakeClock, FakeLauncher, RecordedEvents, Script

PERIOD = 20
END = 200.0
"""Seconds of fake time: ten slots, and what is late for them."""
STEP = 0.5


class FrozenClock(FakeClock):
    """The clock of a process that may be suspended: its timers are then late."""

    def freeze(self, seconds):
        """Let time pass while the process is suspended."""
        nanoseconds = round(seconds * 1e9)
        self._wall += nanoseconds
        self._monotonic += nanoseconds

    def _pass(self, deadline):
        super()._pass(max(deadline, self._monotonic))


class Claims:
    """A server's state: each claim until its lease expires by its own clock."""

    def __init__(self):
        self.now = 0.0
        self._ends = {}

    def take(self, key, lease):
        """Claim a key; return whether it was free."""
        if self._ends.get(key, 0.0) > self.now:
            return False
        self._ends[key] = self.now + lease
        return True


class Elector:
    """An instance's connection to the claims, with a delay."""

    def __init__(self, clock, claims, travel):
        self._clock = clock
        self._claims = claims
        self._travel = travel

    async def should_run(self, _, key, lease):
        """Ask for the claim."""
        await sleep(self._clock, self._travel)
        return self._claims.take(key, lease)

    async def on_complete(self, _, key):
        """Keep the claim."""


class Instance:
    """One process of the fleet, which is suspended now and then."""

    def __init__(self, claims, policy, *, skew, freezes, script, travel, delay):
        self.clock = FrozenClock(skew)
        self.events = RecordedEvents()
        self._freezes = freezes
        self._frozen_since = None
        self.scheduler = Scheduler(
            clock=self.clock,
            launcher=FakeLauncher(self.clock, script=script, is_shared=True),
            emit=self.events,
            elector=Elector(self.clock, claims, travel),
            uniform=lambda low, high: low + delay * (high - low),
        )
        self.scheduler.add("t", name="t", schedule=Every(PERIOD), policy=policy)

    async def go_on(self, now):
        """Run for one step, or be suspended for it."""
        if any(begin <= now < begin + length for begin, length in self._freezes):
            self.clock.freeze(STEP)
        else:
            await self.clock.advance(STEP)


async def live(policy, lives, *, script, travel, delays):
    """Run two instances in parallel; return how often each slot ran."""
    claims = Claims()
    instances = [
        Instance(
            claims,
            policy,
            skew=skew,
            freezes=freezes,
            script=script,
            travel=travel,
            delay=delay,
        )
        for (skew, freezes), delay in zip(lives, delays, strict=True)
    ]
    for instance in instances:
        await instance.scheduler.start("t")
    while claims.now < END:
        for instance in instances:
            await instance.go_on(claims.now)
        claims.now += STEP
    for instance in instances:
        await instance.clock.pass_until(instance.scheduler.shutdown(0))
    return Counter(
        notice.date
        for instance in instances
        for notice in instance.events.of("execution:started")
    )


leases = st.sampled_from([0.3, 1, 2, 5, 30])
durations = st.sampled_from([0, 0.5, 1, 3, 15, 60])
# Around slots, since that is where being suspended matters.
begins = st.builds(
    lambda slot, offset: slot * PERIOD + offset, st.integers(1, 6), st.floats(-2, 3)
)
freezes = st.lists(
    st.tuples(begins, st.sampled_from([1.5, 6.0, 20.0, 45.0, 90.0])), max_size=3
)
SHORT = {"distributed_lease": 0.3, "tolerance": 1, "jitter": 0}
JITTERY = {"distributed_lease": 1, "tolerance": 0, "jitter": 15}


@settings(max_examples=60)
@example(SHORT, ([], [(19.0, 1.5)]), 0.0, 0.0, 0.0, (0.0, 0.0))
@example(JITTERY, ([], [(20.5, 45.0)]), 0.0, 0.0, 2.0, (0.0, 0.5))
@given(
    options=st.fixed_dictionaries(
        {"distributed_lease": leases, "tolerance": durations, "jitter": durations},
        optional={
            "timeout": st.sampled_from([0.5, 2, 10]),
            "no_overlap": st.booleans(),
            "max_executions": st.integers(1, 4),
            "start_timeout": st.sampled_from([0.5, 30]),
        },
    ),
    lives=st.tuples(freezes, freezes),
    skew=st.floats(0, 1),
    run_seconds=st.sampled_from([0.0, 1.0, 40.0]),
    travel=st.sampled_from([0.0, 0.2, 2.0]),
    delays=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_slot_runs_at_most_once_with_any_options(  # noqa: PLR0917 - Hypothesis'
    options, lives, skew, run_seconds, travel, delays
):
    """With suspended instances, late answers and clocks that differ."""
    policy = make_options({**options, "name": "t", "distributed": True}).get_policy()
    # Within the guarantee: by less than the lease, of which a second is tolerance.
    skew *= max(0.0, policy.distributed_lease - 1) * 0.9
    runs = asyncio.run(
        live(
            policy,
            [(skew, lives[0]), (0.0, lives[1])],
            script=Script(run_seconds=run_seconds),
            travel=travel,
            delays=delays,
        )
    )
    assert {slot: n for slot, n in runs.items() if n > 1} == {}


@given(
    st.sampled_from(["name", "lease", "tolerance", "coordinator", "none"]),
    st.floats(1, 400),
)
def test_pair_that_cannot_keep_the_promise_is_refused(fault, days):
    """When the task is created; the error names the option to change."""
    options = {"name": "t", "distributed": True, "run_coordinator": Nobody()}
    year = 366 * 86_400
    if fault == "name":
        del options["name"]
    elif fault == "lease":
        options["distributed_lease"] = year + days * 86_400
    elif fault == "tolerance":
        options["tolerance"] = year + days * 86_400
    elif fault == "coordinator":
        options["distributed"] = False
    try:
        check_election(make_options(options), None)
    except InvalidOption:
        assert fault != "none"
    else:
        assert fault == "none"


class Nobody:
    """A coordinator that never elects."""

    def should_run(self, _key, _lease):
        """Return False."""
        return False

    def on_complete(self, _key):
        """Do nothing."""
