"""What decides a task's slots, as the history has it for other processes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from ipycron import any_of, at, every, rrule
from ipycron.client.facts import MAX_EXCLUSIONS, make_facts, read_facts, write_facts
from ipycron.cron import CronExpression
from ipycron.scheduling.bounds import bound, waits_for_end
from ipycron.scheduling.policy import CatchUp, Policy
from ipycron.scheduling.retry import Retry
from ipycron.triggers.exclude import read_exclusions
from ipycron.triggers.exclusions import Exclusions

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")
TRIGGERS = [
    CronExpression("30 9 * * mon-fri", BERLIN),
    CronExpression("H H 13 * fri", UTC, day_or=False, hash_id="report"),
    every("90s"),
    every("1h", after_finish=True),
    at("2999-12-01T09:00", "2999-12-02T09:00"),
    rrule("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9"),
    any_of("0 9 * * *", every("2h")),
    CronExpression("0 9 * * *", timezone(timedelta(hours=5, minutes=30))),
]


def list_slots(slots, count=20):
    """Return the first slots after now."""
    found, slot = [], NOW
    while len(found) < count and (slot := slots.find_next(slot)) is not None:
        found.append(slot)
    return found


@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
def test_slots_are_the_same_in_another_process(trigger):
    """With every kind of trigger, bounds and exclusions."""
    begun = trigger.begin(NOW, BERLIN)
    policy = Policy(
        start=datetime(2026, 12, 2, tzinfo=UTC),
        end=datetime(3000, 1, 1, tzinfo=UTC),
        exclude=read_exclusions(["sat,sun", "2026-12-24"], BERLIN, now=NOW),
        on_excluded="next",
    )
    facts = read_facts(write_facts(begun, policy))
    made = facts.make_trigger()
    assert (made.text, str(made.timezone)) == (begun.text, str(begun.timezone))
    there = bound(made, facts.make_policy(made))
    assert list_slots(there) == list_slots(bound(begun, policy))
    assert list_slots(there) or waits_for_end(made)  # for a run, before it has slots


def test_policies_are_listed_in_the_words_of_the_options():
    """Those that are no defaults."""
    trigger = TRIGGERS[0]
    assert make_facts(trigger, Policy()).list_policies() == ""
    policy = Policy(
        no_overlap=True,
        retry=Retry(2),
        catch_up=CatchUp("all"),
        pool="gpu",
        priority=-1,
        jitter=2.5,
        max_executions=3,
    )
    assert read_facts(write_facts(trigger, policy)).list_policies() == (
        "overlap skip, max_executions 3, catch_up all, retry 2, pool gpu, priority -1, "
        "jitter 2.5 s"
    )


def test_exclusions_that_take_too_much_room_are_left_out():
    """It is said that they are."""
    spans = tuple((n * 100, n * 100 + 50) for n in range(MAX_EXCLUSIONS // 10))
    policy = Policy(exclude=Exclusions(spans=spans, text="all of it"))
    text = write_facts(TRIGGERS[0], policy)
    assert len(text) < MAX_EXCLUSIONS
    facts = read_facts(text)
    assert (facts.is_cut, facts.excluded) == (True, "all of it")
    assert not make_facts(TRIGGERS[0], Policy()).is_cut


def test_facts_of_a_newer_version_are_read_as_far_as_they_are_known():
    """More fields are left out; another kind of trigger is of no use."""
    plain = json.loads(write_facts(TRIGGERS[0], Policy(pool="gpu")))
    assert read_facts(json.dumps(plain | {"mood": "good"})).pool == "gpu"
    assert read_facts(json.dumps(plain | {"trigger": ["PlainTide", 3]})) is None
    for text in (None, "", "{", "[]", "null", '{"pool": 3}', "\ud800"):
        assert read_facts(text) is None
