"""`any_of`, and triggers as text."""

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from ipycron import CronExpression, any_of, at, every
from ipycron.errors import CronSyntaxError, InvalidOption
from ipycron.triggers.union import read_trigger, split_trigger

NINE = datetime(2026, 12, 1, 9, tzinfo=UTC)


def test_union_fires_whenever_a_part_does_and_once_where_several_do():
    """Forwards and backwards."""
    trigger = any_of("0 * * * *", every("90m", anchor=NINE), timezone=UTC)
    found = [f"{t:%H:%M}" for t in trigger.upcoming(5, NINE - timedelta(seconds=1))]
    assert found == ["09:00", "10:00", "10:30", "11:00", "12:00"]
    assert f"{trigger.previous(NINE + timedelta(hours=2)):%H:%M}" == "10:30"
    assert trigger.matches(NINE + timedelta(minutes=90))


def test_union_of_unions_is_one():
    """Parts are flat; equality is by parts."""
    one = any_of("0 9 * * *", any_of("0 10 * * *", "0 11 * * *"), timezone=UTC)
    assert one == any_of("0 9 * * *", "0 10 * * *", "0 11 * * *", timezone=UTC)
    assert one == pickle.loads(pickle.dumps(one))
    assert len({one, any_of(one)}) == 1
    assert one != "0 9 * * *"


def test_union_says_what_its_parts_say():
    """Words, warnings, the text."""
    trigger = any_of("0 9 * * *", "*/90 * * * *", every("2h"))
    assert trigger.describe() == "At 09:00; or every hour; or every 2 hours"
    assert trigger.describe("de").startswith("Um 09:00")
    assert trigger.text == "0 9 * * * | */90 * * * * | @every 2h"
    assert len(trigger.warnings) == 1


def test_texts_of_a_union_are_in_the_zone_of_its_task():
    """And parts with a zone of their own keep it."""
    begun = any_of("0 9 * * *", CronExpression("0 9 * * *", UTC)).begin(0, "Asia/Tokyo")
    assert [begun.find_next(t) for t in (-1, 0)] == [0, 9 * 3600]


def test_floating_parts_count_from_where_the_union_begins():
    """Each of them."""
    begun = any_of("@every 7s", every("5s")).begin(100)
    assert [begun.find_next(t) for t in (100, 105, 107, 110)] == [105, 107, 110, 114]


def test_union_ends_if_all_parts_do():
    """An instant beside an interval does not end the task."""
    assert any_of(at(NINE), at(NINE)).is_finite
    assert not any_of(at(NINE), every("5m")).is_finite


def test_union_of_what_is_over_is_refused_if_nothing_is_left():
    """A passed instant beside other slots is none of a mistake."""
    after = NINE.timestamp() + 1
    any_of(at(NINE), every("5m")).check_fires(after)
    with pytest.raises(InvalidOption, match="at: got"):
        any_of(at(NINE), at(NINE)).check_fires(after)
    with pytest.raises(CronSyntaxError):
        any_of("0 0 30 2 *", every("5m")).check_fires(after)


@pytest.mark.parametrize(
    "parts", [(), (5,), (None,), ("0 9 * * *", b"x"), (["0 9 * * *"],)]
)
def test_union_of_something_else_is_refused(parts):
    """A function, for example, would have to run in the supervisor."""
    with pytest.raises(InvalidOption, match="any_of: got"):
        any_of(*parts)


def test_list_of_triggers_is_answered_with_how_to_give_them():
    """To the union, and to a task."""
    with pytest.raises(InvalidOption, match=r"any_of\(a, b\)"):
        any_of(["0 9 * * *", "0 12 * * *"])
    with pytest.raises(CronSyntaxError, match=r"Try: any_of"):
        read_trigger(["0 9 * * *", "0 12 * * *"])


@pytest.mark.parametrize("number", [300, 1.5, float("nan")])
def test_number_is_answered_with_an_interval(number):
    """Seconds, probably."""
    with pytest.raises(CronSyntaxError, match=r"Try: every\(seconds=…\)"):
        read_trigger(number)


def test_union_with_an_interval_after_runs_is_refused():
    """It has no slots of its own."""
    with pytest.raises(InvalidOption, match="do not wait for a run to end"):
        any_of("0 9 * * *", every("5m", after_finish=True))
    with pytest.raises(InvalidOption, match="from 1 to 100"):
        any_of(*["0 9 * * *"] * 101)


TEXTS = [
    "@every 90s",
    "@every 1h30m after finish",
    "@every 5m from 2026-12-01T09:00:00+00:00",
    "@at 2026-12-01T09:00:00+00:00 2026-12-02T09:00:00+00:00",
    "0 9 * * mon-fri",
    "0 9 * * mon-fri | @every 2h",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_a_trigger_is_read_as_the_same_trigger(text):
    """What the history shows can be declared again."""
    trigger = read_trigger(text, UTC)
    assert trigger.text == text
    assert read_trigger(trigger.text, UTC) == trigger


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(minutes=5), "@every 5m"),
        (NINE, "@at 2026-12-01T09:00:00+00:00"),
        ("every 90s", "@every 90s"),
        ("EVERY 90s AFTER finish", "@every 90s after finish"),
        ("at 2026-12-01 09:00", "@at 2026-12-01T09:00:00+00:00"),
        ("@every 5m from 2026-12-01 09:00", "@every 5m from 2026-12-01T09:00:00+00:00"),
        ("0 9 * * *|@every 2h", "0 9 * * * | @every 2h"),
    ],
)
def test_values_are_read_as_triggers(value, text):
    """What `schedule` accepts."""
    assert read_trigger(value, UTC).text == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("@every 5 minutes", "@every 5m"),
        ("@evry 5m", "@every 5m"),
        ("@every5m", "@every 5m"),
        ("every90s", "@every 90s"),
        ("every 1 hour and 30 mins", "@every 1h30m"),
        ("5m", "@every 5m"),
        ("10 minutes", "@every 10m"),
        ("2026-12-01 09:00", "@at 2026-12-01T09:00"),
        ("@at 9:00", "@at 2026-12-01T09:00"),
        ("@every 5m after lunch", "@every 5m"),
        ("@hourli", "@hourly"),
    ],
)
def test_text_that_is_nearly_right_is_answered_with_what_is_meant(text, meant):
    """In the words of errors of cron expressions."""
    with pytest.raises(CronSyntaxError) as caught:
        read_trigger(text)
    assert caught.value.suggestion == meant


@pytest.mark.parametrize(
    "text", ["@every", "@at", "|", "0 9 * * * |", "@every 5m from"]
)
def test_text_that_is_cut_short_is_refused(text):
    """Without a crash."""
    with pytest.raises(CronSyntaxError):
        read_trigger(text)


@pytest.mark.parametrize(
    ("line", "text", "rest"),
    [
        ("every 90s job.py -v", "every 90s", ("job.py", "-v")),
        ("every 90s after finish job.py", "every 90s after finish", ("job.py",)),
        ("every 5m from 2026-12-01 09:00 job.py", None, ("job.py",)),
        ("@every 5m from 2026-12-01T09:00 job.py", None, ("job.py",)),
        ("at 2026-12-01 09:00 2026-12-02 job.py", None, ("job.py",)),
        ("0 9 * * mon | every 2h job.py", "0 9 * * mon | every 2h", ("job.py",)),
        ("0 9 * * mon job.py", "0 9 * * mon", ("job.py",)),
    ],
)
def test_words_are_split_after_the_trigger(line, text, rest):
    """Without quotes, as in magics."""
    found = split_trigger(line.split())
    assert found == (text or line.removesuffix(f" {' '.join(rest)}"), rest)


def test_words_in_quotes_are_split_as_well():
    """As on a shell's line."""
    assert split_trigger(["every 90s", "job.py"]) == ("every 90s", ("job.py",))
    both = "0 9 * * * | every 2h"
    assert split_trigger([both, "job.py"]) == (both, ("job.py",))


@pytest.mark.parametrize(
    "line", ["", "every", "every soon job.py", "at job.py", "0 9 * * * | job.py", "|"]
)
def test_words_without_a_trigger_are_none(line):
    """The caller reports them."""
    assert split_trigger(line.split()) is None
