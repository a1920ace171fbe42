"""Examples published by other schedulers: the same answers, or a reason why not.

Sources: the README and tests of croniter 7, the tests of cronsim 2.8, the
documentation and tests of node-cron 4.6.0. Instants without a zone are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ipycron.cron import CronExpression, validate

# fmt: off
CRONITER = [
    ("*/5 * * * *", "2010-01-25T04:46", [
        "2010-01-25T04:50", "2010-01-25T04:55", "2010-01-25T05:00"]),
    ("2 4 * * mon,fri", "2010-01-25T04:46", [
        "2010-01-29T04:02", "2010-02-01T04:02"]),
    ("2 4 1 * wed", "2010-01-25T04:46", [
        "2010-01-27T04:02", "2010-02-01T04:02", "2010-02-03T04:02"]),
    ("0 0 * * sat#1,sun#2", "2010-01-25T04:46", [
        "2010-02-06T00:00", "2010-02-14T00:00"]),
    ("0 0 * * wed#5", "2010-01-25T00:00", [
        "2010-03-31T00:00", "2010-06-30T00:00", "2010-09-29T00:00"]),
    ("0 9 15W * *", "2024-06-01T00:00", ["2024-06-14T09:00"]),
    ("0 9 1W * *", "2024-05-31T00:00", ["2024-06-03T09:00"]),
    ("0 0 l * *", "2015-09-04T00:00", [
        "2015-09-30T00:00", "2015-10-31T00:00", "2015-11-30T00:00"]),
    ("0 0 */3 * *", "2010-02-24T12:09", [
        "2010-02-25T00:00", "2010-02-28T00:00", "2010-03-01T00:00"]),
    ("0 0 */7 * *", "2024-07-11T00:00", [
        "2024-07-15T00:00", "2024-07-22T00:00", "2024-07-29T00:00",
        "2024-08-01T00:00"]),
    ("15,25 * * * * *", "2012-04-06T13:26:10", [
        "2012-04-06T13:26:15", "2012-04-06T13:26:25", "2012-04-06T13:27:15"]),
    ("30 22 * * sun-thu", "2010-08-25T15:56", ["2010-08-25T22:30"]),
    ("0 0 * apr-jan *", "2010-01-31T12:00", ["2010-04-01T00:00"]),
    ("0 0 * * 6-7", "2010-01-25T00:00", ["2010-01-30T00:00", "2010-01-31T00:00"]),
    # Here without a flag: a day field that begins with a star narrows (E5).
    ("1 1 */32,1-7 * 2", "2024-07-12T00:00", [
        "2024-08-06T01:01", "2024-09-03T01:01"]),
    ("0 16 */2 * sat", "2023-05-02T00:00", [
        "2023-05-13T16:00", "2023-05-27T16:00", "2023-06-03T16:00"]),
]

CRONITER_AND = [
    ("2 4 1 * wed", "2010-01-25T04:46", [
        "2010-09-01T04:02", "2010-12-01T04:02", "2011-06-01T04:02"]),
    ("1 1 1-7 * 2", "2024-07-12T00:00", [
        "2024-08-06T01:01", "2024-09-03T01:01", "2024-10-01T01:01"]),
    ("0 4 1 1 fri", "2000-01-01T00:00", [
        "2010-01-01T04:00", "2016-01-01T04:00", "2021-01-01T04:00",
        "2027-01-01T04:00", "2038-01-01T04:00"]),
    ("0 0 1 * mon", "2010-01-25T00:00", [
        "2010-02-01T00:00", "2010-03-01T00:00", "2010-11-01T00:00"]),
]

CRONSIM = [
    ("0 0 * 2 MON#5", "2021-01-01T00:00", [
        "2044-02-29T00:00", "2072-02-29T00:00", "2112-02-29T00:00",
        "2140-02-29T00:00", "2168-02-29T00:00"]),
    ("1 1 L * *", "2020-01-01T00:00", ["2020-01-31T01:01"]),
    ("1 1 * * 5L", "2020-01-01T00:00", [
        "2020-01-31T01:01", "2020-02-28T01:01", "2020-03-27T01:01"]),
    ("1 1 * * 7L", "2020-01-01T00:00", ["2020-01-26T01:01"]),
    ("1 1 * * 1#2", "2020-01-01T00:00", ["2020-01-13T01:01"]),
    ("1 1 1-7 * */7", "2020-01-01T00:00", [
        "2020-01-05T01:01", "2020-02-02T01:01", "2020-03-01T01:01"]),
    ("1 1 */100,1-7 * MON", "2020-01-01T00:00", [
        "2020-01-06T01:01", "2020-02-03T01:01", "2020-03-02T01:01"]),
]

# Europe/Riga in 2021: 28 March 03:00 to 04:00, 31 October 04:00 to 03:00.
CRONSIM_RIGA = [
    ("0 * * * *", "2021-03-28T01:30+02:00", [
        "2021-03-28T02:00+02:00", "2021-03-28T04:00+03:00"]),
    ("0 * * * *", "2021-10-31T01:30+03:00", [
        "2021-10-31T02:00+03:00", "2021-10-31T03:00+03:00",
        "2021-10-31T03:00+02:00", "2021-10-31T04:00+02:00"]),
    ("*/30 * * * *", "2021-03-28T02:10+02:00", [
        "2021-03-28T02:30+02:00", "2021-03-28T04:00+03:00",
        "2021-03-28T04:30+03:00"]),
    ("0 */2 * * *", "2021-10-31T01:30+03:00", [
        "2021-10-31T02:00+03:00", "2021-10-31T04:00+02:00"]),
    ("30 */2 * * *", "2021-03-28T01:30+02:00", [
        "2021-03-28T02:30+02:00", "2021-03-28T04:30+03:00"]),
    ("0 */3 * * *", "2021-10-31T01:30+03:00", [
        "2021-10-31T03:00+03:00", "2021-10-31T03:00+02:00",
        "2021-10-31T06:00+02:00"]),
    ("0 1,2,3,4,5 * * *", "2021-03-28T01:30+02:00", [
        "2021-03-28T02:00+02:00", "2021-03-28T04:00+03:00",
        "2021-03-28T05:00+03:00"]),
    ("0 1-5 * * *", "2021-10-31T01:30+03:00", [
        "2021-10-31T02:00+03:00", "2021-10-31T03:00+03:00",
        "2021-10-31T04:00+02:00"]),
    ("15 3 * * *", "2021-03-27T00:00+02:00", [
        "2021-03-27T03:15+02:00", "2021-03-28T04:00+03:00",
        "2021-03-29T03:15+03:00"]),
    ("15 3 * * *", "2021-10-30T00:00+03:00", [
        "2021-10-30T03:15+03:00", "2021-10-31T03:15+03:00",
        "2021-11-01T03:15+02:00"]),
    ("* 1-6 * * *", "2021-10-31T03:58+03:00", [
        "2021-10-31T03:59+03:00", "2021-10-31T03:00+02:00",
        "2021-10-31T03:01+02:00"]),
    ("0 1,3,5,7,9,11,13,15,17,19,21,23 * * *", "2021-03-28T00:30+02:00", [
        "2021-03-28T01:00+02:00", "2021-03-28T04:00+03:00",
        "2021-03-28T05:00+03:00"]),
]

NODE_CRON = [
    ("1,2,4,5 * * * *", "2026-01-01T00:02:30", [
        "2026-01-01T00:04", "2026-01-01T00:05", "2026-01-01T01:01"]),
    ("1-5 * * * *", "2026-01-01T00:04:30", ["2026-01-01T00:05", "2026-01-01T01:01"]),
    ("1-10/2 * * * *", "2026-01-01T00:08", ["2026-01-01T00:09", "2026-01-01T01:01"]),
    ("* * * January,September Sunday", "2026-01-25T23:59", ["2026-09-06T00:00"]),
    ("*/30 * * * * *", "2026-01-01T00:00", ["2026-01-01T00:00:30"]),
    ("0 0 L * *", "2026-01-31T00:00", ["2026-02-28T00:00"]),
    ("0 9 * * 1-5", "2026-01-02T09:00", ["2026-01-05T09:00"]),
    ("0 0 31 * *", "2026-04-15T00:00", ["2026-05-31T00:00"]),
    ("0 0 29 2 *", "2026-03-01T00:00", ["2028-02-29T00:00"]),
    ("1 0 * * *", "2025-05-20T18:00", ["2025-05-21T00:01"]),
    ("0 0 0 * * monday-wed", "2018-05-09T00:00", ["2018-05-14T00:00"]),
    ("0 0 0 1 may-july *", "2018-07-02T00:00", ["2019-05-01T00:00"]),
    ("0 0 L-30 * *", "2025-01-15T00:00", ["2025-03-01T00:00"]),
    ("0 0 1W,LW * *", "2025-03-01T00:00", ["2025-03-03T00:00", "2025-03-31T00:00"]),
]
# fmt: on


@pytest.mark.parametrize(
    ("text", "after", "fires", "day_or"),
    [
        *((*case, True) for case in CRONITER),
        *((*case, False) for case in CRONITER_AND),
        *((*case, True) for case in CRONSIM),
        *((*case, False) for case in NODE_CRON),
    ],
)
def test_published_example_has_the_published_answer(text, after, fires, day_or):
    """What others document for this grammar holds here."""
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = CronExpression(text, UTC, day_or=day_or).upcoming(len(fires), start)
    assert found == [datetime.fromisoformat(fire).replace(tzinfo=UTC) for fire in fires]


@pytest.mark.parametrize(("text", "after", "fires"), CRONSIM_RIGA)
def test_published_example_holds_at_a_change_of_the_clock(text, after, fires):
    """Debian's rule, with cronsim's examples."""
    start = datetime.fromisoformat(after)
    found = CronExpression(text, "Europe/Riga").upcoming(len(fires), start)
    assert [moment.isoformat(timespec="minutes") for moment in found] == fires


# Where we differ on purpose: the text, what they do, and why we do not.
REFUSED = [
    ("* * * * * 15,25x", "croniter: seconds last", "E1: seconds come first"),
    ("0 0 1 1 * 0 2020/2", "croniter: a year", "E1: five fields or six"),
    ("R R * * *", "croniter: drawn anew each time", "a restart would move the task"),
    ("0 0 * * L5", "croniter: last Friday", "E4: dL, and the error offers 5L"),
    ("0 0 W15 * *", "croniter: as 15W", "E4: nW, and the error offers 15W"),
    ("0 0 29-L * *", "croniter: to the month's end", "E4: L is no number"),
    ("* * L/2 * *", "cronsim: as L", "E2: a step needs several values"),
    ("1-1_0 * * * *", "nobody", "digits only"),
]

ACCEPTED = [
    ("5/15 * * * *", "node-cron refuses a/step", "E2: cron users write it"),
    ("* * 5-1 * *", "cronsim refuses inverted ranges", "E2: they wrap"),
    (
        "* * * * MONL",
        "cronsim refuses named last days",
        "E3: names go wherever days do",
    ),
    ("0 0 30 2 *", "cronsim and node-cron refuse it", "E10: refused by `check_fires`"),
    ("0\t0 * * *", "node-cron refuses tabs", "E1: any blanks"),
]


@pytest.mark.parametrize(("text", "theirs", "ours"), REFUSED)
def test_text_that_others_accept_is_refused_on_purpose(text, theirs, ours):
    """Each of these is a decision with a reason."""
    assert theirs
    assert ours
    assert not validate(text)


@pytest.mark.parametrize(("text", "theirs", "ours"), ACCEPTED)
def test_text_that_others_refuse_is_accepted_on_purpose(text, theirs, ours):
    """Each of these is a decision with a reason."""
    assert theirs
    assert ours
    assert validate(text)


@pytest.mark.parametrize(
    ("text", "zone", "after", "theirs", "ours"),
    [
        # node-cron skips the day whose time does not exist; E7 runs it after the gap.
        ("30 2 * * *", "America/New_York", "2026-03-08T06:30+00:00",
         "2026-03-09T06:30+00:00", "2026-03-08T07:00+00:00"),
        # node-cron is silent in the repeated hour; E7 follows real time.
        ("*/15 * * * *", "America/New_York", "2026-11-01T05:45+00:00",
         "2026-11-01T07:00+00:00", "2026-11-01T06:00+00:00"),
        # node-cron needs both day fields by default; E5 asks for day_or=False.
        ("0 0 13 * 5", "UTC", "2026-01-01T12:00+00:00",
         "2026-02-13T00:00+00:00", "2026-01-02T00:00+00:00"),
        # croniter adds where a star begins a day field; E5 narrows, as Debian does.
        ("0 16 */2 * sat", "UTC", "2023-05-02T00:00+00:00",
         "2023-05-03T16:00+00:00", "2023-05-13T16:00+00:00"),
        # croniter takes 5-5 for the whole cycle; E2: it is just 5.
        ("5-5 * * * *", "UTC", "2026-01-01T00:05+00:00",
         "2026-01-01T00:06+00:00", "2026-01-01T01:05+00:00"),
        # croniter hashes nicknames of named tasks; E1: @daily is midnight.
        ("@daily", "UTC", "2021-04-10T00:00+00:00",
         "2021-04-10T11:10:32+00:00", "2021-04-11T00:00+00:00"),
        # cronsim ends the week at 7; E3: 7 is Sunday, which begins it.
        ("0 0 * * 4/3", "UTC", "2026-01-01T12:00+00:00",
         "2026-01-04T00:00+00:00", "2026-01-08T00:00+00:00"),
    ],
)  # fmt: skip
def test_answer_differs_on_purpose(text, zone, after, theirs, ours):
    """Where our instants differ from theirs, a rule of the specification says so."""
    schedule = CronExpression(text, zone, hash_id="hello")
    found = schedule.find_next(datetime.fromisoformat(after).timestamp())
    assert found == datetime.fromisoformat(ours).timestamp()
    assert found != datetime.fromisoformat(theirs).timestamp()
