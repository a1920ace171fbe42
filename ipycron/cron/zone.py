"""Time zones as spans of constant offset, so that a search adds and never asks.

`zoneinfo` answers one instant at a time. `Zone` asks it along a stretch of about a
year, once, and keeps where the offset changes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from struct import error as struct_error
from typing import NamedTuple
from zoneinfo import TZPATH, ZoneInfo

from ipycron.errors import InvalidOption, UnknownTimezone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A week from the ends of what `datetime` can say, so that neither a zone's local time
# nor a search a little beyond it falls off them.
FIRST_INSTANT = -62_134_992_000  # 0001-01-08 UTC
LAST_INSTANT = 253_401_696_000  # 9999-12-25 UTC

# Offsets lie strictly between -24 h and 24 h, so two of them differ by less than
# this, and no change of the clock repeats or skips more.
LONGEST_SHIFT = 2 * 86_400

# Where else a system may name its zone: Android, BSD, old CentOS, Gentoo.
_OTHER_PLACES = (
    "system/bin/getprop",
    "var/db/zoneinfo",
    "etc/sysconfig/clock",
    "etc/conf.d/clock",
)

# Instants at which a stranger's zone is tried: 1970, summer and winter of 2026, 2100.
_PROBES = (0, 1_767_225_600, 1_782_864_000, 4_102_444_800)

_BLOCK_BITS = 25  # blocks of 388 days
# The shortest time between two changes in the tz database is 3.99 days (Freetown in
# 1939), the next 6.96 (Hebron in 2040): a change between two probes is never missed.
PROBE_STEP = 3 * 86_400


class Span(NamedTuple):
    """A stretch of time in which a zone's clock runs evenly.

    Attributes:
        start: its first instant, Unix seconds.
        end: the instant after its last.
        offset: local time minus UTC, in seconds.
        fresh: the first local second that no earlier instant has shown or passed.
            Later than the local time of `start` where an hour is repeated: the
            local times before it are repeats. Earlier where an hour was skipped:
            the local times from it on never were.
    """

    start: int
    end: int
    offset: int
    fresh: int


class Zone:
    """The spans of one time zone, found as they are asked for. Safe in any thread.

    Attributes:
        recent: the span that was asked for last. Most searches look into it again.
    """

    __slots__ = ("_blocks", "_timezone", "recent")

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._blocks: dict[int, list[Span]] = {}
        self.recent = Span(0, 0, 0, 0)

    def find_span(self, instant: int) -> Span:
        """Return the span that holds `instant`.

        A span may end where no clock changes: at the edge of a block.
        """
        block = instant >> _BLOCK_BITS
        spans = self._blocks.get(block)
        if spans is None:
            # Two threads may both do this work; they store equal lists.
            spans = self._blocks[block] = self._find_spans(block)
        for span in spans:
            if instant < span.end:
                self.recent = span
                return span
        raise AssertionError  # pragma: no cover - the last span ends with its block

    def _find_spans(self, block: int) -> list[Span]:
        """Return the spans that a block is made of."""
        start, end = block << _BLOCK_BITS, (block + 1) << _BLOCK_BITS
        # What was shown before the block decides what is fresh in it.
        edges = [*self.find_changes(start - LONGEST_SHIFT, end), end]
        spans = []
        since, shown = start - LONGEST_SHIFT, None
        for edge in edges:
            offset = self._find_offset(since)
            fresh = since + offset if shown is None else shown
            if edge > start:
                if since < start:  # no change at the edge of the block: no gap
                    since, fresh = start, max(fresh, start + offset)
                spans.append(Span(since, edge, offset, fresh))
            shown = max(fresh, edge + offset)
            since = edge
        return spans

    def find_changes(
        self, start: int, end: int, *, step: int = PROBE_STEP
    ) -> list[int]:
        """Return every instant after `start` and before `end` with a new offset.

        Two changes within `step` seconds may be missed.
        """
        changes = []
        low, offset = start, self._find_offset(start)
        while low < end - 1:
            high = min(low + step, end - 1)
            if self._find_offset(high) == offset:
                low = high
            else:
                low = self._find_change(low, high, offset)
                changes.append(low)
                offset = self._find_offset(low)
        return changes

    def _find_change(self, low: int, high: int, offset: int) -> int:
        """Return the first instant in (low, high] whose offset is not `offset`."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._find_offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high

    def _find_offset(self, instant: int) -> int:
        """Return local time minus UTC at an instant, in whole seconds."""
        instant = min(max(instant, FIRST_INSTANT), LAST_INSTANT)
        offset = datetime.fromtimestamp(instant, self._timezone).utcoffset()
        assert offset is not None  # `fromtimestamp` would have refused such a zone
        return offset.days * 86_400 + offset.seconds


@lru_cache(maxsize=256)
def share_zone(timezone: tzinfo) -> Zone:
    """Return the one `Zone` of a time zone, so that its spans are found once."""
    return Zone(timezone)


def find_zone(timezone: tzinfo) -> Zone:
    """Return the `Zone` of a time zone, shared where the zone can be hashed."""
    try:
        return share_zone(timezone)
    except TypeError:  # dateutil's zones have no hash
        return Zone(timezone)


def resolve_timezone(timezone: tzinfo | str | None) -> tzinfo:
    """Return the zone for what a user may give: nothing, an IANA name or a tzinfo.

    Raises:
        UnknownTimezone: if the system's database has no such name.
        InvalidOption: if it is neither, or a tzinfo that does not know its offset.
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
    """Refuse a tzinfo that cannot say what time it is."""
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
            expected="a tzinfo that knows its offset from UTC at any time, in steps "
            "of whole seconds",
            advice=f"Here {problem}. Give an IANA name such as "
            "'Europe/Berlin', or a datetime.timezone.",
        )


def _find_named(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, None where the database has none."""
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
    """Return whether a zone is the database's own, so that its name says all of it.

    One that was read from a file has whatever name its reader gave it.
    """
    if type(timezone) is not ZoneInfo or timezone.key is None:
        return False
    try:
        timezone.__reduce__()
    except Exception:  # noqa: BLE001 - pickle.PicklingError, from a file
        return False
    return True


def get_key(timezone: tzinfo) -> tzinfo | str | tuple[str, bytes]:
    """Return what tells a zone from others, and can be pickled.

    That is its IANA name, the rules of a zone that was read from a file, or else the
    zone itself.
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
    """Return the system's zone as it is now; a later change is not followed."""
    variable = os.environ.get("TZ")
    if variable is not None:
        return read_variable(variable)
    return follow_localtime() or _ask_tzlocal() or read_localtime() or UTC


def _ask_tzlocal() -> tzinfo | None:
    """Return the zone that one of many places names, None where they disagree."""
    if not any(map(os.path.exists, _list_places("/"))):
        return None
    # 17 ms that most can do without
    from tzlocal.unix import get_localzone_name  # noqa: PLC0415

    try:
        return _find_named(get_localzone_name() or "")
    except (LookupError, ValueError, OSError):
        return None  # the C library looks at /etc/localtime alone


def read_localtime(root: str = "/") -> tzinfo | None:
    """Return the zone in ``/etc/localtime`` where that is a file of its own.

    By the name in ``/etc/timezone`` if it is a copy of that zone's file.
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
    """Return the zone that the C library takes from the variable ``TZ``.

    That is an IANA name, the path of a zone file, a POSIX string such as ``EST5``, and
    UTC where it is empty.

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
    """Return the zone in a file: by its name if it is the database's own."""
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
    """Return the zone that ``/etc/localtime`` links to, if nothing says otherwise.

    What `tzlocal` finds on most systems, too, by trying each end of the path as a
    name: for those that are none, `zoneinfo` loads `tempfile` and `shutil`.

    Args:
        root: where ``etc`` is.

    Returns:
        None where there is no such link, or another place has a word in it.
    """
    places = _list_places(root)
    localtime = os.path.join(root, "etc/localtime")  # noqa: PTH118
    if os.environ.get("TZ") or any(map(os.path.exists, places)):
        return None
    if not os.path.exists(localtime):  # noqa: PTH110 - the system itself is at UTC then
        return None
    link = os.path.realpath(localtime)
    name = link.rpartition("/zoneinfo/")[2]
    if _read_word(os.path.join(root, "etc/timezone")) not in ("", name):  # noqa: PTH118
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # no link: the path itself is no name
        return None


def _list_places(root: str) -> list[str]:
    """Return the other places that may name the zone."""
    return [os.path.join(root, place) for place in _OTHER_PLACES]  # noqa: PTH118


def _read_word(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""
