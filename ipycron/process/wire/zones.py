"""Time zones on the wire: an IANA name, the seconds of a fixed offset, or rules."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

Zone = str | int | tuple[str, bytes]


def describe_zone(zone: tzinfo) -> Zone:
    """Return the wire form of `zone`.

    A zone that is not in the tz database travels with its rules: the supervisor runs no
    foreign code to tell the time.
    """
    from ipycron.cron.timezone import is_named  # noqa: PLC0415 - not for the zygote

    if is_named(zone):
        return str(zone)
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        is_plain = str(zone) == str(timezone(offset))
        if is_plain and offset % timedelta(seconds=1) == timedelta(0):
            return int(offset.total_seconds())
    from ipycron.cron.zone_rules import find_rules  # noqa: PLC0415 - rare

    return find_rules(zone)


def make_zone(zone: Zone) -> tzinfo:
    """Return the time zone that `describe_zone` described."""
    if isinstance(zone, str):
        return ZoneInfo(zone)
    if isinstance(zone, int):
        return timezone(timedelta(seconds=zone)) if zone else UTC
    from ipycron.cron.zone_rules import load_rules  # noqa: PLC0415 - rare

    return load_rules(zone)
