"""Distributed tasks, inline and in the background: who is asked and notified (D1)."""

import gc
import os
import signal
import threading
import time
import weakref
from datetime import UTC

import pytest
from house import EVERY_SECOND, INLINE, NEVER, Record
from polling import SECONDS, eventually
from voters import AsyncVoter, Voter

import ipycron
from ipycron.client.registry import registry
from ipycron.errors import CoordinatorError, InvalidOption


def schedule(house, body=lambda _: 42, *, name="report", **options):
    """Return a distributed task that is due every second, and its events."""
    task = house.create(body, EVERY_SECOND, name=name, distributed=True, **options)
    record = Record(task)
    task.start().result(SECONDS)
    return task, record


def test_coordinator_is_asked_and_notified_when_the_task_has_its_own(house):
    """One question per slot, with name, UTC instant and lease; then the end."""
    tasks, voters, records = [], [Voter(), AsyncVoter()], []
    for number, voter in enumerate(voters):
        task, record = schedule(
            house,
            name=f"report-{number}",
            run_coordinator=voter,
            distributed_lease=7,
            timezone="Asia/Kolkata",
        )
        tasks.append(task)
        records.append(record)
    for task, voter, record in zip(tasks, voters, records, strict=True):
        (end, *_) = record.wait("execution:finished")
        key = f"{task.name}:{end.date.astimezone(UTC).isoformat()}"
        eventually(lambda told=voter.completed: told)
        assert voter.asked[0] == (key, 7)
        assert voter.completed[0] == key
        task.destroy().result(SECONDS)
        assert len(set(voter.asked)) == len(voter.asked)


UNCLEAR = [
    (OSError("no route"), r"Voter.should_run\(\) raised OSError: no route"),
    ("yes", r"returned a str, expected True or False"),
    (None, r"returned a NoneType, expected True or False"),
    (SystemExit(3), r"raised SystemExit: 3"),
]


def test_slot_is_skipped_when_the_answer_is_not_yes(house):
    """No, or an invalid answer: one event, no run; the next slot asks again."""
    answers = [answer for answer, _ in UNCLEAR]
    voters = [Voter(answer) for answer in (False, *answers)]
    records = [
        schedule(house, name=f"report-{number}", run_coordinator=voter)[1]
        for number, voter in enumerate(voters)
    ]
    (skipped, *_) = records[0].wait("execution:skipped")
    assert (skipped.reason, skipped.error) == ("not-elected", None)
    for record, (_, reason) in zip(records[1:], UNCLEAR, strict=True):
        (skipped, *_) = record.wait("execution:skipped")
        assert skipped.reason == "coordinator-error"
        with pytest.raises(CoordinatorError, match=reason) as caught:
            raise skipped.error
        assert str(caught.value).count("run coordinator") == 1
    assert [voter.completed for voter in voters] == [[]] * len(voters)
    for voter, record in zip(voters, records, strict=True):
        assert record.of("execution:started") == []
        voter.answer = True
    for record in records:
        record.wait("execution:finished")


class Naming(Voter):
    """Answers no, and names the holder."""

    def find_holder(self, key):
        """Return a holder, or an invalid name."""
        return self.holder(key) if callable(self.holder) else self.holder


@pytest.mark.parametrize(
    ("holder", "expected"),
    [("process 7 on host", "process 7 on host"), (None, None), (3, None)],
)
def test_skipped_slot_names_who_runs_it(house, holder, expected):
    """If the coordinator knows; an error while asking changes nothing."""
    voters = [Naming(False), Naming(False)]
    voters[0].holder = holder
    voters[1].holder = lambda _: 1 / 0
    records = [
        schedule(house, name=f"report-{number}", run_coordinator=voter)[1]
        for number, voter in enumerate(voters)
    ]
    for record, named in zip(records, (expected, None), strict=True):
        (skipped, *_) = record.wait("execution:skipped")
        assert (skipped.reason, skipped.error) == ("not-elected", None)
        assert skipped.holder == named


def test_schedules_go_on_when_a_coordinator_hangs(tmp_path):
    """Five seconds mean no; other tasks and a shutdown do not wait for it."""
    end = threading.Event()
    hung = Voter(lambda: end.wait(30))
    records, beats = [], []
    for name, options in (("here", {}), ("there", {"background": True})):
        task = ipycron.schedule(
            EVERY_SECOND,
            int,
            name=name,
            distributed=True,
            run_coordinator=hung,
            no_overlap=True,
            **options,
        )
        records.append(Record(task))
    ipycron.schedule(EVERY_SECOND, lambda: beats.append(1), name="free")
    for record in records:
        (skipped, *_) = record.wait("execution:skipped")
        assert skipped.reason == "coordinator-error"
        assert "no answer within 5 s" in str(skipped.error)
        late = skipped.triggered_at - skipped.date
        assert 5 <= late.total_seconds() < 15
    assert len(beats) >= 4
    started = time.monotonic()
    ipycron.shutdown(SECONDS)
    assert time.monotonic() - started < SECONDS / 2
    end.set()
    eventually(lambda: not any("coord" in t.name for t in threading.enumerate()))


def test_shutdown_does_not_wait_when_a_coordinator_hangs_at_the_end(inline):
    """The last call to a coordinator may take a second, no longer."""
    end = threading.Event()
    voter = Voter()
    voter.on_end = lambda: end.wait(30)
    _, record = schedule(inline, run_coordinator=voter)
    record.wait("execution:finished")
    started = time.monotonic()
    ipycron.shutdown(SECONDS)
    assert time.monotonic() - started < SECONDS / 2
    end.set()
    eventually(lambda: voter.completed)


# --- which coordinator ----------------------------------------------------------------


def test_process_wide_coordinator_is_asked_when_the_task_has_none(inline):
    """A task's own coordinator takes precedence."""
    common, own = Voter(), Voter()
    ipycron.set_run_coordinator(common)
    _, first = schedule(inline, name="common")
    _, second = schedule(inline, name="own", run_coordinator=own)
    first.wait("execution:finished")
    second.wait("execution:finished")
    assert {key.partition(":")[0] for key, _ in common.asked} == {"common"}
    assert {key.partition(":")[0] for key, _ in own.asked} == {"own"}


def test_environment_decides_when_there_is_no_coordinator(inline, monkeypatch):
    """The variable is read at each fire: an instance can be promoted."""
    monkeypatch.setenv("IPYCRON_RUN", "false")
    _, record = schedule(inline)
    (skipped, *_) = record.wait("execution:skipped")
    assert skipped.reason == "not-elected"
    monkeypatch.setenv("IPYCRON_RUN", "true")
    record.wait("execution:finished")


@pytest.mark.parametrize("value", [None, "", "1", "TRUE", "yes"])
def test_distributed_task_is_refused_when_the_environment_does_not_decide(
    monkeypatch, value
):
    """A task that cannot elect is refused on creation."""
    monkeypatch.delenv("IPYCRON_RUN", raising=False)
    if value is not None:
        monkeypatch.setenv("IPYCRON_RUN", value)
    got = "nothing" if value is None else repr(value)
    with pytest.raises(CoordinatorError) as caught:
        ipycron.schedule(NEVER, print, name="report", distributed=True)
    assert str(caught.value) == (
        f"run coordinator: IPYCRON_RUN: got {got}, expected 'true' or 'false'. Set it "
        "to 'true' on the one instance that runs distributed tasks and to 'false' on "
        "the others, or pass a run_coordinator."
    )
    assert registry.running_client is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"distributed": True, "run_coordinator": Voter()},
            (
                "name: got None, expected a name with distributed=True: it is the key "
                "that all instances share."
            ),
        ),
        (
            {"run_coordinator": Voter(), "name": "report"},
            (
                "run_coordinator: got <voters.Voter object at 0x*>, expected None "
                "without distributed=True."
            ),
        ),
        (
            {"run_coordinator": Voter, "name": "report", "distributed": True},
            (
                "run_coordinator: got <class 'voters.Voter'>, expected an object with "
                "the methods should_run(key, lease) and on_complete(key). Make an "
                "object of this class first."
            ),
        ),
        (
            {"run_coordinator": "redis://", "name": "report", "distributed": True},
            (
                "run_coordinator: got 'redis://', expected an object with the methods "
                "should_run(key, lease) and on_complete(key)."
            ),
        ),
        (
            {"distributed": True, "name": "r", "distributed_lease": 0},
            "distributed_lease: got 0, expected seconds > 0 (int, float or timedelta).",
        ),
        (
            {"distributed": "yes", "name": "report"},
            "distributed: got 'yes', expected True or False.",
        ),
    ],
)
def test_task_is_refused_when_its_options_cannot_elect(options, text):
    """One sentence says what was wrong and what to do."""
    with pytest.raises(InvalidOption) as caught:
        ipycron.schedule(NEVER, print, **options)
    head, _, tail = text.partition("*")
    assert str(caught.value).startswith(head)
    assert str(caught.value).endswith(tail)
    assert ipycron.get_tasks() == {}


def test_process_wide_coordinator_is_refused_when_it_is_none():
    """The same check; the previous coordinator stays."""
    voter = Voter()
    ipycron.set_run_coordinator(voter)
    with pytest.raises(InvalidOption, match="run_coordinator: got 3"):
        ipycron.set_run_coordinator(3)
    assert registry.client.coordinator is voter


# --- claims and their ends ------------------------------------------------------------


def hold(house, voter, **options):
    """Return a task, its events, and the gate that its first run waits for."""
    gate = house.gate()

    def wait(ctx):
        yield from gate.pass_through()

    task, record = schedule(house, wait, run_coordinator=voter, **options)
    record.wait("execution:started")
    return task, record, gate


def test_claim_goes_back_to_who_granted_it_when_the_task_is_gone(house):
    """A run that outlives its task still notifies its own coordinator."""
    voter, other = Voter(), Voter()
    ipycron.set_run_coordinator(other)
    task, _, gate = hold(house, voter, no_overlap=True)
    destroyed = task.destroy()
    gate.open()
    destroyed.result(SECONDS)
    eventually(lambda: voter.completed)
    assert voter.completed == [voter.asked[0][0]]
    assert (other.asked, other.completed) == ([], [])


def test_claim_goes_back_to_who_granted_it_when_another_takes_over(inline):
    """A coordinator replaced during a run is notified of its end, then closed."""
    before, after = Voter(), Voter()
    ipycron.set_run_coordinator(before)
    gate = inline.gate()

    def wait(ctx):
        yield from gate.pass_through()

    _, record = schedule(inline, wait, no_overlap=True)
    record.wait("execution:started")
    ipycron.set_run_coordinator(after)
    assert not before.closed.is_set()
    gate.open()
    assert before.closed.wait(SECONDS)
    assert before.completed == [before.asked[0][0]]
    eventually(lambda: after.completed)


def test_claim_is_renewed_until_the_run_is_over(inline):
    """A lease shorter than the run is extended every third of it."""
    voter = Voter()
    task, _, gate = hold(inline, voter, distributed_lease=0.3, no_overlap=True)
    eventually(lambda: len(voter.renewed) >= 4)
    stopped = task.stop()
    gate.open()
    stopped.result(SECONDS)
    eventually(lambda: voter.completed)
    count = len(voter.renewed)
    threading.Event().wait(0.4)
    assert len(voter.renewed) == count


def test_claim_is_given_back_when_the_supervisor_dies(tmp_path):
    """A lost run's claim is not renewed for ever."""
    voter = Voter()
    gate = tmp_path / "gate"

    def wait():
        while not gate.exists():
            threading.Event().wait(0.01)

    task = ipycron.create_task(
        EVERY_SECOND,
        wait,
        name="report",
        background=True,
        distributed=True,
        run_coordinator=voter,
        distributed_lease=0.3,
        no_overlap=True,
    )
    record = Record(task)
    task.start().result(SECONDS)
    record.wait("execution:started")
    first = voter.asked[0][0]
    os.kill(registry.client.supervisor_pid, signal.SIGKILL)
    record.wait("execution:failed")
    eventually(lambda: first in voter.completed)
    # Elected anew for a later slot, by the supervisor that took over.
    record.wait("execution:started", count=2)
    assert len({key for key, _ in voter.asked}) >= 2
    gate.touch()


def test_claim_is_given_back_when_the_yes_comes_after_a_stop(house):
    """The claim of a slot dropped in its election is not renewed for ever."""
    asked, end = threading.Event(), threading.Event()

    def answer():
        asked.set()
        return end.wait(SECONDS)

    voter = Voter(answer)
    task, record = schedule(house, run_coordinator=voter, distributed_lease=0.3)
    assert asked.wait(SECONDS)
    task.stop().result(SECONDS)
    end.set()
    if house.kind == INLINE:
        # The question itself was dropped: its claim lasts for its lease.
        eventually(lambda: not any("coord" in t.name for t in threading.enumerate()))
        assert voter.completed == []
    else:
        eventually(lambda: voter.completed)
    count = len(voter.renewed)  # between the answer and the end of its claim
    threading.Event().wait(0.3)
    assert len(voter.renewed) == count
    assert record.of("execution:started") == []


def test_coordinators_are_closed_when_no_longer_needed(inline):
    """After a destroy or a shutdown, what elections opened is closed."""
    own, common = Voter(), Voter()
    ipycron.set_run_coordinator(common)
    first, events = schedule(inline, name="own", run_coordinator=own)
    _, other_events = schedule(inline, name="common")
    events.wait("execution:finished")
    other_events.wait("execution:finished")
    first.destroy().result(SECONDS)
    assert own.closed.wait(SECONDS)
    assert not common.closed.is_set()
    known = weakref.ref(own)
    del own, first, events

    def is_forgotten():
        gc.collect()
        return known() is None

    eventually(is_forgotten)
    ipycron.shutdown()
    assert common.closed.is_set()


def test_manual_run_asks_no_coordinator(inline):
    """A manual run takes place where it was requested."""
    voter = Voter(answer=False)
    task = inline.start(
        lambda _: 42, name="report", distributed=True, run_coordinator=voter
    )
    assert task.execute().result(SECONDS) == 42
    assert voter.asked == []
