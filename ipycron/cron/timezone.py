"""Resolves time zones: a name, a `tzinfo`, the variable TZ, or the system's zone."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from struct import error as struct_error
from zoneinfo import TZPATH, ZoneInfo

from ipycron.errors import InvalidOption, UnknownTimezone

# Other files that may name the system's zone: Android, BSD, old CentOS, Gentoo.
_OTHER_PLACES = (
    "system/bin/getprop",
    "var/db/zoneinfo",
    "etc/sysconfig/clock",
    "etc/conf.d/clock",
)

# Instants at which a foreign `tzinfo` is tested: 1970, winter and summer 2026, 2100.
_PROBES = (0, 1_767_225_600, 1_782_864_000, 4_102_444_800)


def resolve_timezone(timezone: tzinfo | str | None) -> tzinfo:
    """Return the zone for a user's value: an IANA name, a tzinfo, or None.

    Raises:
        UnknownTimezone: if the tz database has no such name.
        InvalidOption: if it is something else, or a tzinfo that has no offset.
    """
    if timezone is None:
        return _read_system_timezone()
    if isinstance(timezone, tzinfo):
        if not isinstance(timezone, ZoneInfo) and timezone is not UTC:
            _check_offset(timezone)
        return timezone
    if not isinstance(timezone, str):
        raise InvalidOption(
            option="timezone",
            value=timezone,
            expected="an IANA name such as 'Europe/Berlin', a tzinfo or None",
        )
    zone = _find_named(timezone)
    if zone is None:
        raise _make_unknown(timezone)
    return zone


def _check_offset(timezone: tzinfo) -> None:
    """Refuse a tzinfo that does not return a valid offset."""
    for instant in _PROBES:
        try:
            offset = datetime.fromtimestamp(instant, timezone).utcoffset()
        except Exception as error:  # noqa: BLE001 - foreign code
            problem = f"{type(error).__name__}: {error}"
        else:
            if offset is not None and not offset.microseconds:
                continue
            problem = f"its utcoffset() is {offset}"
        raise InvalidOption(
            option="timezone",
            value=timezone,
            expected="a tzinfo that returns its offset from UTC, in whole seconds, for "
            "any time",
            advice=f"Here, {problem}. Give an IANA name such as "
            "'Europe/Berlin', or a datetime.timezone.",
        )


def _find_named(name: str) -> ZoneInfo | None:
    """Return the zone with an IANA name; None if the database has none."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # also "", "../x" and "Europe"
        return None


def _make_unknown(text: str, variable: str | None = None) -> UnknownTimezone:
    from ipycron.cron.repair import suggest_zone  # noqa: PLC0415 - errors are rare

    return UnknownTimezone(
        timezone=text, suggestion=suggest_zone(text), variable=variable
    )


def is_named(timezone: tzinfo) -> bool:
    """Return whether a zone comes from the tz database, so that its name identifies it.

    A zone read from a file has whatever name its reader gave it.
    """
    if type(timezone) is not ZoneInfo or timezone.key is None:
        return False
    try:
        timezone.__reduce__()
    except Exception:  # noqa: BLE001 - pickle.PicklingError, from a file
        return False
    return True


def get_key(timezone: tzinfo) -> tzinfo | str | tuple[str, bytes]:
    """Return a picklable value that identifies a zone.

    It is an IANA name, the rules of a zone that was read from a file, or else the zone
    itself.
    """
    if is_named(timezone):
        assert isinstance(timezone, ZoneInfo)
        return timezone.key
    if isinstance(timezone, ZoneInfo):
        from ipycron.cron.zone_rules import find_rules  # noqa: PLC0415 - rare

        return find_rules(timezone)
    return timezone


@lru_cache(maxsize=1)
def _read_system_timezone() -> tzinfo:
    """Return the system's zone, read once: later changes are not noticed."""
    variable = os.environ.get("TZ")
    if variable is not None:
        return read_variable(variable)
    return follow_localtime() or _ask_tzlocal() or read_localtime() or UTC


def _ask_tzlocal() -> tzinfo | None:
    """Return the zone that the other files name; None if they disagree."""
    if not any(map(os.path.exists, _list_places("/"))):
        return None
    # takes 17 ms, and most systems do not need it
    from tzlocal.unix import get_localzone_name  # noqa: PLC0415

    try:
        return _find_named(get_localzone_name() or "")
    except (LookupError, ValueError, OSError):
        return None  # the C library reads /etc/localtime only


def read_localtime(root: str = "/") -> tzinfo | None:
    """Return the zone in ``/etc/localtime`` if that is a regular file.

    It gets the name in ``/etc/timezone`` if it is a copy of that zone's file.
    """
    path = os.path.join(root, "etc/localtime")  # noqa: PTH118
    name = _read_word(os.path.join(root, "etc/timezone"))  # noqa: PTH118
    named = _find_named(name)
    if named is not None and any(
        _is_copy(path, os.path.join(folder, name))  # noqa: PTH118
        for folder in TZPATH
    ):
        return named
    return _read_zone_file(path)


def _is_copy(path: str, original: str) -> bool:
    try:
        with open(path, "rb") as one, open(original, "rb") as other:  # noqa: PTH123
            return one.read() == other.read()
    except OSError:
        return False


def read_variable(text: str) -> tzinfo:
    """Return the zone that the C library reads from the variable ``TZ``.

    Its value is an IANA name, the path of a zone file, or a POSIX string such as
    ``EST5``; an empty value means UTC.

    Raises:
        UnknownTimezone: if it is none of these; the C library would silently use UTC.
    """
    value = text.removeprefix(":")
    if not value:
        return UTC
    zone = _read_zone_file(value) if value.startswith("/") else _find_named(value)
    if zone is None:
        from ipycron.cron.zone_rules import read_posix  # noqa: PLC0415 - rare

        zone = read_posix(value)
    if zone is None:
        raise _make_unknown(text, "TZ")
    return zone


def _read_zone_file(path: str) -> tzinfo | None:
    """Return the zone in a file; by its name if the file is in the tz database."""
    real = os.path.realpath(path)
    for folder in TZPATH:
        if real.startswith(f"{os.path.realpath(folder)}/"):
            zone = _find_named(os.path.relpath(real, os.path.realpath(folder)))
            if zone is not None:
                return zone
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return ZoneInfo.from_file(file, key=path)
    except (ValueError, OSError, EOFError, struct_error):
        return None


def follow_localtime(root: str = "/") -> ZoneInfo | None:
    """Return the zone that ``/etc/localtime`` links to, unless another file disagrees.

    On most systems `tzlocal` finds the same zone, but by trying every suffix of the
    path as a name; for each invalid name, `zoneinfo` imports `tempfile` and `shutil`.

    Args:
        root: the folder that contains ``etc``.

    Returns:
        None if there is no such link, or if another file may name the zone.
    """
    places = _list_places(root)
    localtime = os.path.join(root, "etc/localtime")  # noqa: PTH118
    if os.environ.get("TZ") or any(map(os.path.exists, places)):
        return None
    if not os.path.exists(localtime):  # noqa: PTH110 - the system then uses UTC
        return None
    link = os.path.realpath(localtime)
    name = link.rpartition("/zoneinfo/")[2]
    if _read_word(os.path.join(root, "etc/timezone")) not in ("", name):  # noqa: PTH118
        return None
    try:
        return ZoneInfo(name)
    except (
        LookupError,
        ValueError,
        OSError,
    ):  # not a link: a path is not a name
        return None


def _list_places(root: str) -> list[str]:
    """Return the paths of the other files that may name the zone."""
    return [os.path.join(root, place) for place in _OTHER_PLACES]  # noqa: PTH118


def _read_word(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""
