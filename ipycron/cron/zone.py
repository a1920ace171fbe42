"""Time zones as spans of constant offset, so that a search only has to add.

`zoneinfo` returns the offset of one instant at a time. `Zone` queries it once for each
block of about a year, and keeps the instants at which the offset changes.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A week inside the range of `datetime`, so that neither a zone's local time nor a
# search slightly beyond it leaves that range.
FIRST_INSTANT = -62_134_992_000  # 0001-01-08 UTC
LAST_INSTANT = 253_401_696_000  # 9999-12-25 UTC

# Offsets are strictly between -24 h and 24 h, so two of them differ by less than this,
# and no clock change repeats or skips more.
LONGEST_SHIFT = 2 * 86_400

_BLOCK_BITS = 25  # blocks of 388 days
# The shortest interval between two changes in the tz database is 3.99 days (Freetown in
# 1939), the next 6.96 (Hebron in 2040), so no change between two probes is missed.
PROBE_STEP = 3 * 86_400


class Span(NamedTuple):
    """A period in which a zone's offset is constant.

    Attributes:
        start: its first instant, Unix seconds.
        end: the instant after its last.
        offset: local time minus UTC, in seconds.
        fresh: the first local second that the clock had neither shown nor passed before
            `start`. If an hour is repeated, it is later than the local time of `start`:
            local times before it are repetitions. If an hour was skipped, it is
            earlier: the local times from it on were never shown.
    """

    start: int
    end: int
    offset: int
    fresh: int


class Zone:
    """The spans of one time zone, computed on demand. Thread-safe.

    Attributes:
        recent: the span returned last, which most searches need again.
    """

    __slots__ = ("_blocks", "_timezone", "recent")

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._blocks: dict[int, list[Span]] = {}
        self.recent = Span(0, 0, 0, 0)

    def find_span(self, instant: int) -> Span:
        """Return the span that contains `instant`.

        A span may also end without a clock change, at the end of a block.
        """
        block = instant >> _BLOCK_BITS
        spans = self._blocks.get(block)
        if spans is None:
            # Two threads may both compute this; they store equal lists.
            spans = self._blocks[block] = self._find_spans(block)
        for span in spans:
            if instant < span.end:
                self.recent = span
                return span
        raise AssertionError  # pragma: no cover - the last span ends with its block

    def _find_spans(self, block: int) -> list[Span]:
        """Return the spans of a block."""
        start, end = block << _BLOCK_BITS, (block + 1) << _BLOCK_BITS
        # What the clock showed before the block decides what is fresh in it.
        edges = [*self.find_changes(start - LONGEST_SHIFT, end), end]
        spans = []
        since, shown = start - LONGEST_SHIFT, None
        for edge in edges:
            offset = self._find_offset(since)
            fresh = since + offset if shown is None else shown
            if edge > start:
                if since < start:  # no change at the start of the block: no gap
                    since, fresh = start, max(fresh, start + offset)
                spans.append(Span(since, edge, offset, fresh))
            shown = max(fresh, edge + offset)
            since = edge
        return spans

    def find_changes(
        self, start: int, end: int, *, step: int = PROBE_STEP
    ) -> list[int]:
        """Return every instant between `start` and `end` at which the offset changes.

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
    """Return the shared `Zone` of a time zone, so that its spans are computed once."""
    return Zone(timezone)


def find_zone(timezone: tzinfo) -> Zone:
    """Return the `Zone` of a time zone, shared if the zone is hashable."""
    try:
        return share_zone(timezone)
    except TypeError:  # dateutil's zones are unhashable
        return Zone(timezone)
