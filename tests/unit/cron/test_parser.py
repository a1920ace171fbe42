# ruff: noqa: RUF001 - one row is a digit of another script
"""The grammar: what every form expands to, and how any other text is refused."""

from __future__ import annotations

import re

import pytest

from ipycron.cron import Fields, parse
from ipycron.cron.parser import MAX_LENGTH
from ipycron.errors import CronSyntaxError

EVERY = {
    "second": tuple(range(60)),
    "minute": tuple(range(60)),
    "hour": tuple(range(24)),
    "day_of_month": tuple(range(1, 32)),
    "month": tuple(range(1, 13)),
    "day_of_week": tuple(range(7)),
}
POSITIONS = {name: position for position, name in enumerate(EVERY)}
TAKES = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day_of_month": "1 to 31, L (last day), L-3, 15W (nearest weekday), LW or ?",
    "month": "1 to 12 or jan to dec",
    "day_of_week": (
        "0 to 7 (0 and 7 are Sunday) or sun to sat, fri#2 (second Friday), friL (last "
        "Friday) or ?"
    ),
}


def put(field: str, text: str) -> str:
    """Return an expression of six fields, one of them given."""
    words = ["*"] * 6
    words[POSITIONS[field]] = text
    return " ".join(words)


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        *((field, "*", values) for field, values in EVERY.items()),
        ("minute", "5", (5,)),
        ("minute", "05", (5,)),
        ("minute", "30,5,30", (5, 30)),
        ("minute", "1-4", (1, 2, 3, 4)),
        ("minute", "*/20", (0, 20, 40)),
        ("minute", "*/25", (0, 25, 50)),
        ("minute", "*/100", (0,)),
        ("minute", "*/2,*/3", tuple(n for n in range(60) if n % 2 * (n % 3) == 0)),
        ("minute", "10-20/5", (10, 15, 20)),
        ("minute", "10-20/7", (10, 17)),
        ("minute", "50/4", (50, 54, 58)),
        ("minute", "5-5", (5,)),
        ("minute", "5-5/9", (5,)),
        ("minute", "58-1", (0, 1, 58, 59)),
        ("hour", "22-2", (0, 1, 2, 22, 23)),
        ("hour", "21-4/3", (0, 3, 21)),
        ("day_of_month", "30-2", (1, 2, 30, 31)),
        ("day_of_month", "?", EVERY["day_of_month"]),
        ("day_of_month", "L", ("L",)),
        ("day_of_month", "l,15,1", (1, 15, "L")),
        ("day_of_month", "L-1,L-30", ("L-1", "L-30")),
        ("day_of_month", "15W,1w,LW", ("15W", "1W", "LW")),
        ("day_of_month", "010W", ("10W",)),
        ("month", "jan", (1,)),
        ("month", "JANUARY,Dec", (1, 12)),
        ("month", "nov-feb", (1, 2, 11, 12)),
        ("month", "nov-feb/2", (1, 11)),
        ("month", "mar-10/3", (3, 6, 9)),
        ("month", "9/2", (9, 11)),
        ("day_of_week", "7", (0,)),
        ("day_of_week", "0,7", (0,)),
        ("day_of_week", "?", EVERY["day_of_week"]),
        ("day_of_week", "sun-tue", (0, 1, 2)),
        ("day_of_week", "sat-sun", (0, 6)),
        ("day_of_week", "Saturday-monday", (0, 1, 6)),
        ("day_of_week", "5-7", (0, 5, 6)),
        ("day_of_week", "0-7", EVERY["day_of_week"]),
        ("day_of_week", "7-7", (0,)),
        ("day_of_week", "7-2", (0, 1, 2)),
        ("day_of_week", "7-4/2", (0, 2, 4)),
        ("day_of_week", "1-7/3", (0, 1, 4)),
        ("day_of_week", "*/2", (0, 2, 4, 6)),
        # 7 is a name of Sunday, not a day after Saturday where the field would end.
        ("day_of_week", "1/3", (1, 4)),
        ("day_of_week", "7/3", (0, 3, 6)),
        ("day_of_week", "fri#2", ("5#2",)),
        ("day_of_week", "7#1,0#1,5L", ("0#1", "5L")),
        ("day_of_week", "FRIDAYl,1", (1, "5L")),
    ],
)
def test_field_expands_to_its_values(field, text, values):
    """A field's text expands to these values (E2 to E4)."""
    assert getattr(parse(put(field, text)), field) == values


@pytest.mark.parametrize(
    ("text", "starred"),
    [
        ("* * * * * *", set(EVERY)),
        ("0 0 0 1 1 1", set()),
        ("*/5 0 0 ? 1 ?", {"second", "day_of_month", "day_of_week"}),
        ("0,* 0 0 1,? 1 1", set()),
        ("*/100,5 0 0 1 1 1", {"second"}),
    ],
)
def test_starred_names_the_fields_that_begin_with_a_star(text, starred):
    """The rules for days and intervals depend on the first character (E5, E7)."""
    assert parse(text).starred == starred


def test_five_fields_fire_at_second_zero():
    """Without a seconds field the second is 0, and not starred."""
    fields = parse("* * * * *")
    assert fields.second == (0,)
    assert "second" not in fields.starred


@pytest.mark.parametrize(
    ("nickname", "plain"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        (" @HOURLY\n", "0 * * * *"),
    ],
)
def test_nickname_is_short_for_an_expression(nickname, plain):
    """Nicknames mean what crontab(5) says, in upper or lower case (E1)."""
    assert parse(nickname) == parse(plain)


def test_nickname_is_plain_when_a_hash_id_is_given():
    """@daily stays at midnight even with a hash_id; only H is spread."""
    assert parse("@daily", hash_id="report") == parse("0 0 * * *")


@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\n", "\u00a0", " \t\r\n"])
def test_any_run_of_blanks_separates_fields(blank):
    """Any white space separates fields and may surround them (E1)."""
    text = blank + blank.join(["0", "9", "*", "*", "1"]) + blank
    assert parse(text) == parse("0 9 * * 1")


def test_expression_of_every_value_is_within_the_longest_text():
    """The length limit leaves room for listing all values."""
    text = " ".join(",".join(map(str, values)) for values in EVERY.values())
    assert len(text) <= MAX_LENGTH
    assert parse(text)[:6] == tuple(EVERY.values())


BAD_EVERYWHERE = [
    *("-1", "61", "99999999999999999999", "abc", "1.5", "1e2", "0x1f", "NaN", "+1"),
    *("1_0", "١", "²", "-", "1-", "-1-2", "1--3", "*-5", "5-*", "**", "*5", "/5"),
    *("1/2/3x", "#", "x@", "~", "R", "%s", "1;2", "(", "\x00", "é", "5#", "LL", "WL"),
]


@pytest.mark.parametrize("token", BAD_EVERYWHERE)
@pytest.mark.parametrize("field", EVERY)
def test_token_is_refused_in_every_field(field, token):
    """An invalid token is refused, and the field is named (E2)."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(put(field, token))
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field.replace('_', ' ')}: got '")


@pytest.mark.parametrize(
    ("field", "token"),
    [
        *((field, "60") for field in EVERY),
        *(("hour", token) for token in ("24", "L", "5W", "5L", "1#1", "mon", "?")),
        *(("minute", token) for token in ("L", "?", "5L", "jan")),
        *(("second", token) for token in ("L", "?", "LW")),
        *(("day_of_month", token) for token in ("0", "32", "5L", "1#1", "mon", "LW-1")),
        *(
            ("day_of_month", token)
            for token in ("0W", "32W", "W", "1-5W", "L5", "29-L")
        ),
        *(("month", token) for token in ("0", "13", "L", "?", "mon", "sept", "janu")),
        *(("day_of_week", token) for token in ("8", "L", "8L", "5W", "jan", "tues")),
        *(("day_of_week", token) for token in ("1-5L", "L5", "5L-6", "MON-FRI#2")),
        *(("day_of_week", token) for token in ("5L/3", "5#1#2", "x#1", "xL")),
    ],
)
def test_token_of_another_field_is_refused_with_what_the_field_takes(field, token):
    """The message quotes the invalid part and says what is valid (E10)."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(put(field, token))
    error = caught.value
    assert error.field == field
    assert error.value in token
    label = field.replace("_", " ")
    takes = f"{TAKES[field]}; also lists (1,5), ranges (1-5), steps (*/5)."
    expected = {
        f"{label}: got {error.value!r}, expected {takes}",
        f"{label}: got {error.value!r}, expected 5#1 to 5#5.",
    }
    assert error.message in expected


@pytest.mark.parametrize(
    ("field", "token", "value", "message"),
    [
        ("minute", "*/0", "0", "minute: got '0', expected a step of 1 or more."),
        ("hour", "1-5/00", "00", "hour: got '00', expected a step of 1 or more."),
        ("minute", "5/", "5/", "minute: got '5/', expected a step of 1 or more."),
        ("minute", "*/x", "x", "minute: got 'x', expected a step of 1 or more."),
        (
            "day_of_month",
            "L-31",
            "31",
            "day of month: got '31', expected L-1 to L-30.",
        ),
        ("day_of_month", "l-0", "0", "day of month: got '0', expected l-1 to l-30."),
        ("day_of_month", "L-", "L-", "day of month: got 'L-', expected L-1 to L-30."),
        (
            "day_of_week",
            "fri#6",
            "6",
            "day of week: got '6', expected fri#1 to fri#5.",
        ),
        ("day_of_week", "5#0", "0", "day of week: got '0', expected 5#1 to 5#5."),
    ],
)
def test_number_after_a_sign_is_refused_with_its_own_range(
    field, token, value, message
):
    """A step, an offset and an ordinal have their own ranges."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(put(field, token))
    assert (caught.value.value, caught.value.message) == (value, message)


@pytest.mark.parametrize("token", [",", "1,", ",1", "1,,2"])
@pytest.mark.parametrize("field", EVERY)
def test_empty_list_item_is_refused(field, token):
    """List items must not be empty (E2)."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(put(field, token))
    label = field.replace("_", " ")
    assert caught.value.message.startswith(f"{label}: got an empty list item, expected")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "an empty text"),
        (" \t ", "an empty text"),
        ("*", "'*'"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("daily", "'daily'"),
    ],
)
def test_wrong_number_of_fields_is_refused(text, got):
    """There are five or six fields (E1)."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(text)
    assert caught.value.field is None
    assert caught.value.message == (
        f"expression: got {got}, expected 5 fields (minute, hour, day of month, month, "
        "day of week), 6 with seconds first, or a nickname such as @daily."
    )


@pytest.mark.parametrize("text", ["@reboot", "@every 5m", "@", "@daily @daily"])
def test_unknown_nickname_is_refused_with_the_known_ones(text):
    """A text that begins with @ must be a nickname."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(text)
    assert caught.value.message == (
        f"expression: got {text!r}, expected one of @yearly, @annually, @monthly, "
        "@weekly, @daily, @midnight, @hourly."
    )


def test_text_beyond_the_limit_is_refused_by_its_length():
    """A megabyte is refused without parsing, and not repeated in the message."""
    with pytest.raises(CronSyntaxError) as caught:
        parse("* " * 500_000)
    assert str(caught.value) == (
        "expression: got 1000000 characters, expected at most 1000."
    )


@pytest.mark.parametrize(
    ("value", "got"),
    [(5, "5 (int)"), (None, "None (NoneType)"), (b"* * * * *", "b'* * * * *' (bytes)")],
)
def test_what_is_not_text_is_refused(value, got):
    """A value that is not a string gets the same error, with its type."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(value)
    assert str(caught.value) == (
        f"expression: got {got}, expected text such as '*/5 * * * *'."
    )


def test_first_error_is_raised_when_there_are_several():
    """`parse` raises the leftmost error."""
    with pytest.raises(CronSyntaxError, match=re.escape("minute: got '61'")):
        parse("61 25 32 13 8")


def test_fields_are_a_value():
    """Equal texts give equal, hashable fields."""
    fields = parse("0 0 * * sun")
    assert fields == parse("00 00 * * 7")
    assert hash(fields) == hash(parse("00 00 * * 7"))
    assert isinstance(fields, Fields)
