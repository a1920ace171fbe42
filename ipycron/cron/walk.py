"""The search in local time, without zones and offsets.

A local second is counted like a Unix second, as if local time were UTC. `Walk` never
steps from second to second: the seconds of a minute and the minutes of a day are bit
masks, in which the next set bit is found in one operation, and days are found by whole
months (`days`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipycron.cron.days import Days, make_mask

if TYPE_CHECKING:
    from ipycron.cron.fields import Fields

DAY = 86_400

# How far a search looks, in seconds: 100 years. The rarest schedules that fire at all,
# such as a weekday on 29 February, have up to 40 years between two fires.
HORIZON = 100 * 31_557_600


class Walk:
    """All local seconds that match one schedule. Immutable and thread-safe."""

    __slots__ = (
        "_days",
        "_first_second",
        "_first_time",
        "_is_daily",
        "_last_second",
        "_last_time",
        "_minutes",
        "_seconds",
    )

    def __init__(self, fields: Fields, *, day_or: bool) -> None:
        self._days = Days(fields, day_or=day_or)
        self._is_daily = self._days.are_all
        self._seconds = make_mask(fields.second)
        # Multiplying the masks sets a bit for every sum: hours are 60 bits apart.
        hours = make_mask(hour * 60 for hour in fields.hour)
        self._minutes = make_mask(fields.minute) * hours
        self._first_second, self._last_second = fields.second[0], fields.second[-1]
        first_minute = fields.hour[0] * 60 + fields.minute[0]
        last_minute = fields.hour[-1] * 60 + fields.minute[-1]
        self._first_time = first_minute * 60 + self._first_second
        self._last_time = last_minute * 60 + self._last_second

    def find_next(self, local: int, last: int) -> int | None:
        """Return the first matching second from `local` to `last`, or None."""
        day = local // DAY
        found_day = day if self._is_daily else self._days.find_next(day, last // DAY)
        if found_day == day:
            minute = local // 60 - day * 1440
            minutes = self._minutes >> minute
            if minutes & 1:
                seconds = self._seconds >> local % 60
                if seconds:
                    found = local + (seconds & -seconds).bit_length() - 1
                    return found if found <= last else None
                minutes ^= 1
            if minutes:
                minute += (minutes & -minutes).bit_length() - 1
                found = day * DAY + minute * 60 + self._first_second
                return found if found <= last else None
            day += 1
            found_day = (
                day if self._is_daily else self._days.find_next(day, last // DAY)
            )
        if found_day is None:
            return None
        found = found_day * DAY + self._first_time
        return found if found <= last else None

    def find_previous(self, local: int, first: int) -> int | None:
        """Return the last matching second from `first` to `local`, or None."""
        day = local // DAY
        found_day = self._days.find_previous(day, first // DAY)
        if found_day == day:
            minute = local // 60 - day * 1440
            if self._minutes >> minute & 1:
                seconds = self._seconds & ((2 << local % 60) - 1)
                if seconds:
                    found = local - local % 60 + seconds.bit_length() - 1
                    return found if found >= first else None
            minutes = self._minutes & ((1 << minute) - 1)
            if minutes:
                minute = minutes.bit_length() - 1
                found = day * DAY + minute * 60 + self._last_second
                return found if found >= first else None
            found_day = self._days.find_previous(day - 1, first // DAY)
        if found_day is None:
            return None
        found = found_day * DAY + self._last_time
        return found if found >= first else None
