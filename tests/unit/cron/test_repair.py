# ruff: noqa: RUF001 - suggestions for look-alikes are the subject
"""How errors are shown, and which corrections are suggested (E10)."""

from __future__ import annotations

import pickle

import pytest

from ipycron.cron import parse, validate, validate_detailed
from ipycron.errors import CronSyntaxError


def show(text: str) -> str:
    """Return the whole text of the error."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(text)
    return str(caught.value)


def test_error_shows_a_caret_under_the_token():
    """The expression, a caret under the invalid token, and what the field takes."""
    assert show("61 * * * *") == (
        "minute: got '61', expected 0 to 59; also lists (1,5), ranges (1-5), "
        "steps (*/5).\n"
        "  61 * * * *\n"
        "  ^^"
    )


@pytest.mark.parametrize(
    ("text", "shown", "caret"),
    [
        ("0 9-17 1,61 * *", "  0 9-17 1,61 * *", "           ^^"),
        ("  0\t25 * * *", "    0 25 * * *", "      ^^"),
        ("0 0 * * 1,,5", "  0 0 * * 1,,5", "            ^"),
        ("0 0 1 1 * * *", "  0 0 1 1 * * *", "              ^"),
        ("@dayly", "  @dayly", "  ^^^^^^"),
        ("\x1b[31m * * * *", "   [31m * * * *", "  ^^^^^"),
        ("5-61 * * * *", "  5-61 * * * *", "    ^^"),
    ],
)
def test_caret_points_into_the_text_as_it_was_written(text, shown, caret):
    """White space and control characters do not move the caret."""
    assert show(text).splitlines()[1:3] == [shown, caret]


def test_long_text_is_shown_around_the_caret():
    """A text of a thousand characters is shortened around the error."""
    text = f"{','.join(['1'] * 100)},61,{','.join(['2'] * 100)} * * * *"
    _, shown, caret = show(text).splitlines()
    assert shown == f"  …{'1,' * 12}61{',2' * 23}…"
    assert caret == f"  {' ' * 25}^^"


def test_long_token_is_cut_in_the_message():
    """A single token does not fill the screen, either."""
    message, shown, caret = show(f"{'9' * 500} * * * *").splitlines()
    assert message.startswith(f"minute: got '{'9' * 40}…', expected")
    assert shown == f"  {'9' * 72}…"
    assert caret == f"  {'^' * 73}"


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("60 * * * *", "0 * * * *"),
        ("60 * * * * *", "0 * * * * *"),
        ("0 24 * * *", "0 0 * * *"),
        ("0-60 * * * *", "0-59 * * * *"),
        ("0 22-24 * * *", "0 22-23 * * *"),
        ("*/0 * * * *", "*/1 * * * *"),
        ("0 0 1 Sept *", "0 0 1 sep *"),
        ("0 0 1 febuary *", "0 0 1 feb *"),
        ("0 0 * * tues,thurs", "0 0 * * tue,thu"),
        ("0 0 * * Weds", "0 0 * * wed"),
        ("0 0 * * moday", "0 0 * * mon"),
        ("0 0 12 * * ? 2026", "0 0 12 * * ?"),
        ("*/5 * * * * rm -rf /tmp/x", "*/5 * * * *"),
        ("0 9 * * 1-5 2026", "0 9 * * 1-5"),
        ("0 9 * * 1-5 ./run.py", "0 9 * * 1-5"),
        ('0 9 * * "mon"', "0 9 * * mon"),
        ('"0 9 * * mon"', "0 9 * * mon"),
        ("“0 9 * * mon”", "0 9 * * mon"),
        ("'@daily'", "@daily"),
        ("@dayly", "@daily"),
        ("hourly", "@hourly"),
        ("0 9 * * mon–fri", "0 9 * * mon-fri"),
        ("٣٠ ٩ * * *", "30 9 * * *"),
        ("＊ ＊ ＊ ＊ ＊", "* * * * *"),
        ("∗/5 * * * *", "*/5 * * * *"),
        ("1,,2 * * * *", "1,2 * * * *"),
        (",1 * * * *", "1 * * * *"),
        (",,1,,2, * * * *", "1,2 * * * *"),
        ("? ? * * *", "* * * * *"),
        ("*5 * * * *", "*/5 * * * *"),
        ("/5 * * * *", "*/5 * * * *"),
        ("0..5 * * * *", "0-5 * * * *"),
        ("0 0 W15 * *", "0 0 15W * *"),
        ("0 0 * * L5", "0 0 * * 5L"),
        ("60 24 1 sept tues", "0 0 1 sep tue"),
        # A blank in a list or a range, which made a field of each half.
        ("0 9 * * 1, 3", "0 9 * * 1,3"),
        ("0 9 * * 1 ,3", "0 9 * * 1,3"),
        ("0 9 1, 15 * *", "0 9 1,15 * *"),
        ("0 9, 17 * * 1-5", "0 9,17 * * 1-5"),
        ("1, 2, 3 * * * *", "1,2,3 * * * *"),
        ("0 9 * * mon, wed , fri", "0 9 * * mon,wed,fri"),
        ("0 9 * * mon - fri", "0 9 * * mon-fri"),
        ("0 9 * * 1 -5", "0 9 * * 1-5"),
        ("0 9 * * mon- fri", "0 9 * * mon-fri"),
        ("0 9 1 -15 * *", "0 9 1-15 * *"),
        ("*/ 5 * * * *", "*/5 * * * *"),
        ("* /5 * * * *", "*/5 * * * *"),
        ("0 9-17 /2 * * *", "0 9-17/2 * * *"),
        ("0 9-17/ 2 * * *", "0 9-17/2 * * *"),
        ("0 /5 * * * *", "0/5 * * * *"),  # as 0 */5 of six fields
        ("0 9 * * 1, 3 /bin/backup", "0 9 * * 1,3"),
        ("0 9 * * 1 - 5 root /bin/backup", "0 9 * * 1-5"),
        ("0 9 * * 1;3", "0 9 * * 1,3"),
        ("0 9 * * mo", "0 9 * * mon"),
        ("0 9 * okt *", "0 9 * oct *"),
        ("0 9 * * fredag", "0 9 * * fri"),
        ("0 9 * * sa", "0 9 * * sat"),
        ("0 9 * * * root /bin/backup", "0 9 * * *"),
        ("0 9 * * * # daily", "0 9 * * *"),
        ("@minutely", "* * * * *"),
        ("@weekdays", "0 0 * * 1-5"),
        ("@weekdy", "0 0 * * 1-5"),
    ],
)
def test_suggestion_repairs_the_whole_expression(text, suggestion):
    """If it is clear what was meant, a valid expression is suggested."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(text)
    assert caught.value.suggestion == suggestion
    assert validate(suggestion)
    assert str(caught.value).endswith(f"\nTry: {suggestion}")


@pytest.mark.parametrize(
    "text",
    [
        "61 * * * *",
        "1.5 * * * *",
        "60 61 * * *",
        "60,61,60 * * * *",
        "60,60,60,60,60,60,60,60,60,60,60,60,60 * * * *",  # more than mistyped
        "0 0 0 * *",
        "0 0 * * L",
        "* * *",
        "@reboot",
        "",
        "0 0 L-31 * *",
        "R * * * *",
        "*/7 * * " * 200,
        "0 9 * * *\n0 17 * * *",  # which one?
        "*-5 * * * *",
        "**/5 * * * *",
        "0 9 * * 8",
        "0 9 * * lun",  # Monday, not Sunday
        "0 9 * * mar",  # Tuesday, in the field of weekdays
        "0 9 * jn *",
        "0 9 * ju *",
        "0 9 * * tirsdag",  # not thu: Tuesday
        "0 9 * srp *",  # not sep: August
        "0 9 * oca *",  # not oct: January
        "0 9 * ara *",  # not apr: December
        "5 /2 * * * *",  # 5/2, or 5 */2 of six fields?
        "0 9 * * * -5",
        "0 9 * * 1 /5",
        "0 9 * * mon and fri",
        "0 9 * * 1 to 5",
        "0 9 * * 1 3 5",
        "@every",
        "@evry",
        "0 9 30 Febuary *",  # it would never fire
    ],
)
def test_nothing_is_suggested_when_nothing_is_plain(text):
    """Nothing is suggested if the guess may be wrong."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(text)
    assert caught.value.suggestion is None


@pytest.mark.parametrize(
    "zone",
    [
        "CRON_TZ=Asia/Tokyo",
        "TZ=Asia/Tokyo",
        "cron_tz=Asia/Tokyo",
        'CRON_TZ="Asia/Tokyo"',
        "TZ='Asia/Tokyo'",
        "CRON_TZ = Asia/Tokyo",
        "CRON_TZ=Asia/Tokyo\n",
    ],
)
@pytest.mark.parametrize("fields", ["0 9 * * *", "0 0 9 * * *", "@daily"])
def test_zone_in_the_text_is_pointed_to_its_option(zone, fields):
    """Other crons accept a zone in the text; the error names the option."""
    with pytest.raises(CronSyntaxError) as caught:
        parse(f"{zone} {fields}")
    assert "timezone='Asia/Tokyo'" in str(caught.value)
    assert "--timezone Asia/Tokyo" in str(caught.value)
    assert caught.value.suggestion is None


def test_detailed_errors_suggest_tokens():
    """Each error of `validate_detailed` suggests a replacement for its value."""
    errors = validate_detailed("60 9 1,,2 foo mo").errors
    assert [(e.field, e.value, e.column, e.suggestion) for e in errors] == [
        ("minute", "60", 0, "0"),
        ("day_of_month", "", 7, ""),
        ("month", "foo", 10, None),
        ("day_of_week", "mo", 14, "mon"),
    ]


def test_error_pickles_with_its_facts():
    """The error arrives in another process with all attributes."""
    with pytest.raises(CronSyntaxError) as caught:
        parse("60 * * * *")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert (copy.field, copy.value, copy.column) == ("minute", "60", 0)
    assert (copy.expression, copy.suggestion) == ("60 * * * *", "0 * * * *")
