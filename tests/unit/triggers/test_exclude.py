"""The option `exclude`: what is read, and what is refused."""

import sys
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

import ipycron
from ipycron import CronExpression, at, create_task, every, holidays
from ipycron.errors import InvalidOption
from ipycron.triggers.exclude import read_exclusions
from ipycron.triggers.exclusions import Excluded, Included, make_calendar

BERLIN = ZoneInfo("Europe/Berlin")
pytestmark = pytest.mark.usefixtures("_no_tasks")
NOW = datetime(2026, 11, 27, 12, tzinfo=BERLIN).timestamp()  # a Friday


@pytest.fixture
def _no_tasks():
    """End what a test has declared."""
    yield
    ipycron.shutdown()


def show(value, text="0 */6 * * *", count=6, *, moves=False, zone=BERLIN):
    """Return the next slots of a schedule that are not excluded."""
    calendar = make_calendar(read_exclusions(value, zone, now=NOW), zone)
    slots = Included(CronExpression(text, zone), calendar, moves)
    found, slot = [], slots.find_next(NOW)
    while slot is not None and len(found) < count:
        found.append(f"{datetime.fromtimestamp(slot, zone):%a %d %H:%M}")
        slot = slots.find_next(slot)
    return found


@pytest.mark.parametrize(
    ("value", "slots"),
    [
        ("sat,sun", ["Fri 27 18:00", "Mon 30 00:00", "Mon 30 06:00"]),
        ("sat-sun", ["Fri 27 18:00", "Mon 30 00:00", "Mon 30 06:00"]),
        ("Saturday, Sunday", ["Fri 27 18:00", "Mon 30 00:00", "Mon 30 06:00"]),
        ("fri-sun", ["Mon 30 00:00", "Mon 30 06:00"]),
        ("sun-mon", ["Fri 27 18:00", "Sat 28 00:00"]),
        ("22:00-06:00", ["Fri 27 18:00", "Sat 28 06:00", "Sat 28 12:00"]),
        ("22:00-06:01", ["Fri 27 18:00", "Sat 28 12:00", "Sat 28 18:00"]),
        ("fri 17:00-24:00", ["Sat 28 00:00", "Sat 28 06:00"]),
        ("sun 22:00-07:00; sat", ["Fri 27 18:00", "Sun 29 00:00", "Sun 29 06:00"]),
        ("2026-11-28", ["Fri 27 18:00", "Sun 29 00:00"]),
        ("2026-11-28..2026-12-01", ["Fri 27 18:00", "Wed 02 00:00"]),
        ("2026-11-27 18:00..2026-11-28 06:00", ["Sat 28 06:00", "Sat 28 12:00"]),
        (date(2026, 11, 28), ["Fri 27 18:00", "Sun 29 00:00"]),
        ([date(2026, 11, 28), "sun"], ["Fri 27 18:00", "Mon 30 00:00"]),
        ((date(2026, 11, 28), date(2026, 11, 29)), ["Fri 27 18:00", "Mon 30 00:00"]),
        (("2026-11-28", "2026-11-29"), ["Fri 27 18:00", "Mon 30 00:00"]),
        (
            (
                datetime(2026, 11, 27, 17, tzinfo=UTC),
                datetime(2026, 11, 28, tzinfo=UTC),
            ),
            ["Sat 28 06:00", "Sat 28 12:00"],
        ),
        ({"sat", "sun"}, ["Fri 27 18:00", "Mon 30 00:00"]),
    ],
)
def test_excluded_slots_are_left_out(value, slots):
    """In every form, in local time."""
    assert show(value)[: len(slots)] == slots


def test_holidays_are_left_out():
    """Those of the whole country, and those of a part of it."""
    pytest.importorskip("holidays")
    days = show(holidays("DE"), "0 9 20-31 12 *", 9)
    assert "Fri 25 09:00" not in days
    assert "Thu 24 09:00" in days
    womens_day = "0 9 8 3 *"
    assert show(holidays("DE"), womens_day, 1) == ["Mon 08 09:00"]
    berlin = read_exclusions(holidays("DE", subdiv="be"), BERLIN, now=NOW)
    eighth = int(datetime(2027, 3, 8, 9, tzinfo=BERLIN).timestamp())
    assert make_calendar(berlin, BERLIN).is_excluded(eighth)
    assert show("holidays:DE-BE; sat", "0 9 * * *", 1) == ["Sun 29 09:00"]


@pytest.mark.parametrize(
    ("value", "slots"),
    [
        ("22:00-06:30", ["Fri 27 18:00", "Sat 28 06:30", "Sat 28 12:00"]),
        ("sat,sun", ["Fri 27 18:00", "Mon 30 00:00", "Mon 30 06:00"]),
        ("fri", ["Sat 28 00:00", "Sat 28 06:00"]),
        ("fri 17:00-19:00", ["Fri 27 19:00", "Sat 28 00:00"]),
    ],
)
def test_excluded_slots_move_to_the_next_time(value, slots):
    """One run right after each period with slots, however many they are."""
    assert show(value, moves=True)[: len(slots)] == slots


def test_period_without_slots_moves_nothing():
    """Nothing was left out."""
    assert show("13:00-14:00", moves=True)[:2] == ["Fri 27 18:00", "Sat 28 00:00"]


def test_day_of_a_clock_change_is_excluded_as_clocks_show_it():
    """Both hours that are shown twice; nothing is left of the one that is skipped."""
    calendar = make_calendar(read_exclusions("02:00-03:00", BERLIN, now=NOW), BERLIN)
    autumn = int(datetime(2026, 10, 25, 2, tzinfo=BERLIN).timestamp())
    assert [calendar.is_excluded(autumn + h * 3600) for h in (-1, 0, 1, 2)] == [
        *(False, True, True, False)
    ]
    assert calendar.find_end(autumn) == autumn + 7200
    assert calendar.find_begin(autumn + 7100) == autumn
    spring = int(datetime(2026, 3, 29, 1, 59, 59, tzinfo=BERLIN).timestamp())
    assert calendar.find_end(spring + 1) == spring + 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2027-01-01..2026-12-24", "expected an end after the start"),
        ((date(2027, 1, 1), date(2026, 12, 24)), "expected an end after the start"),
        ("2026-12-24 12:00..2026-12-24 12:00", "expected an end after the start"),
        ("06:00-06:00", "expected an end after the start"),
        ("25:00-26:00", "expected dates,"),
        ("12:61-13:00", "expected dates,"),
        ("satt", "Did you mean 'sat'?"),
        ("sat-", "expected dates,"),
        ("su", "expected dates,"),
        ("2026-02-30", "expected dates,"),
        ("2026-02-30..2026-03-01", "expected an instant"),
        ("", "expected dates,"),
        (";", "expected dates,"),
        ("weekends", "expected dates,"),
        (["sat"] * 1001, "got '1001 exclusions', expected 1 to 1000 of them"),
        (5, "expected dates,"),
        (datetime(2026, 12, 24, tzinfo=UTC), "expected dates,"),
        (print, "expected dates,"),
        (True, "expected dates,"),
    ],
)
def test_what_is_no_exclusion_is_refused(value, message):
    """In one line; a function belongs into the job, which raises `Cancel`."""
    with pytest.raises(InvalidOption) as caught:
        create_task("0 9 * * *", int, exclude=value)
    assert str(caught.value).startswith("exclude: got")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [[], (), set(), None])
def test_list_without_exclusions_excludes_nothing(value):
    """A program may have put it together, and found none."""
    task = create_task("0 9 * * *", int, exclude=value)
    try:
        assert task.options.exclude is None
    finally:
        task.destroy()


def test_unknown_country_is_refused():
    """With the code that was meant, or the parts that there are."""
    pytest.importorskip("holidays")
    with pytest.raises(InvalidOption, match="holidays: got 'XX', expected the code"):
        holidays("XX")
    with pytest.raises(
        InvalidOption, match=r"subdiv: got 'XX', expected one of .*, BB, BE"
    ):
        holidays("DE", subdiv="XX")
    for value in (5, None, float("nan")):
        with pytest.raises(InvalidOption, match=f"holidays: got {value}") as caught:
            holidays(value)
        assert "Did you mean" not in str(caught.value)
    with pytest.raises(InvalidOption, match="holidays: got 'Germany'"):
        create_task("0 9 * * *", int, exclude="holidays:Germany")


def test_holidays_without_the_package_say_what_to_install(monkeypatch):
    """Before anything is declared."""
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(InvalidOption, match=r"pip install 'ipycron\[holidays\]'"):
        holidays("DE")
    with pytest.raises(InvalidOption, match=r"pip install 'ipycron\[holidays\]'"):
        create_task("0 9 * * *", int, exclude="holidays:DE")


@pytest.mark.parametrize(
    ("trigger", "value"),
    [
        ("0 9 * * *", "mon-sun"),
        ("* * * * * *", "00:00-12:00; 12:00-24:00"),
        ("0 9 * * sat", "sat"),
        ("0 9 * * *", "08:00-10:00"),
        ("0 9 29 2 *", "09:00-09:01"),
        (at("2999-12-25 09:00"), "2999-12-25"),
        (every("1h"), "mon-sun"),
        ("RRULE:FREQ=WEEKLY;BYDAY=SU;BYHOUR=9", "sun"),
        ("0 9 * * sat | 0 9 * * sun", "sat,sun"),
    ],
)
@pytest.mark.parametrize("on_excluded", ["skip", "next"])
def test_exclusion_that_leaves_nothing_is_refused(trigger, value, on_excluded):
    """Found out by a bounded search; what is moved is left."""
    is_left = on_excluded == "next" and value not in (
        *("mon-sun", "00:00-12:00; 12:00-24:00"),
    )
    if is_left:
        create_task(trigger, int, exclude=value, on_excluded=on_excluded).destroy()
        return
    with pytest.raises(InvalidOption, match=r"^exclude: got .* leaves a slot of"):
        create_task(trigger, int, exclude=value, on_excluded=on_excluded)


def test_new_trigger_is_checked_against_the_exclusions():
    """Which stay, as all options do."""
    task = create_task("0 9 * * *", int, exclude="sat,sun")
    with pytest.raises(InvalidOption, match=r"^exclude: got 'sat,sun', expected some"):
        task.reschedule("0 9 * * sat")
    assert task.pattern == "0 9 * * *"


def test_holidays_that_leave_nothing_are_refused():
    """They are known for fifty years only, which is no way out."""
    pytest.importorskip("holidays")
    with pytest.raises(InvalidOption, match="leaves a slot of"):
        create_task("0 9 25 12 *", int, exclude=holidays("DE"))


def test_unknown_word_for_excluded_slots_is_refused():
    """And one that cannot be followed."""
    with pytest.raises(InvalidOption, match="on_excluded: got 'later'"):
        create_task("0 9 * * *", int, exclude="sat", on_excluded="later")
    with pytest.raises(InvalidOption, match="expected 'skip' with a trigger that"):
        create_task(
            every("5m", after_finish=True), int, exclude="sat", on_excluded="next"
        )


def test_excluded_slots_are_found():
    """Only those, up to a limit, wherever the next one is."""
    calendar = make_calendar(read_exclusions("sat", BERLIN, now=NOW), BERLIN)
    week = int(NOW) + 7 * 86_400
    slots = Excluded(CronExpression("0 */12 * * *", BERLIN), calendar, week)
    saturday = int(datetime(2026, 11, 28, tzinfo=BERLIN).timestamp())
    assert slots.find_next(NOW) == saturday
    assert slots.find_next(saturday) == saturday + 12 * 3600
    assert slots.find_next(saturday + 12 * 3600) is None
    assert Excluded(slots.schedule, calendar, int(NOW)).find_next(NOW) is None


def test_task_knows_its_slots_without_the_excluded_ones():
    """`next_runs`, `matches`, the words of its card."""
    task = create_task(
        "0 9 * * *", int, exclude=["sat,sun", date(2999, 12, 24)], timezone="UTC"
    )
    days = [instant.weekday() for instant in task.next_runs(20)]
    assert set(days) == {0, 1, 2, 3, 4}
    assert task.matches(datetime(2999, 12, 23, 9, tzinfo=UTC))
    assert not task.matches(datetime(2999, 12, 24, 9, tzinfo=UTC))
    assert task.options.exclude.text == "sat,sun; 2999-12-24"
