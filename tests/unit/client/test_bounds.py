"""The options `start` and `end`, as users write them (C6)."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

import ipycron
from ipycron.client.options import make_options
from ipycron.client.schedules import check_bounds, read_bounds
from ipycron.cron import CronExpression
from ipycron.errors import InvalidOption
from ipycron.notebook.display.words import describe_schedule

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2030, 3, 1, 12, tzinfo=BERLIN)
DAILY = CronExpression("0 9 * * *", BERLIN)


def settle(expression=DAILY, now=NOON, **given):
    """Return the bounds as the task has them."""
    options = make_options(given)
    bounded = read_bounds(expression, options, now=0)
    check_bounds(expression, bounded, options, now=now.timestamp())
    return bounded.start, bounded.end


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2030-03-05", "2030-03-05 00:00:00+01:00"),
        ("2030-03-05 09:30", "2030-03-05 09:30:00+01:00"),
        ("2030-03-05T09:30:00+00:00", "2030-03-05 10:30:00+01:00"),
        ("2030-07-05T09:30", "2030-07-05 09:30:00+02:00"),
        (datetime(2030, 3, 5, 9), "2030-03-05 09:00:00+01:00"),  # noqa: DTZ001
        (datetime(2030, 3, 5, 9, tzinfo=UTC), "2030-03-05 10:00:00+01:00"),
        (date(2030, 3, 5), "2030-03-05 00:00:00+01:00"),
        ("1999-01-01", "1999-01-01 00:00:00+01:00"),
    ],
)
def test_start_is_an_instant_in_the_task_s_zone(start, expected):
    """One without a zone is in that of the expression."""
    assert str(settle(start=start)[0]) == expected


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2030-03-05", "2030-03-05 23:59:59+01:00"),
        ("20300305", "2030-03-05 23:59:59+01:00"),
        (date(2030, 3, 5), "2030-03-05 23:59:59+01:00"),
        ("2030-03-05 09:00", "2030-03-05 09:00:00+01:00"),
        ("2030-03-31", "2030-03-31 23:59:59+02:00"),
    ],
)
def test_end_includes_the_day_that_it_names(end, expected):
    """With a time it is that instant."""
    assert str(settle(end=end)[1]) == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"end": "2030-03-01 11:00"},
            (
                "end: got '2030-03-01 11:00', expected an instant to come: it is "
                "2030-03-01 12:00:00+01:00."
            ),
        ),
        (
            {"start": "2030-03-09", "end": "2030-03-08"},
            (
                "end: got '2030-03-08', expected an instant after start, "
                "2030-03-09 00:00:00+01:00."
            ),
        ),
        (
            {"end": "2030-03-02 08:00"},
            (
                "end: got '2030-03-02 08:00', expected 2030-03-02 09:00:00+01:00 or "
                "later, the first slot of '0 9 * * *'."
            ),
        ),
        (
            {"start": "2030-03-05 10:00", "end": "2030-03-05"},
            (
                "end: got '2030-03-05', expected 2030-03-06 09:00:00+01:00 or later, "
                "the first slot of '0 9 * * *'."
            ),
        ),
    ],
)
def test_bounds_without_a_slot_are_refused(given, text):
    """The error names the first instant that would do."""
    with pytest.raises(InvalidOption) as caught:
        settle(**given)
    assert str(caught.value) == text


def test_slot_on_a_bound_is_within_it():
    """Both are included."""
    settle(start="2030-03-02 09:00", end="2030-03-02 09:00")


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("value", [5, 2.5, True, "soon", "", timedelta(1), b"2030"])
def test_what_is_no_instant_is_refused(name, value):
    """Before anything else is looked at."""
    with pytest.raises(InvalidOption, match=rf"^{name}: got .*, expected an instant"):
        make_options({name: value})


def test_task_that_should_not_be_started_is_created():
    """`start=False` is a question about something else."""
    with pytest.raises(InvalidOption, match=r"create_task\(\) leaves a task stopped"):
        make_options({"start": False})


@pytest.fixture
def task():
    """A task whose slots are three days in a year to come."""
    task = ipycron.create_task(
        "0 9 * * *",
        print,
        timezone="Europe/Berlin",
        start="2190-03-05",
        end="2190-03-07",
    )
    yield task
    ipycron.shutdown(0)


def test_task_knows_its_slots_within_its_bounds(task):
    """However many are asked for."""
    slots = [f"{slot:%Y-%m-%d %H:%M}" for slot in task.next_runs(9)]
    assert slots == ["2190-03-05 09:00", "2190-03-06 09:00", "2190-03-07 09:00"]
    zone = task.expression.timezone
    days = [datetime(2190, 3, day, 9, tzinfo=zone) for day in (4, 5, 7, 8)]
    assert [task.matches(day) for day in days] == [False, True, True, False]
    assert task.options.start == datetime(2190, 3, 5, tzinfo=zone)
    assert str(task.options.end) == "2190-03-07 23:59:59+01:00"


def test_started_task_waits_for_its_first_slot(task):
    """`next_run` is in the bounds."""
    task.start().result(20)
    assert f"{task.next_run:%Y-%m-%d %H:%M}" == "2190-03-05 09:00"


def test_task_is_described_with_its_bounds(task):
    """In its own zone."""
    expected = "At 09:00, from 2190-03-05 00:00, until 2190-03-07 23:59"
    assert describe_schedule(task) == expected


def test_schedule_without_a_slot_in_the_bounds_is_refused_later_too(task):
    """The task keeps the one that it has."""
    with pytest.raises(InvalidOption, match="2190-04-01 00:00:00"):
        task.reschedule("0 0 1 * *")
    assert task.pattern == "0 9 * * *"
    task.reschedule("0 10 6 * *")
    assert [f"{slot:%d %H}" for slot in task.next_runs(9)] == ["06 10"]


def test_bounds_that_are_over_are_read():
    """A module that a worker imports may schedule something that has ended by then."""
    options = make_options({"start": "1998-01-01", "end": "1999-12-31"})
    bounded = read_bounds(DAILY, options, now=0)
    assert str(bounded.end) == "1999-12-31 23:59:59+01:00"
