# ruff: noqa: RUF001 - sentences in their own scripts
"""Descriptions: a table, every locale, and schedules without suitable words."""

from __future__ import annotations

import calendar

import pytest

from ipycron.cron import CronExpression
from ipycron.cron.names import NAMES
from ipycron.errors import InvalidOption


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * * *", "Every minute"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("* * * * * *", "Every second"),
        ("*/5 * * * * *", "Every 5 seconds"),
        ("*/10 */5 * * * *", (
            "Every 10 seconds, at 0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, and 55 "
            "minutes past the hour"
        )),
        # Two rhythms, or a list of hours with a rhythm, are not a list of times.
        ("*/5 9,17 * * *", (
            "Every 5 minutes, between 09:00 and 09:59 and between 17:00 and 17:59"
        )),
        ("* */12 * * *", (
            "Every minute, between 00:00 and 00:59 and between 12:00 and 12:59"
        )),
        ("*/5 */6 * * *", (
            "Every 5 minutes, between 00:00 and 00:59, between 06:00 and 06:59, "
            "between 12:00 and 12:59 and between 18:00 and 18:59"
        )),
        ("*/15 */3 * * *", (
            "Every 15 minutes, in hours 0, 3, 6, 9, 12, 15, 18 and 21 of the day"
        )),
        ("30 */12 * * *", "At 30 minutes past the hour, every 12 hours"),
        ("0-10,50-59 9 * * *", (
            "At 0 through 10 and 50 through 59 minutes past the hour, between 09:00 "
            "and 09:59"
        )),
        ("58-2 * 9 * * *", (
            "At 0 through 2, 58, and 59 seconds past the minute, between 09:00 and "
            "09:59"
        )),
        ("15-45 9,17 * * *", (
            "Minutes 15 through 45 past the hour, between 09:00 and 09:59 and between "
            "17:00 and 17:59"
        )),
        ("0 0-10,12-20 * * *", (
            "At 0 minutes past the hour, between 00:00 and 10:59 and between 12:00 and "
            "20:59"
        )),
        ("0 9 * */6 *", "At 09:00, only in January and July"),
        ("0 9 1 */6 1", (
            "At 09:00, on day 1 of the month, or on Monday, only in January and July"
        )),
        # With restricted days, an hour after midnight belongs to that day.
        ("* 22-2 * * 1", (
            "Every minute, between 00:00 and 02:59 and between 22:00 and 23:59, only "
            "on Monday"
        )),
        ("*/90 * * * * *", "Every minute"),
        ("@hourly", "Every hour"),
        ("0 */12 * * *", "Every 12 hours"),
        # A step that does not divide its field is not an interval.
        ("*/25 * * * *", "At 0, 25, and 50 minutes past the hour"),
        ("*/90 * * * *", "Every hour"),
        ("0 */23 * * *", "At 00:00 and 23:00"),
        ("5/15 * * * *", "At 5, 20, 35, and 50 minutes past the hour"),
        ("1/2 * * * *", "Every 2 minutes, starting at 1 minutes past the hour"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00"),
        ("30 2 * * *", "At 02:30"),
        ("0 0 9 * * *", "At 09:00"),
        ("15 30 9 * * *", "At 09:30:15"),
        ("5 0 9,17 * * *", "At 09:00:05 and 17:00:05"),
        ("0,30 9 * * *", "At 09:00 and 09:30"),
        ("0 8-18/2 * * *", "At 08:00, 10:00, 12:00, 14:00, 16:00 and 18:00"),
        ("30 5 * * * *", "At 30 seconds past the minute, at 5 minutes past the hour"),
        ("30 */5 * * * *", "At 30 seconds past the minute, every 5 minutes"),
        ("0-30 * * * * *", "Seconds 0 through 30 past the minute"),
        ("1-3,10-20 * * * *", "At 1 through 3 and 10 through 20 minutes past the hour"),
        ("58-2 * * * *", "At 0 through 2, 58, and 59 minutes past the hour"),
        ("* 22-2 * * *", "Every minute, between 22:00 and 02:59"),
        ("*/15 9-17 * * 1-5", (
            "Every 15 minutes, between 09:00 and 17:59, Monday through Friday"
        )),
        ("15-45 9 * * *", "Every minute between 09:15 and 09:45"),
        ("0 9 * * mon-fri", "At 09:00, Monday through Friday"),
        ("0 0 * * 6,0", "At 00:00, only on Saturday and Sunday"),
        ("0 0 * * 6-1", "At 00:00, Saturday through Monday"),
        ("0 0 * * */2", "At 00:00, only on Tuesday, Thursday, Saturday and Sunday"),
        ("0 0 ? * 7", "At 00:00, only on Sunday"),
        ("0 0 1 * *", "At 00:00, on day 1 of the month"),
        ("0 0 1,15 * *", "At 00:00, on day 1 and 15 of the month"),
        ("0 4 8-14 * *", "At 04:00, between day 8 and 14 of the month"),
        ("0 0 1-3,10,20-25 * *", (
            "At 00:00, on day 1 through 3, 10 and 20 through 25 of the month"
        )),
        ("0 0 */2 * *", "At 00:00, every 2 days from day 1 of the month"),
        ("0 0 */20 * *", "At 00:00, every 20 days from day 1 of the month"),
        ("0 0 */40 * *", "At 00:00, on day 1 of the month"),
        ("0 0 5/5 * *", "At 00:00, on day 5, 10, 15, 20, 25 and 30 of the month"),
        ("0 0 29 2 *", "At 00:00, on day 29 of the month, only in February"),
        ("0 0 1 */2 *", "At 00:00, on day 1 of the month, every 2 months"),
        # Every 2 months: once in each of them, and each has the day.
        ("0 0 1 */2 0-6", (
            "At 00:00, only in January, March, May, July, September and November"
        )),
        ("0 0 1-31 */6 1", "At 00:00, only in January and July"),
        ("0 0 31 */3 *", (
            "At 00:00, on day 31 of the month, only in January, April, July and October"
        )),
        ("0 0 29W */4 *", (
            "At 00:00, on the weekday nearest day 29 of the month, only in January, "
            "May and September"
        )),
        ("0 0 L-28 */2 *", (
            "At 00:00, 28 days before the last day of the month, only in January, "
            "March, May, July, September and November"
        )),
        ("0 0 28 */2 *", "At 00:00, on day 28 of the month, every 2 months"),
        ("0 0 LW */2 *", (
            "At 00:00, on the last weekday of the month, every 2 months"
        )),
        ("0 0 1 */5 *", (
            "At 00:00, on day 1 of the month, only in January, June and November"
        )),
        ("0 0 1 nov-feb *", (
            "At 00:00, on day 1 of the month, November through February"
        )),
        ("0 12 L * *", "At 12:00, on the last day of the month"),
        ("0 12 L-1 * *", "At 12:00, 1 day before the last day of the month"),
        ("0 12 L-3 * *", "At 12:00, 3 days before the last day of the month"),
        ("0 9 15W * *", "At 09:00, on the weekday nearest day 15 of the month"),
        ("0 9 1W * *", "At 09:00, on the first weekday of the month"),
        ("0 9 LW * *", "At 09:00, on the last weekday of the month"),
        ("0 9 1W,15,L * *", (
            "At 09:00, on day 15 of the month and on the first weekday of the month "
            "and on the last day of the month"
        )),
        ("0 0 * * 5#3", "At 00:00, on the third Friday of the month"),
        ("0 0 * * friL", "At 00:00, on the last Friday of the month"),
        ("0 0 * * 1,5L", (
            "At 00:00, only on Monday and on the last Friday of the month"
        )),
        ("0 0 * * 1-5,0#1", (
            "At 00:00, only on Monday through Friday and on the first Sunday of the "
            "month"
        )),
        # Both day fields: either, unless one begins with a star.
        ("0 0 13 * 5", "At 00:00, on day 13 of the month, or on Friday"),
        ("0 0 13 * 1-5", (
            "At 00:00, on day 13 of the month, or on Monday through Friday"
        )),
        ("0 0 13 * 5#2", (
            "At 00:00, on day 13 of the month, or on the second Friday of the month"
        )),
        ("0 0 13 * 1,5L", (
            "At 00:00, on day 13 of the month, or on Monday and on the last Friday of "
            "the month"
        )),
        ("0 0 */2 * 1", (
            "At 00:00, every 2 days from day 1 of the month, only on Monday"
        )),
        ("0 0 1-31 * 1", "At 00:00"),
        ("0 0 1 * 0-6", "At 00:00"),
        ("5 5 5 5 5 5", (
            "At 05:05:05, on day 5 of the month, or on Friday, only in May"
        )),
    ],
)  # fmt: skip
def test_schedule_is_said_in_english(text, words):
    """The words match the values, for every form of the grammar."""
    assert CronExpression(text).describe() == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 13 * 5", "At 00:00, on day 13 of the month, only on Friday"),
        ("0 0 13 * 5#2", (
            "At 00:00, on day 13 of the month, only on the second Friday of the month"
        )),
        ("0 0 13 * 1-5", "At 00:00, on day 13 of the month, Monday through Friday"),
        ("0 0 1-31 * 1", "At 00:00, only on Monday"),
    ],
)  # fmt: skip
def test_both_day_fields_are_said_to_be_needed_without_day_or(text, words):
    """With day_or=False the sentence narrows the days instead of adding more."""
    assert CronExpression(text, day_or=False).describe() == words


def test_days_that_are_both_needed_stand_beside_each_other_in_other_languages():
    """Other languages have no "only" for a token: two clauses narrow the days."""
    schedule = CronExpression("0 0 13 * 5#2", day_or=False)
    words = "Um 00:00, am 13 Tag des Monats, am zweiten Freitag des Monats"
    assert schedule.describe("de") == words


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("de", "0 9 * * mon-fri", "Um 09:00, Montag bis Freitag"),
        ("de", "0 0 1 3 *", "Um 00:00, am 1 Tag des Monats, nur im März"),
        ("nl", "0 9 1W,L * *", (
            "Om 09:00, op de eerste werkdag van de maand en op de laatste dag van de "
            "maand"
        )),
        ("de", "0 0 */2 * *", (
            "Um 00:00, am 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 und 31 "
            "Tag des Monats"
        )),
        ("de", "0 0 13 * 5", "Um 00:00, am 13 Tag des Monats, oder am Freitag"),
        ("fr", "0 0 * * 5#3", "À 00:00, le troisième vendredi du mois"),
        ("es", "*/5 * * * * *", "Cada 5 segundos"),
        ("ru", "0 0 * jan,jul *", "В 00:00, только в январь и июль"),
        ("hu", "30 9 * * *", "09:30"),
        ("zh", "0 9 * * 6-1", "在 09:00, 星期六 到 星期一"),
        ("ja", "0 0 * 5,6 *", "次において実施 00:00、5月 と 6月 でのみ"),
    ],
)  # fmt: skip
def test_schedule_is_said_in_other_languages(language, text, words):
    """Names and phrases are in the language itself."""
    assert CronExpression(text).describe(language) == words


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        # No phrase in this translation.
        ("de", "0 12 L-3 * *", "Um 12:00; Tage: L-3"),
        # No word for "or" that is not followed by "on".
        ("de", "0 0 13 * 5#2", "Um 00:00; Tage: 13 oder Freitag#2"),
        ("de", "0,30 */2 * * 1-5,0L", (
            "Minuten: 0, 30; Stunden: 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22; "
            "Montag - Freitag, Sonntag L"
        )),
        # A phrase with a placeholder too many.
        ("fa", "0 12 L * *", "در 12:00; روز: L"),
        ("th", "5 30 9 1-10 3 *", "09:30:05; วัน: 1-10; มีนาคม"),
        # "On the first weekend day", "from minute 7 on", "in the week".
        ("cs", "0 9 1W * *", "Ve 09:00; dny: 1W"),
        ("vi", "7 * * * *", "phút: 7; mỗi giờ"),
        ("it", "0 9 LW * *", "Alle 09:00; giorni: LW"),
        # A Saturday may be one of these.
        ("de", "0 9 1W * *", "Um 09:00; Tage: 1W"),
        ("fr", "0 9 LW * *", "À 09:00; jours: LW"),
        ("da", "0 9 15W * *", "kl 09:00; dage: 15W"),
        # "On Tuesday, Friday", "on Friday of the third month", "on the second".
        ("he", "0 9 * * 5#3", "ב 09:00; יום שישי#3"),
        ("vi", "0 9 * * 5#3", "Tại 09:00; Thứ Sáu#3"),
        ("ja", "0 9 * * 5#3", "次において実施 09:00; 金曜日#3"),
        ("ta", "0 9 * * 5#3", "Ve 09:00; வெள்ளி#3"),
        ("nb", "0 9 * * 5#2", "På 09:00; fredag#2"),
        ("nb", "0 9 * * 5#3", "På 09:00, på den tredje fredag av måneden"),
        # "Every February", "on the next last day".
        ("zh", "0 9 1 */2 *", "在 09:00; 天: 1; 一月, 三月, 五月, 七月, 九月, 十一月"),
        ("ja", "0 9 L * *", "次において実施 09:00; 日: L"),
        # Every minute and every second are said: neither is minute 0.
        ("de", "0 1-23/2 * * *", (
            "Minuten: 0; Stunden: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23"
        )),
        ("de", "* 1-23/2 * * *", (
            "jede Minute; Stunden: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23"
        )),
        ("de", "* * 1-23/2 * * *", (
            "Jede Sekunde; Stunden: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23"
        )),
        ("th", "5 * * * * *", "วินาที: 5; ทุกนาที"),
        ("th", "5 * * * *", "นาที: 5; ทุกชั่วโมง"),
        ("th", "* 5 * * * *", "ทุกวินาที; นาที: 5; ทุกชั่วโมง"),
    ],
)  # fmt: skip
def test_schedule_is_listed_where_a_language_has_no_true_words(language, text, words):
    """A list is better than an incomplete, mixed or false sentence."""
    assert CronExpression(text).describe(language) == words


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("en", "At 14:30"),
        ("en_GB", "At 14:30"),
        ("en_US", "At 02:30 PM"),
        ("en-us", "At 02:30 PM"),
        ("de_AT.UTF-8", "Um 14:30"),
        ("pt-BR", "Às 14:30"),
        ("es_MX", "A las 02:30 P. M."),
        # They count to twelve, in a translation without words for the two halves.
        ("fr_CA", "À 14:30"),
        ("es_CO", "A las 14:30"),
        ("es_HN", "A las 14:30"),
    ],
)
def test_locale_is_found_by_its_language(asked, words):
    """Tags, variants and encodings are understood; en_US uses 12-hour times."""
    assert CronExpression("30 14 * * *").describe(asked) == words


@pytest.mark.parametrize("asked", ["xx", "", "C", None, 5])
def test_unknown_locale_is_refused(asked):
    """A language without a translation is an error that lists the known ones."""
    with pytest.raises(
        InvalidOption, match=r"^locale: got .*, expected one of cs, da,"
    ):
        CronExpression("* * * * *").describe(asked)


@pytest.mark.parametrize("code", NAMES)
def test_every_language_says_every_form(code):
    """No language fails, leaves a gap, or begins with a comma."""
    for text in (
        "*/5 * * * * *",
        "15 30 9 1,L,L-3,15W,LW * 1,5#2,5L",
        "0,30 9-17 */2 jan-mar,7 mon-fri",
        "0 0 * */2 5#1",
        "5/7 22-3 ? * 0L",
    ):
        words = CronExpression(text).describe(code)
        assert words[0].isalnum()
        assert "{" not in words
        assert "  " not in words


def test_names_do_not_depend_on_the_locale_of_the_process(monkeypatch):
    """cron-descriptor alone would use the names of LC_TIME."""
    monkeypatch.setattr(calendar, "day_name", ["dies"] * 7)
    monkeypatch.setattr(calendar, "month_name", ["mensis"] * 13)
    words = CronExpression("7 9 * 3 1").describe("de")
    assert words == "Um 09:07, nur am Montag, nur im März"
