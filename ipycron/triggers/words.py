"""The languages of descriptions."""

from __future__ import annotations


def check_locale(locale: str) -> None:
    """Raise `InvalidOption` unless it is a locale that cron expressions speak.

    The other triggers are described in English only: the library of phrases knows
    cron's. A locale that does not exist is a mistake all the same.
    """
    if locale != "en":
        from ipycron.cron import CronExpression  # noqa: PLC0415 - loads gettext

        CronExpression("* * * * *", "UTC").describe(locale)
