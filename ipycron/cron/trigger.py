"""What every trigger offers: instants as datetimes, on top of Unix seconds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING

from ipycron.cron.zone import EPOCH
from ipycron.errors import InvalidOption

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import Self


class Trigger(ABC):
    """When something is due: whole seconds, in a time zone. Immutable, a plain value.

    A `CronExpression`, `every`, `at`, `rrule` and `any_of` are triggers. All methods
    are pure and thread-safe. There are no others: a task's trigger is sent to the
    process that keeps its schedule, which runs no code of its user's.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def text(self) -> str:
        """The trigger as text, which `schedule` and the magics take."""

    @property
    @abstractmethod
    def timezone(self) -> tzinfo:
        """The time zone that it is in."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about what is valid but perhaps unintended, a sentence each."""
        return ()

    @property
    def is_hashed(self) -> bool:
        """Whether it depends on the name of its task."""
        return False

    @property
    def hash_id(self) -> str | None:
        """The text that its hashed values are derived from, or None."""
        return None

    @property
    def is_finite(self) -> bool:
        """Whether it has a last slot, after which its task ends."""
        return False

    @abstractmethod
    def find_next(self, after: float) -> int | None:
        """Return the first fire strictly after an instant, both in Unix seconds."""

    @abstractmethod
    def find_previous(self, before: float) -> int | None:
        """Return the last fire strictly before an instant, both in Unix seconds."""

    @abstractmethod
    def check_fires(self, after: float) -> None:
        """Raise if it never fires after an instant, Unix seconds."""

    @abstractmethod
    def describe(self, locale: str = "en") -> str:
        """Return it in words; see `CronExpression.describe`."""

    @abstractmethod
    def begin(self, start: float, timezone: tzinfo | str | None = None) -> Self:
        """Return the trigger of a task that begins then, in that zone.

        What was said when it was made remains. A trigger that counts from its start,
        and has none yet, counts from this one.

        Args:
            start: Unix seconds.
            timezone: of a trigger that was given none; None for the system's.
        """

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire strictly after an instant.

        Returns:
            An instant in whole seconds, in the trigger's zone, or None if nothing
            fires within 100 years. In a repeated hour its `fold` tells the two
            occurrences apart. Python never considers such a time equal to a time in
            another zone (PEP 495), so compare their `timestamp()`.

        Raises:
            InvalidOption: if `after` is not a datetime with a time zone.
        """
        return self._to_datetime(self.find_next(floor_instant(after, "after")))

    def previous(self, before: datetime) -> datetime | None:
        """Return the last fire strictly before an instant; see `next`."""
        first = floor_instant(before, "before")
        if before.microsecond:
            first += 1
        return self._to_datetime(self.find_previous(first))

    def upcoming(self, count: int, after: datetime) -> list[datetime]:
        """Return the first `count` fires after an instant, fewer if there are no more.

        Examples:
            >>> from datetime import datetime, UTC
            >>> from ipycron import CronExpression
            >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
            >>> [f"{t:%H:%M}" for t in CronExpression("*/20 * * * *").upcoming(2, noon)]
            ['12:20', '12:40']
        """
        instant = floor_instant(after, "after")
        found: list[datetime] = []
        while len(found) < count:
            following = self.find_next(instant)
            if following is None:
                break
            found.append(datetime.fromtimestamp(following, self.timezone))
            instant = following
        return found

    def matches(self, instant: datetime) -> bool:
        """Return whether `instant` is one that `next` would return."""
        second = floor_instant(instant, "instant")
        return not instant.microsecond and self.find_next(second - 1) == second

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text!r} {self.timezone}>"

    def _to_datetime(self, instant: int | None) -> datetime | None:
        """Return an instant as a datetime in the trigger's zone."""
        if instant is None:
            return None
        return datetime.fromtimestamp(instant, self.timezone)


def floor_instant(instant: datetime, option: str) -> int:
    """Return the whole Unix seconds of an instant, exactly."""
    try:
        elapsed = instant - EPOCH
    except Exception:  # noqa: BLE001 - naive, or its zone is foreign code that fails
        raise InvalidOption(
            option=option,
            value=instant,
            expected="a datetime with a time zone",
            advice="For example datetime.now(UTC).",
        ) from None
    return elapsed.days * 86_400 + elapsed.seconds
