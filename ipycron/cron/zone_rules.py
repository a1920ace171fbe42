"""Time zones by their rules: for zones that have no name in the tz database.

Such a zone is a copied file, a POSIX ``TZ`` string or any `tzinfo`. It is sent to
another process as the content of a TZif file, which `zoneinfo` reads. For a `tzinfo`
whose rules cannot be read, the file is built by asking it for its offsets.

Source: RFC 9636 (TZif), POSIX.1-2024 section 8.3 (``TZ``).
"""

from __future__ import annotations

import io
import os
import re
import struct
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from ipycron.cron.zone import PROBE_STEP, Zone, find_zone

Rules = tuple[str, bytes]
"""A zone's name and the content of its TZif file."""

# The period for which a zone is asked for its offsets; after it, the last offset
# applies. A search looks 100 years ahead.
_BEFORE = -(2**40)
_FIRST = 0  # 1970
_END = 5_680_281_600  # 2150
# Other classes are a hundred times slower than `zoneinfo`, and none of them changes its
# offset twice within twelve days; `zone` has the shortest interval in the tz database.
_STRANGERS_STEP = 12 * 86_400
_HEADER = struct.Struct(">4sc15x6l")  # sizes: isutc, isstd, leap, times, types, names
_TYPE = struct.Struct(">lBB")
_LONGEST_NAME = 24
_MOST_NAMES = 255  # bytes: the largest offset of an abbreviation
_MOST_TYPES = 255

_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_TIME = r"[+-]?[0-9]{1,3}(?::[0-5]?[0-9]){0,2}"
_DATE = r"(?:J?[0-9]{1,3}|M[0-9]{1,2}\.[1-5]\.[0-6])"
_RULE = rf",{_DATE}(?:/{_TIME})?"
_POSIX = re.compile(
    rf"{_NAME}{_TIME}(?P<dst>{_NAME}(?:{_TIME})?(?P<rules>{_RULE}{_RULE})?)?"
)
# Source: glibc's TZDEFRULES. POSIX leaves the dates to the system.
_DEFAULT_RULES = ",M3.2.0,M11.1.0"

_MOST_KEPT = 64
_kept: OrderedDict[int, tuple[tzinfo, Rules]] = OrderedDict()


def find_rules(zone: tzinfo) -> Rules:
    """Return the rules of any zone; cached by zone.

    The first call for a zone takes 20 to 200 ms: its offset is read every few days from
    1970 to 2150.
    """
    kept = _kept.get(id(zone))  # some zones are unhashable; cached ones keep their id
    if kept is not None:
        return kept[1]
    rules = str(zone), _write_file(zone)
    _kept[id(zone)] = zone, rules
    if len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return rules


@lru_cache(maxsize=256)
def load_rules(rules: Rules) -> ZoneInfo:
    """Return the zone with these rules.

    Raises:
        ValueError: if they are not valid.
    """
    name, content = rules
    return ZoneInfo.from_file(io.BytesIO(content), key=name)


def read_posix(text: str) -> ZoneInfo | None:
    """Return the zone of a POSIX ``TZ`` string; None if `text` is not one.

    Examples:
        >>> from datetime import datetime
        >>> datetime(2026, 7, 1, tzinfo=read_posix("CET-1CEST,M3.5.0,M10.5.0/3")).dst()
        datetime.timedelta(seconds=3600)
    """
    found = _POSIX.fullmatch(text)
    if found is None:
        return None
    is_ruled = found["dst"] is None or found["rules"] is not None
    if not is_ruled and _is_of_the_process(text):
        return load_rules((text, _write_process_file()))
    footer = text if is_ruled else text + _DEFAULT_RULES
    try:
        zone = load_rules((text, _join_file([], [(0, False, "UTC")], footer)))
        # A date or an hour that does not exist; a whole day, which a datetime cannot be
        # off by, perhaps only in summer.
        for day in range(0, 366, 7):
            datetime.fromtimestamp(day * 86_400, zone).utcoffset()
    except ValueError:
        return None
    return zone


class _ProcessZone(Zone):
    """The zone that the C library read from ``TZ`` when the process started."""

    def _find_offset(self, instant: int) -> int:
        return time.localtime(instant).tm_gmtoff


def _is_of_the_process(text: str) -> bool:
    """Return whether the C library itself uses this string."""
    if os.environ.get("TZ", "").removeprefix(":") != text:
        return False
    names = re.findall(r"<[^>]+>|[A-Za-z]{3,}", text)
    return [name.strip("<>") for name in names] == [
        *time.tzname
    ]  # it may read it later


def _write_process_file() -> bytes:
    """Return a TZif file made from the C library's offsets.

    If a string has no dates, glibc derives them from a file by rules that no other
    library has. A schedule must agree with what programs on this system see.
    """
    edges = [_FIRST, *_ProcessZone(UTC).find_changes(_FIRST, _END)]
    locals_ = [time.localtime(edge) for edge in edges]
    kinds = [(t.tm_gmtoff, t.tm_isdst > 0, t.tm_zone) for t in locals_]
    types = list(dict.fromkeys(kinds))
    edges[0] = _BEFORE
    marks = [(e, types.index(k)) for e, k in zip(edges, kinds, strict=True)]
    return _join_file(marks, types, "")


def _write_file(zone: tzinfo) -> bytes:
    """Return a TZif file made from a zone's offsets."""
    step = PROBE_STEP if isinstance(zone, ZoneInfo) else _STRANGERS_STEP
    edges = [_FIRST, *find_zone(zone).find_changes(_FIRST, _END, step=step)]
    types: dict[tuple[int, bool, str], int] = {}
    marks = []
    for edge in edges:
        kind = _describe(zone, edge)
        if len(types) >= _MOST_TYPES and kind not in types:
            kind = kind[0], kind[1], ""
        marks.append((edge, types.setdefault(kind, len(types))))
    marks[0] = (_BEFORE, marks[0][1])  # otherwise readers use the first winter time
    return _join_file(marks, list(types), "")


def _describe(zone: tzinfo, instant: int) -> tuple[int, bool, str]:
    """Return the offset, whether it is daylight saving time, and the abbreviation."""
    local = datetime.fromtimestamp(instant, UTC).astimezone(zone)
    offset = local.utcoffset()
    assert offset is not None
    try:
        name, is_dst = local.tzname() or "", bool(local.dst())
    except Exception:  # noqa: BLE001 - foreign code; slots depend on neither
        name, is_dst = "", False
    plain = "".join(c for c in name if c.isascii() and c.isprintable())
    return offset // timedelta(seconds=1), is_dst, plain[:_LONGEST_NAME]


def _join_file(
    marks: list[tuple[int, int]], types: list[tuple[int, bool, str]], footer: str
) -> bytes:
    """Return a TZif file of version 2.

    Args:
        marks: instants, with the index of the type that applies from then on.
        types: offset, daylight saving time, abbreviation; the first type applies before
            the first mark.
        footer: a POSIX string for the time after the last mark; may be empty.
    """
    names = b""
    described = b""
    for offset, is_dst, name in types:
        word = name.encode() + b"\0"
        if word not in names and len(names + word) > _MOST_NAMES:
            word = b"\0"
        if word not in names:
            names += word
        described += _TYPE.pack(offset, is_dst, names.index(word))
    return b"".join(
        [
            _HEADER.pack(b"TZif", b"2", 0, 0, 0, 0, 0, 0),
            _HEADER.pack(b"TZif", b"2", 0, 0, 0, len(marks), len(types), len(names)),
            struct.pack(f">{len(marks)}q", *(instant for instant, _ in marks)),
            bytes(place for _, place in marks),
            described,
            names,
            f"\n{footer}\n".encode(),
        ]
    )
