"""Instants of the past as users write them."""

# ruff: noqa: DTZ001, DTZ901 - local time is a part of it

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest

from ipycron.client.instants import read_past
from ipycron.errors import InvalidOption

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    """Local time is Berlin's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        (datetime(2026, 11, 24, 9, tzinfo=UTC), "2026-11-24T09:00+00:00"),
        (
            datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=-5))),
            "2026-11-24T14:00+00:00",
        ),
        (datetime(2026, 11, 24, 9), "2026-11-24T08:00+00:00"),
        (datetime(2026, 10, 25, 2, 30, fold=0), "2026-10-25T00:30+00:00"),
        (datetime(2026, 10, 25, 2, 30, fold=1), "2026-10-25T01:30+00:00"),
        (pd.Timestamp("2026-11-24 09:00"), "2026-11-24T08:00+00:00"),
        (pd.Timestamp("2026-11-24 09:00", tz="UTC"), "2026-11-24T09:00+00:00"),
        (date(2026, 11, 24), "2026-11-23T23:00+00:00"),
        (date(2026, 7, 1), "2026-06-30T22:00+00:00"),
        (timedelta(hours=1), "2026-11-24T11:00+00:00"),
        (timedelta(0), "2026-11-24T12:00+00:00"),
        ("7d", "2026-11-17T12:00+00:00"),
        ("2w", "2026-11-10T12:00+00:00"),
        ("24h", "2026-11-23T12:00+00:00"),
        (" 1h30m ", "2026-11-24T10:30+00:00"),
        ("2026-11-24", "2026-11-23T23:00+00:00"),
        ("2026-11-24 09:00", "2026-11-24T08:00+00:00"),
        ("2026-11-24T09:00Z", "2026-11-24T09:00+00:00"),
        ("2026-11-24T09:00:01.5+01:00", "2026-11-24T08:00:01.5+00:00"),
        ("20261124", "2026-11-23T23:00+00:00"),
    ],
)
def test_instant_is_read(value, said):
    """Local time unless there is a zone; a duration is that long ago."""
    wanted = None if said is None else datetime.fromisoformat(said).timestamp()
    assert read_past("since", value, NOW) == wanted


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "7 days",
        "-7d",
        "90",
        "1.5",
        "2026-02-30",
        "2026-13-01",
        "d",
        3600,
        True,
        timedelta(days=-1),
        datetime.min,
        datetime.max,
        pd.NaT,
        ("7d",),
        b"7d",
    ],
    ids=repr,
)
def test_anything_else_is_refused_with_what_is_expected(value):
    """A number alone may be a year or seconds."""
    with pytest.raises(
        InvalidOption, match=r"since: got .*, expected a datetime"
    ) as got:
        read_past("since", value, NOW)
    assert "'7d', '24h'" in str(got.value)
