"""Triggers on the wire: plain values, of which the supervisor makes triggers again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ipycron.process.wire.zones import Zone, describe_zone, make_zone

if TYPE_CHECKING:
    from datetime import tzinfo

    from ipycron.cron import CronExpression
    from ipycron.cron.trigger import Trigger


class Plain(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all wire forms; the class name is the tag."""


class PlainCron(Plain, frozen=True):
    """A `CronExpression`."""

    text: str
    zone: Zone
    day_or: bool
    hash_id: str | None


class PlainInterval(Plain, frozen=True):
    """An interval; see `Interval.make`."""

    seconds: int
    anchor: float | None
    after_finish: bool
    is_floating: bool
    zone: Zone


class PlainInstants(Plain, frozen=True):
    """Instants, Unix seconds."""

    instants: tuple[int, ...]
    zone: Zone


class PlainRule(Plain, frozen=True):
    """A recurrence rule; see `Rule.make`."""

    rule: str
    start: int | None
    last: int | None
    is_floating: bool
    zone: Zone


PlainPart = PlainCron | PlainInterval | PlainInstants | PlainRule


class PlainUnion(Plain, frozen=True):
    """The parts of an `any_of`, none of which is one."""

    parts: tuple[PlainPart, ...]
    zone: Zone


PlainTrigger = PlainPart | PlainUnion


def describe_trigger(trigger: Trigger) -> PlainTrigger:
    """Return the wire form of a trigger."""
    from ipycron.cron import CronExpression  # noqa: PLC0415 - not for the zygote

    if isinstance(trigger, CronExpression):  # most are: nothing else is imported
        return _describe_cron(trigger)
    from ipycron.triggers.union import AnyOf  # noqa: PLC0415 - few tasks have others

    if isinstance(trigger, AnyOf):
        parts = tuple(_describe_part(part) for part in trigger.parts)
        return PlainUnion(parts, describe_zone(trigger.timezone))
    return _describe_part(trigger)


def _describe_cron(trigger: CronExpression) -> PlainCron:
    zone = describe_zone(trigger.timezone)
    return PlainCron(trigger.text, zone, trigger.day_or, trigger.hash_id)


def _describe_part(trigger: Trigger) -> PlainPart:
    from ipycron.cron import CronExpression  # noqa: PLC0415 - as above
    from ipycron.triggers.instants import Instants  # noqa: PLC0415
    from ipycron.triggers.interval import Interval  # noqa: PLC0415
    from ipycron.triggers.rule import Rule  # noqa: PLC0415

    if isinstance(trigger, CronExpression):
        return _describe_cron(trigger)
    zone = describe_zone(trigger.timezone)
    if isinstance(trigger, Interval):
        return PlainInterval(
            trigger.seconds,
            trigger.anchor,
            trigger.after_finish,
            trigger.is_floating,
            zone,
        )
    if isinstance(trigger, Rule):
        return PlainRule(
            trigger.rule, trigger.start, trigger.last, trigger.is_floating, zone
        )
    assert isinstance(trigger, Instants)
    return PlainInstants(trigger.instants, zone)


def make_trigger(plain: PlainTrigger) -> Trigger:
    """Return the trigger that `describe_trigger` described."""
    zone = make_zone(plain.zone)
    if isinstance(plain, PlainCron):  # most are: nothing else is imported for them
        from ipycron.cron import CronExpression  # noqa: PLC0415 - as above

        return CronExpression(
            plain.text, zone, day_or=plain.day_or, hash_id=plain.hash_id
        )
    return _make_other(plain, zone)


def _make_other(
    plain: PlainInterval | PlainRule | PlainInstants | PlainUnion, zone: tzinfo
) -> Trigger:
    from ipycron.triggers.instants import Instants  # noqa: PLC0415 - as above
    from ipycron.triggers.interval import Interval  # noqa: PLC0415
    from ipycron.triggers.rule import Rule  # noqa: PLC0415
    from ipycron.triggers.union import AnyOf  # noqa: PLC0415

    match plain:
        case PlainInterval():
            return Interval.make(
                plain.seconds,
                plain.anchor,
                after_finish=plain.after_finish,
                is_floating=plain.is_floating,
                timezone=zone,
            )
        case PlainRule():
            return Rule.make(
                plain.rule,
                plain.start,
                plain.last,
                is_floating=plain.is_floating,
                timezone=zone,
            )
        case PlainInstants():
            return Instants.of(plain.instants, zone)
        case PlainUnion():
            return AnyOf(map(make_trigger, plain.parts), zone)
