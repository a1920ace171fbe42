"""The trigger of a task: parsed with its options, checked, shared."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ipycron.client.jobs import Inline
from ipycron.cron import CronExpression
from ipycron.errors import InvalidOption
from ipycron.process.wire.triggers import describe_trigger
from ipycron.scheduling.bounds import waits_for_end
from ipycron.scheduling.events import to_datetime
from ipycron.triggers.exclude import read_exclusions
from ipycron.triggers.exclusions import Exclusions, Included, make_calendar
from ipycron.triggers.instants import read_instant, read_last
from ipycron.triggers.union import read_trigger

if TYPE_CHECKING:
    from datetime import datetime

    from ipycron.client.jobs import Source
    from ipycron.client.options import TaskOptions
    from ipycron.cron.trigger import Trigger


def make_trigger(
    given: Any, options: TaskOptions, task_id: str, *, now: float
) -> Trigger:
    """Return a task's trigger, which begins at its `start`, or else now.

    Raises:
        CronSyntaxError, InvalidOption: if it is invalid; `check_fires` is the caller's.
    """
    if isinstance(given, str):
        has_hash = "h" in given.lower()  # perhaps: Thu, March
        hash_id = (options.name or task_id) if has_hash else None
        parsed = read_trigger(
            given, options.timezone, day_or=options.day_or, hash_id=hash_id
        )
    else:
        parsed = read_trigger(given, options.timezone)
    is_shared = isinstance(parsed, CronExpression) and parsed is not given
    if is_shared and not isinstance(options.timezone, tzinfo):
        # The code of a `tzinfo` decides what is equal.
        parsed = _share(parsed, options.timezone is None)
    elif not isinstance(parsed, CronExpression):
        begun = parsed.begin(now, options.timezone)
        if options.start is not None:
            start = read_instant("start", options.start, begun.timezone)
            begun = parsed.begin(start, options.timezone)
        return begun
    return parsed


@lru_cache(maxsize=64)
def _share(trigger: Trigger, _: bool) -> Trigger:  # noqa: FBT001
    """Return one object for equal expressions: many tasks share a schedule.

    An expression in the system's zone and one in a zone of that name are not equal: the
    system that they are sent to may have another zone.
    """
    return trigger


def parse_schedule(
    given: Any,
    options: TaskOptions,
    task_id: str,
    source: Source,
    *,
    now: float,
) -> Trigger:
    """Return a task's new trigger, checked like its first one at `now`."""
    parsed = make_trigger(given, options, task_id, now=now)
    parsed.check_fires(now)
    check_zone(parsed, source)
    check_bounds(parsed, options, options, now=now)
    return parsed


def read_bounds(trigger: Trigger, options: TaskOptions, *, now: float) -> TaskOptions:
    """Return a task's options with `start` and `end` as instants, `exclude` as values.

    What has no zone is in the trigger's.
    """
    start, end, exclude = options.start, options.end, options.exclude
    if start is None and end is None and exclude is None:
        return options
    zone = trigger.timezone
    if exclude is not None and not isinstance(exclude, Exclusions):
        exclude = read_exclusions(exclude, zone, now=now)
    if start is not None:
        start = to_datetime(read_instant("start", start, zone), zone)
    if end is not None:
        end = to_datetime(read_last("end", end, zone), zone)
    return replace(options, start=start, end=end, exclude=exclude)


def check_bounds(
    trigger: Trigger, options: TaskOptions, given: TaskOptions, *, now: float
) -> None:
    """Check that a slot that is still to come is within a task's bounds.

    Args:
        trigger: the task's.
        options: what `read_bounds` has returned.
        given: the options with the bounds as the user wrote them, for the error.
        now: Unix seconds.

    Raises:
        InvalidOption: if there is none.
    """
    start, end = options.start, options.end
    check_exclusions(trigger, options, given, now=now)
    if start is None and end is None:
        return
    if end is not None and end.timestamp() < now:
        shown = _show(to_datetime(now, trigger.timezone))
        expected = f"an instant to come: it is {shown}"
        raise InvalidOption(option="end", value=given.end, expected=expected)
    if start is not None and end is not None and end < start:
        expected = f"an instant after start, {_show(start)}"
        raise InvalidOption(option="end", value=given.end, expected=expected)
    since = now if start is None else max(now, math.ceil(start.timestamp()) - 1)
    first = trigger.find_next(since)
    if first is None:
        expected = f"an instant that a slot of {trigger.text!r} follows"
        raise InvalidOption(option="start", value=given.start, expected=expected)
    if end is not None and first > end.timestamp():
        shown = _show(to_datetime(first, trigger.timezone))
        expected = f"{shown} or later, the first slot of {trigger.text!r}"
        raise InvalidOption(option="end", value=given.end, expected=expected)


def check_exclusions(
    trigger: Trigger, options: TaskOptions, given: TaskOptions, *, now: float
) -> None:
    """Check that the exclusions leave a slot; see `check_bounds`.

    Raises:
        InvalidOption: if there is none, or `on_excluded` cannot be followed.
    """
    exclude = options.exclude
    if options.on_excluded == "next" and waits_for_end(trigger):
        expected = "'skip' with a trigger that counts from the end of the last run"
        raise InvalidOption(option="on_excluded", value="next", expected=expected)
    if exclude is None or trigger.find_next(now) is None:
        return
    slot = Included(
        trigger,
        make_calendar(exclude, trigger.timezone),
        moves=options.on_excluded == "next",
    ).find_next(now)
    if waits_for_end(trigger):
        free = make_calendar(exclude, trigger.timezone).find_end(math.ceil(now))
        slot = slot or free
    if slot is None or (exclude.until is not None and slot > exclude.until):
        expected = f"something that leaves a slot of {trigger.text!r}"
        value = given.exclude
        if isinstance(value, Exclusions):  # of a task that gets another trigger
            value = value.text
        raise InvalidOption(option="exclude", value=value, expected=expected)


def _show(instant: datetime) -> str:
    return instant.isoformat(" ", "seconds")


def check_zone(trigger: Trigger, source: Source) -> None:
    """Check that the trigger's zone can be sent to where it is needed."""
    if not isinstance(source, Inline):
        describe_trigger(trigger)
