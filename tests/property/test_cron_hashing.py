"""``H`` fields: croniter's values, stable, alone in their field (E6)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from croniter import croniter

from ipycron.cron import CronExpression, parse, validate
from ipycron.errors import CronSyntaxError

NAMES = ["", "a", "report", "Ünïcode ☃", "x" * 300, *map(str, range(40))]


@pytest.mark.parametrize(
    "text",
    [
        "H H * * *",
        "H H H H H",
        "h/15 H(2-5) * * *",
        "H(30-59)/10 H H(1-28) * *",
        "* * * * H(0-7)",
        "H/1 H/7 H/10 H/5 H/2",
    ],
)
def test_values_are_those_that_croniter_draws(text):
    """Five fields with H mean what croniter says, for many names."""
    every = (range(60), range(24), range(1, 32), range(1, 13), range(7))
    for name in NAMES:
        columns, _ = croniter.expand(text.lower(), hash_id=name.encode())
        expected = [
            tuple(all_values) if column == ["*"] else tuple(column)
            for column, all_values in zip(columns, every, strict=True)
        ]
        assert list(parse(text, hash_id=name)[1:6]) == expected


def test_seconds_are_drawn_like_croniters():
    """With seconds, croniter's fields are in another order; the values agree."""
    ours = CronExpression("H H H * * *", "UTC", hash_id="report")
    columns, _ = croniter.expand("h h * * * h", hash_id=b"report")
    minute, hour, second = columns[0][0], columns[1][0], columns[5][0]
    assert ours.fields[:3] == ((second,), (minute,), (hour,))


def test_draw_is_the_same_in_another_process():
    """A name always gives the same values, whatever the hash seed."""
    code = (
        "from ipycron.cron import parse; print(parse('H H * * *', hash_id='r').minute)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert found.stdout.strip() == str(parse("H H * * *", hash_id="r").minute)


def test_names_spread_over_the_field():
    """Many tasks are not all due in the same minute."""
    drawn = {parse("H * * * *", hash_id=f"task {n}").minute for n in range(400)}
    assert len(drawn) == 60


def test_draw_needs_a_name():
    """Without hash_id an H field is an error, though valid grammar."""
    with pytest.raises(CronSyntaxError) as caught:
        CronExpression("0 H * * *")
    assert str(caught.value) == (
        "hour: got 'H', expected a hash_id to draw its value from, such as a name.\n"
        "  0 H * * *\n"
        "    ^"
    )
    assert validate("0 H * * *")


@pytest.mark.parametrize(
    "token",
    ["H,5", "H-5", "5-H", "H(5-5)", "H(9-5)", "H(0-60)", "H()", "H(1-2-3)", "HH", "H/"],
)
def test_other_use_of_h_is_refused(token):
    """H stands alone in its field, within the field's range."""
    with pytest.raises(CronSyntaxError, match=r"^minute: got "):
        parse(f"{token} * * * *", hash_id="x")


def test_step_of_zero_is_refused_for_h_too():
    """A step is 1 or more."""
    with pytest.raises(CronSyntaxError, match="expected a step of 1 or more"):
        parse("H/0 * * * *", hash_id="x")
    with pytest.raises(CronSyntaxError, match="within 1 to 31"):
        parse("0 0 H(0-5) * *", hash_id="x")
