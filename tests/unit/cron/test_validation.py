"""`validate`, `validate_detailed`, and what `parse` has in common with them (E9)."""

from __future__ import annotations

import pytest

from ipycron.cron import parse, validate, validate_detailed


@pytest.mark.parametrize("text", ["* * * * *", "@daily", "0 0 30 2 *", "H H * * *"])
def test_grammar_is_valid_whatever_its_dates(text):
    """Only the grammar is validated; a task checks that the dates exist."""
    assert validate(text)
    verdict = validate_detailed(text)
    assert verdict
    assert verdict.valid
    assert verdict.errors == ()


@pytest.mark.parametrize("value", ["", "61 * * * *", None, 5, b"* * * * *", ["*"]])
def test_anything_else_is_invalid_and_raises_nothing(value):
    """Neither function ever raises."""
    assert not validate(value)
    verdict = validate_detailed(value)
    assert not verdict
    assert verdict.fields is None
    assert len(verdict.errors) == 1


def test_every_bad_field_is_reported_at_once():
    """All errors are returned, in the order of the text."""
    verdict = validate_detailed("60 61 25 32 13 8")
    assert [error.field for error in verdict.errors] == [
        "second",
        "minute",
        "hour",
        "day_of_month",
        "month",
        "day_of_week",
    ]
    assert [error.value for error in verdict.errors] == [
        "60",
        "61",
        "25",
        "32",
        "13",
        "8",
    ]
    assert [error.column for error in verdict.errors] == [0, 3, 6, 9, 12, 15]


@pytest.mark.parametrize("text", ["", "* * * *", "@x", "x" * 2000])
def test_whole_text_is_reported_as_expression(text):
    """An error that concerns no single field has the field "expression"."""
    (error,) = validate_detailed(text).errors
    assert error.field == "expression"
    assert error.message.startswith("expression: got ")


def test_detailed_verdict_holds_the_fields_that_parse_returns():
    """The result for a valid text contains its fields."""
    assert validate_detailed("*/5 9 * * mon").fields == parse("*/5 9 * * mon")


def test_text_is_parsed_once():
    """The same text gives the same object, so repeated parsing is cheap."""
    assert parse("1 2 3 4 5") is parse("1 2 3 4 5")
