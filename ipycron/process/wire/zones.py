"""Time zones on the wire: an IANA name, or the seconds of a fixed offset."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from ipycron.errors import InvalidOption

Zone = str | int


def describe_zone(zone: tzinfo) -> Zone:
    """Return what stands for `zone` on the wire.

    Raises:
        InvalidOption: if it is neither a `ZoneInfo` with a key nor a fixed offset:
            the supervisor would have to run foreign code to know the time.
    """
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return zone.key
    if isinstance(zone, timezone):
        offset = zone.utcoffset(None)
        if offset % timedelta(seconds=1) == timedelta(0):
            return int(offset.total_seconds())
    raise InvalidOption(
        option="timezone",
        value=zone,
        expected="an IANA name, a ZoneInfo or a datetime.timezone of whole seconds "
        "for a background task",
    )


def make_zone(zone: Zone) -> tzinfo:
    """Return the time zone that `describe_zone` described."""
    if isinstance(zone, str):
        return ZoneInfo(zone)
    return timezone(timedelta(seconds=zone)) if zone else UTC
